"""The blueprint `ask_before_locking_up` as an automation: nothing is done without a yes."""

from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.const import EVENT_CALL_SERVICE
from homeassistant.core import Event, HomeAssistant
from pytest_homeassistant_custom_component.common import async_capture_events

from tests.ha.blueprints.conftest import NOTIFIER, automate, pass_time, reach
from tests.ha.blueprints.voice_home import AI_TASK, SATELLITE, VoiceHome

OPEN = "Still open: Garage Door. Not locked: Kitchen Door. Still on: Ceiling Lights."


def used(calls: list[Event[Any]]) -> set[tuple[str, str]]:
    """Return what was done to the home, as (action, entity)."""
    return {
        (f"{call.data['domain']}.{call.data['service']}", entity_id)
        for call in calls
        if call.data["domain"] in ("lock", "cover", "homeassistant")
        for entity_id in call.data["service_data"]["entity_id"]
    }


@pytest.fixture
async def calls(hass: HomeAssistant, home: VoiceHome) -> list[Event[Any]]:
    garage = {"entity_id": "cover.garage_door"}
    await hass.services.async_call("cover", "open_cover", garage, blocking=True)
    return async_capture_events(hass, EVENT_CALL_SERVICE)


async def bedtime(hass: HomeAssistant, **inputs: object) -> None:
    """Let the automation begin."""
    base = {
        "triggers": [{"trigger": "event", "event_type": "bedtime"}],
        "satellite": SATELLITE,
        "locks": ["lock.front_door", "lock.kitchen_door"],
        "covers": ["cover.garage_door"],
        "lights": ["light.bed_light", "light.ceiling_lights"],
        "notifiers": [NOTIFIER],
    }
    await automate(hass, "ask_before_locking_up", **base | inputs)
    hass.bus.async_fire("bedtime")


async def ask(hass: HomeAssistant, **inputs: object) -> None:
    """Let the automation run to its end."""
    await bedtime(hass, **inputs)
    await hass.async_block_till_done(wait_background_tasks=True)


@pytest.mark.parametrize("answer", ["Yes.", "yes please", "Okay, lock up!", "Sure", "Do it."])
async def test_yes(hass: HomeAssistant, home: VoiceHome, calls: list[Event[Any]], answer: str) -> None:
    home.ears.hears = answer
    await ask(hass)
    assert home.satellite.said == [f"{OPEN} Shall I lock up?", "Done. Sleep well."]
    assert used(calls) == {
        ("lock.lock", "lock.kitchen_door"),
        ("cover.close_cover", "cover.garage_door"),
        ("homeassistant.turn_off", "light.ceiling_lights"),
    }
    assert hass.states.is_state("lock.kitchen_door", "locked")


@pytest.mark.parametrize("answer", ["No.", "Not now, thanks", "Don't lock up", "Is it raining?"])
async def test_anything_but_yes(hass: HomeAssistant, home: VoiceHome, calls: list[Event[Any]], answer: str) -> None:
    home.ears.hears = answer
    await ask(hass)
    assert home.satellite.said[1:] == ["All right, I leave everything as it is."]
    assert used(calls) == set()
    assert home.writer.tasks == []


@pytest.mark.parametrize(("meaning", "locked"), [("yes", True), ("no", False), ("unclear", False)])
async def test_a_model_reads_other_answers(
    hass: HomeAssistant, home: VoiceHome, calls: list[Event[Any]], meaning: str, locked: bool
) -> None:
    home.ears.hears = "I am off to bed, go on then"
    home.writer.answers = [{"meaning": meaning}]
    await ask(hass, ai_task=AI_TASK)
    assert "I am off to bed, go on then" in home.writer.tasks[0].instructions
    assert hass.states.is_state("lock.kitchen_door", "locked") is locked


async def test_a_model_that_fails_is_no_yes(
    hass: HomeAssistant, home: VoiceHome, calls: list[Event[Any]], complaints: list[str]
) -> None:
    complaints.append("the model is not there")
    home.ears.hears = "I am off to bed, go on then"
    await ask(hass, ai_task=AI_TASK)
    assert used(calls) == set()


async def test_nobody_answers(
    hass: HomeAssistant, home: VoiceHome, calls: list[Event[Any]], complaints: list[str]
) -> None:
    complaints.append("No answer")  # the words before 2026.11 are "from question"
    sent = async_capture_events(hass, "notify")
    await ask(hass)
    assert used(calls) == set()
    assert [event.data["message"] for event in sent] == [OPEN]
    assert len(home.satellite.said) == 1


async def test_a_lock_that_jams_is_told(
    hass: HomeAssistant, home: VoiceHome, calls: list[Event[Any]], freezer: FrozenDateTimeFactory
) -> None:
    home.ears.hears = "Yes"
    sent = async_capture_events(hass, "notify")
    await bedtime(hass, locks=["lock.kitchen_door", "lock.poorly_installed_door"], patience=30)
    await reach(hass, "wait template")
    assert len(home.satellite.said) == 1
    await pass_time(hass, freezer, seconds=31)
    failed = "That did not work everywhere: Poorly Installed Door."
    assert home.satellite.said[1:] == [failed]
    assert [event.data["message"] for event in sent] == [failed]


async def test_what_only_a_person_can_close_is_told(hass: HomeAssistant, home: VoiceHome) -> None:
    hass.states.async_set("binary_sensor.window", "on", {"friendly_name": "Window"})
    hass.states.async_set("lock.shed", "unavailable", {"friendly_name": "Shed"})
    await ask(hass, locks=["lock.shed"], covers=[], lights=[], openings=["binary_sensor.window"])
    assert home.satellite.said == ["Still open: Window. I cannot reach: Shed."]


async def test_nothing_to_do_is_not_worth_a_word(hass: HomeAssistant, home: VoiceHome) -> None:
    await ask(hass, locks=["lock.front_door"], covers=[], lights=["light.bed_light"])
    assert home.satellite.said == []
