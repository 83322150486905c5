"""Everything that the server's entities, dialogs, issues and actions show has words, and an icon where one belongs."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from homeassistant.core import HomeAssistant
from homeassistant.loader import async_get_integration

from custom_components.zoe import (
    binary_sensor,
    button,
    config_flow,
    const,
    discovery_flow,
    issues,
    repairs,
    sensor,
    services,
)
from custom_components.zoe.const import DOMAIN

PACKAGE = Path(const.__file__).parent
ENGLISH: dict[str, Any] = json.loads((PACKAGE / "translations/en.json").read_text())
ICONS: dict[str, Any] = json.loads((PACKAGE / "icons.json").read_text())
DESCRIPTIONS = {
    "binary_sensor": binary_sensor.BINARY_SENSORS,
    "button": (*button.BUTTONS, *button.MODEL_BUTTONS),
    "sensor": (*sensor.SENSORS, *sensor.gpu_sensors(0), *sensor.ROLE_SENSORS.values()),
}
SCHEMAS = {"ask": services.ASK_SCHEMA, "explain": services.EXPLAIN_SCHEMA, "prime": services.PRIME_SCHEMA}


@pytest.mark.parametrize("platform", DESCRIPTIONS)
def test_entities(platform: str) -> None:
    keys = {str(description.translation_key) for description in DESCRIPTIONS[platform]}
    assert set(ENGLISH["entity"][platform]) == set(ICONS["entity"][platform]) == keys


def test_sensors_can_be_read() -> None:
    for description in (*sensor.SENSORS, *sensor.gpu_sensors(0)):
        if description.options:
            continue
        text = ENGLISH["entity"]["sensor"][description.translation_key]
        assert description.state_class
        assert description.native_unit_of_measurement or text["unit_of_measurement"]
    assert set(ENGLISH["entity"]["sensor"]["last_route"]["state"]) == set(sensor.RULES)


def test_actions() -> None:
    fields = yaml.safe_load((PACKAGE / "services.yaml").read_text())
    assert set(fields) == set(ENGLISH["services"]) == set(ICONS["services"]) == set(SCHEMAS)
    for name, schema in SCHEMAS.items():
        keys = {str(key) for key in schema.schema}
        assert set(fields[name]["fields"]) == set(ENGLISH["services"][name]["fields"]) == keys
        for text in (ENGLISH["services"][name], *ENGLISH["services"][name]["fields"].values()):
            assert text["name"]
            assert text["description"]


def test_issues() -> None:
    assert set(ENGLISH["issues"]) == set(issues.ALL)
    fixable = {kind for kind, texts in ENGLISH["issues"].items() if "fix_flow" in texts}
    assert fixable == set(repairs._FLOWS) | set(issues.ROLES)
    for texts in ENGLISH["issues"].values():
        assert texts["title"]
        assert texts.get("description") or texts["fix_flow"]["step"]["confirm"]["description"]


def test_dialogs() -> None:
    own = {**vars(config_flow.ConnectionFlow), **vars(discovery_flow.DiscoveryFlow)}
    steps = {name.removeprefix("async_step_") for name in own if "async_step_" in name}
    assert set(ENGLISH["config"]["step"]) == steps - {"zeroconf", "hassio", "check", "reauth"}
    assert set(ENGLISH["config"]["progress"]) == {"check"}


async def test_it_listens_to_announcements(hass: HomeAssistant) -> None:
    integration = await async_get_integration(hass, DOMAIN)
    assert integration.zeroconf == ["_zoe._tcp.local."]
