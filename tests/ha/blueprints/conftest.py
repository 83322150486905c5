"""The blueprints as automations of a home that speaks and listens; what they complain about is held against them."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components import automation, demo
from homeassistant.components.demo import lock
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from tests.ha.blueprints.voice_home import DEVICES, VoiceHome

FOLDER = Path(__file__).parents[3] / "blueprints/automation/zoe"
MOVEMENT = "binary_sensor.porch"
NOTIFIER = "notify.notifier"
WATCHED = ("homeassistant.components.automation", "homeassistant.components.blueprint", "homeassistant.helpers")


@pytest.fixture
def hass_config_dir(hass_tmp_config_dir: str) -> str:
    """A configuration folder with the blueprints in it, where an import puts them."""
    shutil.copytree(FOLDER, Path(hass_tmp_config_dir) / "blueprints/automation/zoe")
    return hass_tmp_config_dir


@pytest.fixture
async def home(hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VoiceHome]:
    monkeypatch.setattr(demo, "COMPONENTS_WITH_CONFIG_ENTRY_DEMO_PLATFORM", DEVICES)
    monkeypatch.setattr(lock, "LOCK_UNLOCK_DELAY", 0)
    await hass.config.async_set_time_zone("UTC")
    home = VoiceHome(hass)
    await home.async_set_up()
    hass.states.async_set(MOVEMENT, "off", {"friendly_name": "Porch", "device_class": "motion"})
    yield home
    await hass.services.async_call("automation", "turn_off", {"entity_id": "automation.one"}, blocking=True)


@pytest.fixture
def complaints() -> list[str]:
    """What a test expects to be logged; it appends a part of the message."""
    return []


@pytest.fixture(autouse=True)
def no_other_complaints(complaints: list[str], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail on what automations, scripts and templates warn about, unless the test expects it."""
    yield
    records = [record for record in caplog.get_records("call") if record.name.startswith(WATCHED)]
    warnings = [record.getMessage() for record in records if record.levelname in ("WARNING", "ERROR")]
    assert not [text for text in warnings if not any(part in text for part in complaints)]


async def automate(hass: HomeAssistant, blueprint: str, **inputs: object) -> None:
    """Make an automation of a blueprint, the way the file of automations has it."""
    config = {"id": "one", "alias": "One", "use_blueprint": {"path": f"zoe/{blueprint}.yaml", "input": inputs}}
    assert await async_setup_component(hass, "automation", {"automation": config})
    await hass.async_block_till_done()
    assert hass.states.is_state("automation.one", "on")  # unavailable, if the configuration is not valid


def sense(hass: HomeAssistant) -> None:
    """Let the motion sensor see something new."""
    hass.states.async_set(MOVEMENT, "off")
    hass.states.async_set(MOVEMENT, "on")


async def move(hass: HomeAssistant) -> None:
    """Walk past the motion sensor, and wait for all that follows."""
    sense(hass)
    await hass.async_block_till_done(wait_background_tasks=True)


async def reach(hass: HomeAssistant, step: str) -> None:
    """Wait until the automation is at a step that takes time, such as "delay"; it then waits for the clock."""
    script = hass.data[automation.DATA_COMPONENT].get_entity("automation.one").action_script
    async with asyncio.timeout(10):
        while not (script.last_action or "").startswith(step):  # noqa: ASYNC110 (a script tells nobody)
            await asyncio.sleep(0)


def tick(hass: HomeAssistant, freezer: FrozenDateTimeFactory, **time: float) -> None:
    """Let time pass; what follows may still be under way."""
    freezer.tick(timedelta(**time))
    async_fire_time_changed(hass)


async def pass_time(hass: HomeAssistant, freezer: FrozenDateTimeFactory, **time: float) -> None:
    """Let time pass, and wait for all that follows."""
    tick(hass, freezer, **time)
    await hass.async_block_till_done(wait_background_tasks=True)
