"""The blueprint `morning_briefing` as an automation: once a morning, facts and nothing else."""

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import async_capture_events

from tests.ha.blueprints.conftest import MOVEMENT, NOTIFIER, automate, move, pass_time
from tests.ha.blueprints.voice_home import AI_TASK, SATELLITE, VoiceHome

TEN_SECONDS_EARLY = "2026-11-20 06:59:50+00:00"


async def brief(hass: HomeAssistant, **inputs: object) -> None:
    await automate(hass, "morning_briefing", ai_task=AI_TASK, satellites=[SATELLITE], **inputs)


@pytest.fixture(autouse=True)
def early(freezer: FrozenDateTimeFactory) -> None:
    freezer.move_to(TEN_SECONDS_EARLY)


async def test_tells_the_facts(hass: HomeAssistant, home: VoiceHome, freezer: FrozenDateTimeFactory) -> None:
    sent = async_capture_events(hass, "notify")
    home.writer.answers = ["Good morning, take an umbrella."]
    await brief(
        hass,
        weather="weather.demo_weather_south",
        calendars=["calendar.calendar_1"],
        entities=["lock.kitchen_door", "sensor.gone"],
        notifiers=[NOTIFIER],
    )
    await pass_time(hass, freezer, seconds=10)
    assert home.satellite.said == ["Good morning, take an umbrella."]
    assert [event.data for event in sent] == [{"message": "Good morning, take an umbrella."}]
    instructions = home.writer.tasks[0].instructions.splitlines()
    assert instructions[0].startswith("Write a morning briefing")
    assert instructions[1:] == [
        "- Date and time: Friday, 20 November 2026, 07:00",
        "- Weather now: sunny, 21.6 °C",
        "- Forecast: rainy, 15.0 to 22.0 °C, 60 % chance of rain",
        "- Appointment: Future Event, 07:29",
        "- Kitchen Door: unlocked",
    ]


async def test_open_items_of_a_list(hass: HomeAssistant, home: VoiceHome, freezer: FrozenDateTimeFactory) -> None:
    await home.async_add("shopping_list")
    for item in ("Feed the cat", "Buy bread"):
        await hass.services.async_call(
            "todo", "add_item", {"entity_id": "todo.shopping_list", "item": item}, blocking=True
        )
    done = {"entity_id": "todo.shopping_list", "item": "Buy bread", "status": "completed"}
    await hass.services.async_call("todo", "update_item", done, blocking=True)
    home.writer.answers = ["Good morning."]
    await brief(hass, lists=["todo.shopping_list"])
    await pass_time(hass, freezer, seconds=10)
    assert home.writer.tasks[0].instructions.splitlines()[-1] == "- To do (Shopping list): Feed the cat"


async def test_once_a_day(hass: HomeAssistant, home: VoiceHome, freezer: FrozenDateTimeFactory) -> None:
    home.writer.answers = ["One.", "Two."]
    await brief(hass, triggers=[{"trigger": "state", "entity_id": MOVEMENT, "to": "on"}])
    await move(hass)
    await move(hass)
    assert home.satellite.said == ["One."]
    await pass_time(hass, freezer, days=1)
    await move(hass)
    assert home.satellite.said == ["One.", "Two."]


async def test_not_in_the_night(hass: HomeAssistant, home: VoiceHome, freezer: FrozenDateTimeFactory) -> None:
    freezer.move_to("2026-11-20 03:00:00+00:00")
    home.writer.answers = ["Good morning."]
    await brief(hass, triggers=[{"trigger": "state", "entity_id": MOVEMENT, "to": "on"}])
    await move(hass)
    assert home.writer.tasks == []
    await pass_time(hass, freezer, hours=3)
    await move(hass)
    assert home.satellite.said == ["Good morning."]


async def test_a_model_that_fails(
    hass: HomeAssistant, home: VoiceHome, freezer: FrozenDateTimeFactory, complaints: list[str]
) -> None:
    complaints.append("the model is not there")
    await brief(hass)
    await pass_time(hass, freezer, seconds=10)
    assert home.satellite.said == ["Good morning. I could not put the briefing together today."]


async def test_what_is_gone_is_left_out(
    hass: HomeAssistant, home: VoiceHome, freezer: FrozenDateTimeFactory, complaints: list[str]
) -> None:
    complaints += ["did not match any entities", "Referenced entities"]
    home.writer.answers = ["Good morning."]
    await brief(hass, weather="weather.gone", calendars=["calendar.gone"])
    await pass_time(hass, freezer, seconds=10)
    assert home.satellite.said == ["Good morning."]
    assert home.writer.tasks[0].instructions.splitlines()[1:] == ["- Date and time: Friday, 20 November 2026, 07:00"]
