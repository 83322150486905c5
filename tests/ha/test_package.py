"""The files beside the code say what Home Assistant expects of them."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml
from homeassistant.core import HomeAssistant
from homeassistant.helpers.icon import async_get_icons
from homeassistant.loader import async_get_integration
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.zoe import connection, connection_flow, const
from custom_components.zoe.const import DOMAIN
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
        "user": connection_flow.USER_SCHEMA,
        "api_key": connection_flow.KEY_SCHEMA,
        "reauth_confirm": connection_flow.KEY_SCHEMA,
        "reconfigure": connection_flow.RECONFIGURE_SCHEMA,
    }.items():
        step = ENGLISH["config"]["step"][name]
        fields = {str(key) for key in schema.schema}
        assert set(step["data"]) == set(step["data_description"]) == fields
    assert set(ENGLISH["config"]["error"]) == connection.FORM_ERRORS
    agent = ENGLISH["config_subentries"]["conversation"]["step"]["set_options"]
    assert set(agent["data"]) == set(agent["data_description"]) == {"name", "model", "prompt", "llm_hass_api"}


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
    assert len(rules) == 54
    for name, rule in rules.items():
        status = rule if isinstance(rule, str) else rule["status"]
        assert status in ("done", "todo", "exempt"), name
        assert status != "exempt" or rule["comment"]


def test_hacs_manifest() -> None:
    hacs = json.loads((PACKAGE.parents[1] / "hacs.json").read_text())
    assert hacs["name"] == "Zoe"
    assert hacs["homeassistant"] == "2026.10.0"
