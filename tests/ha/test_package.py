"""The files beside the code say what Home Assistant expects of them."""

import json
import struct
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
import yaml
from awesomeversion import AwesomeVersion
from homeassistant import components
from homeassistant.const import __version__ as home_assistant_version
from homeassistant.core import HomeAssistant
from homeassistant.helpers.icon import async_get_icons
from homeassistant.loader import async_get_integration
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.zoe import config_flow, connection, const
from custom_components.zoe.const import DOMAIN
from custom_components.zoe.options import generation_fields, section_fields
from custom_components.zoe.speech.followup import asks
from custom_components.zoe.speech.sentences import LANGUAGES, Sentences
from tests.ha.fake_zoe import FakeZoe

PACKAGE = Path(const.__file__).parent
ENGLISH: dict[str, Any] = json.loads((PACKAGE / "translations/en.json").read_text())


async def test_manifest(hass: HomeAssistant) -> None:
    integration = await async_get_integration(hass, DOMAIN)
    assert integration.version == "0.1.0"
    assert integration.config_flow
    assert integration.integration_type == "service"
    assert integration.requirements == []


def test_form_fields_are_named_and_described() -> None:
    for name, schema in {
        "user": config_flow.USER_SCHEMA,
        "api_key": config_flow.KEY_SCHEMA,
        "reauth_confirm": config_flow.KEY_SCHEMA,
        "reconfigure": config_flow.RECONFIGURE_SCHEMA,
    }.items():
        step = ENGLISH["config"]["step"][name]
        fields = {str(key) for key in schema.schema}
        assert set(step["data"]) == set(step["data_description"]) == fields
    assert set(ENGLISH["config"]["error"]) == connection.FORM_ERRORS
    agent = ENGLISH["config_subentries"]["conversation"]["step"]["set_options"]
    assert set(agent["data"]) == set(agent["data_description"]) == {"name", "model", "prompt", "llm_hass_api"}
    sections = {str(key): {str(field) for field in part.schema.schema} for key, part in section_fields().items()}
    assert set(agent["sections"]) == set(sections)
    for name, texts in agent["sections"].items():
        assert texts["name"]
        assert texts["description"]
        assert set(texts["data"]) == set(texts["data_description"]) == sections[name]
    options = ENGLISH["selector"]
    assert {"default", "off", "low", "high"} == set(options["thinking"]["options"])
    assert {"never", "opening", "everything"} == set(options["confirm"]["options"])
    task = ENGLISH["config_subentries"]["ai_task_data"]["step"]["set_options"]
    asked = {"name", "model"} | {str(field) for field in generation_fields()}
    assert set(task["data"]) == set(task["data_description"]) == asked
    assert task["sections"] == {"expert": agent["sections"]["expert"]}


@pytest.mark.parametrize("language", sorted(LANGUAGES - {"en"}))
async def test_sentences_are_in_every_language(hass: HomeAssistant, language: str) -> None:
    written = json.loads((PACKAGE / f"translations/{language}.json").read_text())["common"]
    assert set(written) == set(ENGLISH["common"])
    sentences = await Sentences.async_load(hass, f"{language}-XX")
    assert sentences.speaks(language)
    assert not sentences.speaks("pt")
    for key, text in written.items():
        placeholders = {field for _, field, _, _ in Formatter().parse(ENGLISH["common"][key]) if field}
        assert {field for _, field, _, _ in Formatter().parse(text) if field} == placeholders
        filled = text.replace("{names}", "A, B").replace("{rounds}", "10").replace("{question}", "C?")
        assert sentences.say(key, ["A", "B"], rounds=10, question="C?") == filled


@pytest.mark.parametrize("language", sorted(LANGUAGES))
async def test_what_asks_for_consent_can_be_answered(hass: HomeAssistant, language: str) -> None:
    sentences = await Sentences.async_load(hass, language)
    questions = [key for key in ENGLISH["common"] if key.startswith("consent_")]
    assert len(questions) == 6
    for key in questions:
        assert asks(sentences.say(key, ["A"], question="A?"))
    yes = {word for phrase in sentences.words("yes") for word in phrase.split()}
    assert yes.isdisjoint(sentences.words("no"))
    assert sentences.words("yes_fillers").isdisjoint(sentences.words("no"))


async def test_other_languages_get_english_sentences(hass: HomeAssistant) -> None:
    sentences = await Sentences.async_load(hass, "pt-BR")
    assert sentences.say("done") == "Done."


async def test_icon_of_the_agent(hass: HomeAssistant, agent: str) -> None:
    icons = await async_get_icons(hass, "entity", integrations={DOMAIN})
    assert icons[DOMAIN]["conversation"]["conversation"]["default"].startswith("mdi:")


@pytest.mark.parametrize(("name", "sizes"), [("icon", (256, 256)), ("icon@2x", (512, 512))])
def test_brand_icons_are_square_png(name: str, sizes: tuple[int, int]) -> None:
    header = (PACKAGE / f"brand/{name}.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:24]) == sizes


async def test_brand_is_served(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, hass_client: ClientSessionGenerator
) -> None:
    assert await async_setup_component(hass, "brands", {})
    client = await hass_client()
    for name in ("icon.png", "logo.png", "icon@2x.png", "logo@2x.png"):
        response = await client.get(f"/api/brands/integration/zoe/{name}")
        assert (response.status, response.content_type) == (200, "image/png")


def test_quality_scale_rates_every_rule() -> None:
    rules = yaml.safe_load((PACKAGE / "quality_scale.yaml").read_text())["rules"]
    all_rules = yaml.safe_load((Path(components.__file__).parent / "peblar/quality_scale.yaml").read_text())["rules"]
    assert list(rules) == list(all_rules)
    for name, rule in rules.items():
        status = rule if isinstance(rule, str) else rule["status"]
        assert status in ("done", "todo", "exempt"), name
        assert status == "done" or rule["comment"]


HACS = {"name", "content_in_root", "country", "filename", "hacs", "hide_default_branch", "homeassistant"}
HACS |= {"persistent_directory", "zip_release"}
ROOT = PACKAGE.parents[1]


def test_hacs_manifest() -> None:
    hacs = json.loads((ROOT / "hacs.json").read_text())
    assert set(hacs) <= HACS
    assert hacs["name"] == "Zoe"
    assert hacs["homeassistant"] == "2026.10.0"
    assert AwesomeVersion(hacs["homeassistant"]) <= AwesomeVersion(home_assistant_version)


def test_hacs_finds_one_integration_and_a_readme() -> None:
    assert [path.parent.name for path in (ROOT / "custom_components").glob("*/manifest.json")] == [DOMAIN]
    assert (ROOT / "README.md").exists()
    assert (ROOT / "LICENSE").exists()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.json")), ids=lambda path: path.name)
def test_json_says_everything_once(path: Path) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yaml")), ids=lambda path: path.name)
def test_workflows_may_only_read_but_for_what_they_publish(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    publishes = {"images.yaml": {"packages"}, "release.yaml": {"contents"}}.get(path.name, set())
    for job in workflow["jobs"].values():
        written = {scope for scope, access in job.get("permissions", {}).items() if access == "write"}
        assert written <= publishes
        assert "ubuntu" in job["runs-on"]
        assert all("uses" in step or "run" in step for step in job["steps"])
