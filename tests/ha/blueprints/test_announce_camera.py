"""The blueprint `announce_camera` as an automation: what it says, sends, and leaves unsaid."""

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import async_capture_events

from tests.ha.blueprints.conftest import MOVEMENT, NOTIFIER, automate, move, pass_time, reach, sense, tick
from tests.ha.blueprints.voice_home import AI_TASK, SATELLITE, VoiceHome

BELL, CAMERA = "event.demo_button_press", "camera.demo_camera"


@pytest.fixture
async def watched(hass: HomeAssistant, home: VoiceHome) -> VoiceHome:
    await watch(hass)
    return home


async def watch(hass: HomeAssistant, **inputs: object) -> None:
    base = {"camera": CAMERA, "ai_task": AI_TASK, "satellites": [SATELLITE], "notifiers": [NOTIFIER], "cooldown": 0}
    await automate(hass, "announce_camera", sensors=[BELL, MOVEMENT], **base | inputs)


async def test_says_and_sends_what_is_seen(hass: HomeAssistant, watched: VoiceHome) -> None:
    sent = async_capture_events(hass, "notify")
    watched.writer.answers = [{"sentence": "A postman puts down a parcel.", "person": True}]
    await move(hass)
    assert watched.satellite.said == ["A postman puts down a parcel."]
    assert [event.data for event in sent] == [{"title": "Demo camera", "message": "A postman puts down a parcel."}]
    task = watched.writer.tasks[0]
    assert [item.mime_type for item in task.attachments or ()] == ["image/jpg"]
    assert "one short, spoken sentence" in task.instructions


async def test_a_doorbell_that_never_rang_before(hass: HomeAssistant, watched: VoiceHome) -> None:
    assert hass.states.is_state(BELL, "unknown")
    watched.writer.answers = [{"sentence": "Nobody is there.", "person": False}]
    hass.bus.async_fire("demo_button_pressed")
    await hass.async_block_till_done()
    assert watched.satellite.said == ["Nobody is there."]


@pytest.mark.parametrize("back", ["unavailable", "unknown"])
async def test_a_sensor_that_comes_back_has_seen_nobody(hass: HomeAssistant, watched: VoiceHome, back: str) -> None:
    hass.states.async_set(MOVEMENT, back)
    hass.states.async_set(MOVEMENT, "on")
    hass.states.async_set(MOVEMENT, "off")
    await hass.async_block_till_done()
    assert watched.writer.tasks == []


@pytest.mark.parametrize(("person", "said"), [(True, ["Somebody waits."]), (False, [])])
async def test_only_people(hass: HomeAssistant, home: VoiceHome, person: bool, said: list[str]) -> None:
    await watch(hass, only_people=True)
    home.writer.answers = [{"sentence": "Somebody waits.", "person": person}]
    await move(hass)
    assert home.satellite.said == said


@pytest.mark.parametrize("fallback", ["Somebody is at the door.", ""])
async def test_a_model_that_fails(hass: HomeAssistant, home: VoiceHome, fallback: str, complaints: list[str]) -> None:
    complaints.append("the model is not there")
    await watch(hass, fallback=fallback)
    await move(hass)
    assert len(home.writer.tasks) == 1
    assert home.satellite.said == [text for text in [fallback] if text]


async def test_a_pause_between_two_announcements(
    hass: HomeAssistant, home: VoiceHome, freezer: FrozenDateTimeFactory
) -> None:
    await watch(hass, cooldown=60)
    home.writer.answers = [{"sentence": text, "person": True} for text in ("First.", "Second.", "Third.")]
    sense(hass)
    await reach(hass, "delay")
    tick(hass, freezer, seconds=59)
    sense(hass)
    await pass_time(hass, freezer, seconds=2)
    assert home.satellite.said == ["First."]
    sense(hass)
    await reach(hass, "delay")
    await pass_time(hass, freezer, seconds=61)
    assert home.satellite.said == ["First.", "Second."]


async def test_conditions(hass: HomeAssistant, home: VoiceHome) -> None:
    await watch(hass, conditions=[{"condition": "state", "entity_id": "input_boolean.night", "state": "off"}])
    hass.states.async_set("input_boolean.night", "on")
    await move(hass)
    assert home.writer.tasks == []
