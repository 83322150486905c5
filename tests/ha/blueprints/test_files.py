"""The blueprint files: Home Assistant loads them, their links lead to them, and a form says what everything is."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from homeassistant.components.automation.config import AUTOMATION_BLUEPRINT_SCHEMA
from homeassistant.components.blueprint import Blueprint
from homeassistant.components.blueprint.importer import fetch_blueprint_from_url
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant
from homeassistant.helpers.selector import selector
from homeassistant.util.yaml import load_yaml_dict
from pytest_homeassistant_custom_component.test_util.aiohttp import AiohttpClientMocker

from tests.ha.blueprints.conftest import FOLDER

ROOT = Path(__file__).parents[3]
FILES = sorted(FOLDER.glob("*.yaml"))
REPOSITORY = "https://github.com/zoe-home/zoe/blob/main/"
RAW = "https://raw.githubusercontent.com/zoe-home/zoe/main/"

every_blueprint = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def load(path: Path) -> Blueprint:
    return Blueprint(
        load_yaml_dict(path), path=path.name, expected_domain="automation", schema=AUTOMATION_BLUEPRINT_SCHEMA
    )


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def forms(path: Path) -> dict[str, Any]:
    """Return inputs and sections by their keys."""
    return {
        **load(path).inputs,
        **{key: value for key, value in load(path).metadata["input"].items() if "input" in value},
    }


def test_there_are_blueprints() -> None:
    assert {path.stem for path in FILES} == {"announce_camera", "ask_before_locking_up", "morning_briefing"}


@every_blueprint
def test_loads_and_fits_this_home_assistant(path: Path) -> None:
    blueprint = load(path)
    assert blueprint.validate() is None
    assert blueprint.metadata["homeassistant"]["min_version"] == "2026.10.0"
    assert blueprint.metadata["description"]
    assert __version__ >= "2026.10"


@every_blueprint
def test_every_input_is_named_described_and_used(path: Path) -> None:
    for key, form in forms(path).items():
        assert form["name"], key
        assert form["description"], key
        assert "input" in form or "selector" in form, key
    assert set(re.findall(r"!input (\w+)", text_of(path))) == set(load(path).inputs)


@every_blueprint
def test_defaults_are_what_the_form_accepts(path: Path) -> None:
    for key, form in load(path).inputs.items():
        optional = form.get("default") in ("", [])  # how a form stores that nothing was chosen
        if "default" in form and not optional:
            assert selector(form["selector"])(form["default"]) is not None, key


@every_blueprint
async def test_imports_from_its_address(hass: HomeAssistant, path: Path, aioclient_mock: AiohttpClientMocker) -> None:
    """`source_url` is where the file will be, and what Home Assistant fetches again for an update."""
    url = load(path).metadata["source_url"]
    assert url == f"{REPOSITORY}{path.relative_to(ROOT)}"
    aioclient_mock.get(f"{RAW}{path.relative_to(ROOT)}", text=text_of(path))
    imported = await fetch_blueprint_from_url(hass, url)
    assert imported.suggested_filename == f"zoe-home/{path.stem}"
    assert imported.blueprint.metadata["source_url"] == url


def test_the_documentation_offers_all_of_them() -> None:
    text = (ROOT / "docs/blueprints.md").read_text()
    links = re.findall(r"https://my\.home-assistant\.io/redirect/blueprint_import/\?[^)\s]+", text)
    offered = [parse_qs(urlsplit(link).query)["blueprint_url"][0] for link in links]
    assert sorted(offered) == [f"{REPOSITORY}{path.relative_to(ROOT)}" for path in FILES]
