"""The examples in the documentation are what Home Assistant and the integration take."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from homeassistant.components.automation.config import async_validate_config_item
from homeassistant.core import HomeAssistant
from homeassistant.helpers import config_validation as cv
from homeassistant.setup import async_setup_component

from custom_components.zoe.services import ASK_SCHEMA, EXPLAIN_SCHEMA, PRIME_SCHEMA

DOCS = Path(__file__).parents[2] / "docs"
TEXT = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("home-assistant.md", "assistant.md"))
EXAMPLES: list[dict[str, Any]] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
AUTOMATIONS = [example for example in EXAMPLES if "triggers" in example]
ACTIONS = [example for example in EXAMPLES if "action" in example]
SCHEMAS = {"zoe.ask": ASK_SCHEMA, "zoe.explain": EXPLAIN_SCHEMA, "zoe.prime": PRIME_SCHEMA}


def parts(value: object) -> Iterator[dict[str, Any]]:
    """Yield every dictionary within an example."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(inner)


@pytest.mark.parametrize("automation", AUTOMATIONS, ids=lambda automation: automation["alias"])
async def test_automations(hass: HomeAssistant, automation: dict[str, Any]) -> None:
    assert await async_setup_component(hass, "automation", {})
    assert await async_validate_config_item(hass, "example", automation) is not None


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action["action"])
async def test_actions(hass: HomeAssistant, action: dict[str, Any]) -> None:
    cv.SCRIPT_SCHEMA(action)


def test_actions_of_zoe() -> None:
    ours = [part for example in EXAMPLES for part in parts(example) if str(part.get("action")).startswith("zoe.")]
    assert {part["action"] for part in ours} == set(SCHEMAS)
    for part in ours:
        SCHEMAS[part["action"]](part.get("data", {}))


async def test_the_entities_exist(hass: HomeAssistant, agent: str) -> None:
    named = set(re.findall(r"\b(?:conversation|binary_sensor|sensor)\.zoe\w*", TEXT))
    assert named == {"conversation.zoe", "binary_sensor.zoe_server_ready"}
    assert all(hass.states.get(entity_id) for entity_id in named)
