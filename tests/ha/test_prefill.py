"""What is computed ahead of a sentence is what the sentence needs, for whoever speaks, and it gets in nobody's way."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from homeassistant.components import assist_pipeline, conversation, stt
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.components.intent import async_register_timer_handler
from homeassistant.config_entries import ConfigEntry, ConfigFlow
from homeassistant.const import EVENT_HOMEASSISTANT_FINAL_WRITE, EVENT_HOMEASSISTANT_STOP
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    MockModule,
    async_fire_time_changed,
    mock_config_flow,
    mock_integration,
    mock_platform,
)
from pytest_homeassistant_custom_component.typing import WebSocketGenerator

from custom_components.zoe.memory import async_load_memory
from custom_components.zoe.prefill import COOLDOWN_S
from custom_components.zoe.speaker import MAX_PER_AGENT, Satellite, async_load_satellites
from tests.ha.conftest import AGENT, Say, chat_session
from tests.ha.fake_zoe import FakeZoe, error_response

TURN_ON = "intent__HassTurnOn"

type Speak = Callable[..., Any]


class Ears(stt.SpeechToTextEntity):
    """Understands what it is told to have heard, once the agent has prepared itself or `heard` is set."""

    _attr_name = "Ears"
    text = ""

    def __init__(self, zoe: FakeZoe) -> None:
        self._zoe = zoe

    supported_languages = ["en", "de"]  # noqa: RUF012 (Home Assistant's own way)
    supported_formats = [stt.AudioFormats.WAV]  # noqa: RUF012
    supported_codecs = [stt.AudioCodecs.PCM]  # noqa: RUF012
    supported_bit_rates = [stt.AudioBitRates.BITRATE_16]  # noqa: RUF012
    supported_sample_rates = [stt.AudioSampleRates.SAMPLERATE_16000]  # noqa: RUF012
    supported_channels = [stt.AudioChannels.CHANNEL_MONO]  # noqa: RUF012

    async def async_process_audio_stream(
        self, metadata: stt.SpeechMetadata, stream: AsyncIterable[bytes]
    ) -> stt.SpeechResult:
        async for _ in stream:
            pass
        await self._zoe.prime_asked.wait()
        return stt.SpeechResult(self.text, stt.SpeechResultState.SUCCESS)


@pytest.fixture
async def ears(hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, agent: str) -> AsyncIterator[Ears]:
    """Speech to text, and a satellite in the kitchen that has timers."""
    ears = Ears(zoe)

    async def set_up(hass: HomeAssistant, entry: ConfigEntry) -> bool:
        await hass.config_entries.async_forward_entry_setups(entry, ["stt"])
        return True

    async def add(hass: HomeAssistant, entry: ConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback) -> None:
        async_add_entities([ears])

    mock_integration(hass, MockModule("ears", async_setup_entry=set_up), built_in=False)
    mock_platform(hass, "ears.stt", type("Platform", (), {"async_setup_entry": staticmethod(add)}))
    mock_platform(hass, "ears.config_flow")
    entry = MockConfigEntry(domain="ears")
    entry.add_to_hass(hass)
    assert await async_setup_component(hass, "assist_pipeline", {})
    with mock_config_flow("ears", ConfigFlow):
        assert await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
        yield ears


def satellite(hass: HomeAssistant, name: str, area: str, timers: bool = True) -> str:
    """A device in an area, with a satellite entity."""
    entry = MockConfigEntry(domain="test")
    entry.add_to_hass(hass)
    found = ar.async_get(hass).async_get_area_by_name(area)
    assert found is not None
    device = dr.async_get(hass).async_get_or_create(config_entry_id=entry.entry_id, identifiers={("test", name)})
    dr.async_get(hass).async_update_device(device.id, area_id=found.id)
    er.async_get(hass).async_get_or_create(
        "assist_satellite", "test", name, suggested_object_id=name, device_id=device.id
    )
    if timers:
        async_register_timer_handler(hass, device.id, lambda *args: None)
    return device.id


@pytest.fixture
async def speak(hass: HomeAssistant, ears: Ears, zoe: FakeZoe) -> Speak:
    """Speak into a satellite: audio through a real pipeline."""
    pipelines = hass.data["assist_pipeline"].pipeline_store
    pipeline = await pipelines.async_create_item(
        {
            "name": "Voice",
            "language": "en",
            "conversation_engine": AGENT,
            "conversation_language": "en",
            "stt_engine": "stt.ears",
            "stt_language": "en",
            "tts_engine": None,
            "tts_language": None,
            "tts_voice": None,
            "wake_word_entity": None,
            "wake_word_id": None,
        }
    )

    async def audio() -> AsyncIterator[bytes]:
        yield b"\0" * 320

    async def _speak(text: str, device_id: str, satellite_id: str, conversation_id: str = "talk") -> None:
        ears.text = text
        zoe.prime_asked.clear()
        with chat_session(hass, conversation_id) as session:
            await assist_pipeline.async_pipeline_from_audio_stream(
                hass,
                context=Context(),
                event_callback=lambda event: None,
                stt_metadata=stt.SpeechMetadata(
                    language="en",
                    format=stt.AudioFormats.WAV,
                    codec=stt.AudioCodecs.PCM,
                    bit_rate=stt.AudioBitRates.BITRATE_16,
                    sample_rate=stt.AudioSampleRates.SAMPLERATE_16000,
                    channel=stt.AudioChannels.CHANNEL_MONO,
                ),
                stt_stream=audio(),
                pipeline_id=pipeline.id,
                conversation_id=session.conversation_id,
                device_id=device_id,
                satellite_id=satellite_id,
                end_stage=assist_pipeline.PipelineStage.INTENT,
                audio_settings=assist_pipeline.AudioSettings(is_vad_enabled=False),
            )
        await hass.async_block_till_done(wait_background_tasks=True)

    return _speak


async def pass_time(hass: HomeAssistant, seconds: float = COOLDOWN_S) -> None:
    """Let time pass, and everything that is due happen."""
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=seconds + 1))
    await hass.async_block_till_done(wait_background_tasks=True)


def assert_prepared(primed: dict[str, Any], real: dict[str, Any]) -> None:
    """All but the sentence is the same, byte by byte, and it is asked for in peace."""
    assert json.dumps(primed["messages"][:-1]) == json.dumps(real["messages"][:-1])
    assert json.dumps(primed["tools"]) == json.dumps(real["tools"])
    assert primed["messages"][-1] == {"role": "user", "content": ""}
    assert real["messages"][-1]["role"] == "user"
    differ = {key for key in real if primed.get(key) != real[key]}
    assert differ == {"messages", "max_tokens", "zoe"}
    assert primed["zoe"] == {**real["zoe"], "priority": "background"}
    assert primed["max_tokens"] == 0


async def test_what_is_being_said_is_prepared(hass: HomeAssistant, zoe: FakeZoe, speak: Speak) -> None:
    kitchen = satellite(hass, "kitchen", "Kitchen")
    zoe.calls((TURN_ON, {"name": "Kitchen light"}))
    zoe.says("The light is on.")
    await speak("turn on the kitchen light", kitchen, "assist_satellite.kitchen")
    (primed,) = zoe.primed
    assert_prepared(primed, zoe.requests[0])
    assert "You are in area Kitchen" in primed["messages"][1]["content"]
    assert "Timer" in primed["tools"][-1]["function"]["name"]


async def test_a_second_sentence_is_prepared_with_what_was_said(
    hass: HomeAssistant, zoe: FakeZoe, speak: Speak
) -> None:
    kitchen = satellite(hass, "kitchen", "Kitchen")
    zoe.calls((TURN_ON, {"name": "Kitchen light"}))
    zoe.says("The light is on.")
    await speak("turn on the kitchen light", kitchen, "assist_satellite.kitchen")
    zoe.says("Gladly.")
    await speak("thank you", kitchen, "assist_satellite.kitchen")
    assert_prepared(zoe.primed[1], zoe.requests[2])
    assert [message["role"] for message in zoe.primed[1]["messages"]] == [
        *("system", "system", "user", "assistant", "tool", "assistant", "user")
    ]


async def test_the_satellite_tells_the_device_where_the_run_does_not(
    hass: HomeAssistant, zoe: FakeZoe, speak: Speak
) -> None:
    kitchen = satellite(hass, "kitchen", "Kitchen")
    runs = hass.data["assist_pipeline"].pipeline_runs
    runs.add_run = lambda run: None
    runs.remove_run = lambda run: None
    zoe.says("Hello.")
    await speak("hello", kitchen, "assist_satellite.kitchen")
    assert_prepared(zoe.primed[0], zoe.requests[0])


async def test_without_the_internals_what_devices_share_is_prepared(
    hass: HomeAssistant, zoe: FakeZoe, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen = satellite(hass, "kitchen", "Kitchen")
    pipelines = hass.data["assist_pipeline"]
    monkeypatch.setattr("custom_components.zoe.speaker._PIPELINES", "elsewhere")
    hass.data["elsewhere"] = object()
    zoe.says("Hello.")
    await speak("hello", kitchen, "assist_satellite.kitchen")
    assert pipelines is hass.data["assist_pipeline"]
    primed, real = zoe.primed[0], zoe.requests[0]
    shared = json.dumps(primed["tools"])[:-1]
    assert json.dumps(real["tools"]).startswith(shared)
    assert "Kitchen light" in primed["messages"][0]["content"]
    assert primed["messages"][0] == real["messages"][0]
    assert primed["messages"][1] != real["messages"][1]


async def test_prepared_by_a_client(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, say: Say, hass_ws_client: WebSocketGenerator
) -> None:
    client = await hass_ws_client(hass)
    await client.send_json_auto_id({"type": "conversation/prepare", "agent_id": AGENT, "language": "en"})
    assert (await client.receive_json())["success"]
    zoe.says("Hello.")
    await say("hello")
    assert_prepared(zoe.primed[0], zoe.requests[0])


async def test_prepared_in_a_conversation_without_a_pipeline(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, say: Say
) -> None:
    """There is a conversation to go on with, and no run that knows a device."""
    zoe.says("Hello.")
    zoe.says("Hello again.")
    first = await say("hello")
    entity = hass.data["conversation"].get_entity(AGENT)
    assert entity is not None
    with chat_session(hass, first.conversation_id):
        await entity.async_prepare("en")
    await say("hello again", first.conversation_id)
    assert_prepared(zoe.primed[0], zoe.requests[1])


async def test_without_tools_the_time_is_left_out(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    (subentry,) = entry.subentries.values()
    hass.config_entries.async_update_subentry(entry, subentry, data={})
    await hass.async_block_till_done()
    await pass_time(hass)
    assert len(zoe.primed) == 1
    assert "Current time" not in json.dumps(zoe.primed[0])


async def test_prompts_are_computed_at_the_start(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, say: Say
) -> None:
    assert zoe.primed == []
    await pass_time(hass)
    (primed,) = zoe.primed
    zoe.says("Hello.")
    await say("hello")
    assert_prepared(primed, zoe.requests[0])


@pytest.mark.parametrize("change", ["name", "alias", "exposure", "area", "floor", "new"])
async def test_prompts_are_computed_after_a_change(home: HomeAssistant, zoe: FakeZoe, say: Say, change: str) -> None:
    await pass_time(home)
    entities, areas = er.async_get(home), ar.async_get(home)
    kitchen = areas.async_get_area_by_name("Kitchen")
    assert kitchen is not None
    if change == "name":
        entities.async_update_entity("light.desk_lamp", name="Reading lamp")
    elif change == "alias":
        entities.async_update_entity("light.desk_lamp", aliases=["Reading lamp"])
    elif change == "exposure":
        async_expose_entity(home, "conversation", "light.desk_lamp", False)
    elif change == "area":
        entities.async_update_entity("light.desk_lamp", area_id=kitchen.id)
    elif change == "floor":
        areas.async_update(kitchen.id, name="Cuisine")
    else:
        home.states.async_set("light.new", "on", {"friendly_name": "New light"})
        async_expose_entity(home, "conversation", "light.new", True)
    await home.async_block_till_done()
    await pass_time(home)
    before, after = zoe.primed
    assert before["messages"] != after["messages"]
    zoe.says("Hello.")
    await say("hello")
    assert_prepared(after, zoe.requests[0])


async def test_a_state_computes_nothing(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    await pass_time(home)
    home.states.async_set("sensor.outside", "13", {"friendly_name": "Outside", "device_class": "temperature"})
    await home.async_block_till_done()
    await pass_time(home)
    assert len(zoe.primed) == 1


async def test_a_satellite_that_comes_back_with_timers_is_computed(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, say: Say
) -> None:
    """Its timers are registered when it connects, which nothing but its state tells."""
    kitchen = satellite(home, "kitchen", "Kitchen", timers=False)
    home.states.async_set("assist_satellite.kitchen", "unavailable")
    seen = await async_load_satellites(home)
    seen.see(next(iter(entry.subentries)), Satellite(kitchen, "en"))
    await pass_time(home)
    async_register_timer_handler(home, kitchen, lambda *args: None)
    home.states.async_set("assist_satellite.kitchen", "idle")
    await home.async_block_till_done()
    await pass_time(home)
    before, after = ([tool["function"]["name"] for tool in request["tools"]] for request in zoe.primed)
    assert set(after) - set(before) >= {"intent__HassStartTimer"}


async def test_a_change_that_leaves_the_prompt_as_it_was_computes_nothing(
    home: HomeAssistant, zoe: FakeZoe, say: Say
) -> None:
    await pass_time(home)
    home.states.async_set("light.hidden", "on", {"friendly_name": "Hidden"})
    async_expose_entity(home, "conversation", "light.hidden", False)
    await home.async_block_till_done()
    await pass_time(home)
    assert len(zoe.primed) == 1


async def talk(hass: HomeAssistant, zoe: FakeZoe, device_id: str | None) -> None:
    zoe.says("Hello.")
    await conversation.async_converse(hass, "hello", None, Context(), "en", AGENT, device_id=device_id)


async def test_each_kind_of_satellite_that_was_seen_is_computed(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    kitchen, cellar = satellite(hass, "kitchen", "Kitchen"), satellite(hass, "cellar", "Cellar", timers=False)
    oven = satellite(hass, "oven", "Kitchen")
    for device_id in (kitchen, oven, cellar):
        await talk(hass, zoe, device_id)
    await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    zoe.primed.clear()
    await pass_time(hass)
    assert [("You are in area Cellar" in one["messages"][1]["content"]) for one in zoe.primed] == [
        True,
        False,
    ]
    assert_prepared(zoe.primed[0], zoe.requests[2])
    assert_prepared(zoe.primed[1], zoe.requests[1])


async def test_rooms_share_the_home_and_all_tools_that_both_have(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, agent: str
) -> None:
    cellar = satellite(hass, "cellar", "Cellar", timers=False)
    for device_id in (satellite(hass, "kitchen", "Kitchen"), cellar, None):
        await talk(hass, zoe, device_id)
    kitchen, below, nowhere = zoe.requests
    assert kitchen["messages"][0] == below["messages"][0] == nowhere["messages"][0]
    assert "Kitchen light" in kitchen["messages"][0]["content"]
    lines = [request["messages"][1]["content"].splitlines() for request in zoe.requests]
    assert [line[:29] for line in lines[0]] == ["You are in area Kitchen (floo"]
    assert [line[:23] for line in lines[1]] == ["You are in area Cellar ", "This device is not able"]
    assert [line[:19] for line in lines[2]] == ["When a user asks to", "This device is not "]
    n_shared = len(below["tools"])
    assert kitchen["tools"][:n_shared] == below["tools"] == nowhere["tools"]
    assert len(kitchen["tools"]) > n_shared


async def test_a_device_that_is_gone_is_computed_no_more(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, agent: str
) -> None:
    cellar = satellite(hass, "cellar", "Cellar")
    await talk(hass, zoe, cellar)
    dr.async_get(hass).async_remove_device(cellar)
    await hass.async_block_till_done()
    await pass_time(hass)
    assert "You are in area" not in zoe.primed[-1]["messages"][1]["content"]


async def test_satellites_are_stored_bounded_and_without_those_of_agents_that_are_gone(
    hass_storage: dict[str, Any], home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry
) -> None:
    hass_storage["zoe.satellites"] = {"version": 1, "key": "zoe.satellites", "data": {"gone": [["device", "en"]]}}
    assert await home.config_entries.async_setup(entry.entry_id)
    await home.async_block_till_done()
    devices = [satellite(home, f"s{number}", "Cellar") for number in range(MAX_PER_AGENT + 2)]
    for device_id in [*devices, devices[-1]]:
        await talk(home, zoe, device_id)
    home.bus.async_fire(EVENT_HOMEASSISTANT_FINAL_WRITE)
    await home.async_block_till_done()
    (subentry_id,) = entry.subentries
    newest = [[device_id, "en"] for device_id in reversed(devices)][:MAX_PER_AGENT]
    assert hass_storage["zoe.satellites"]["data"] == {subentry_id: newest}


async def test_speech_goes_before_what_is_computed_for_later(hass: HomeAssistant, zoe: FakeZoe, speak: Speak) -> None:
    kitchen = satellite(hass, "kitchen", "Kitchen")
    zoe.priming.clear()
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=COOLDOWN_S + 1))
    await zoe.prime_asked.wait()
    zoe.says("Hello.")
    speaking = hass.async_create_task(speak("hello", kitchen, "assist_satellite.kitchen"))
    await zoe.disconnected.wait()
    zoe.priming.set()
    await speaking
    swept, spoken = zoe.primed
    assert swept["messages"] != spoken["messages"]
    assert_prepared(spoken, zoe.requests[0])
    await pass_time(hass)
    assert len(zoe.primed) == 3


async def test_a_sentence_does_not_wait_for_its_preparation(hass: HomeAssistant, zoe: FakeZoe, speak: Speak) -> None:
    kitchen = satellite(hass, "kitchen", "Kitchen")
    zoe.priming.clear()
    zoe.says("Hello.")
    speaking = hass.async_create_task(speak("hello", kitchen, "assist_satellite.kitchen"))
    await zoe.asked.wait()
    assert_prepared(zoe.primed[0], zoe.requests[0])
    zoe.priming.set()
    await speaking


async def test_a_failure_is_told_once(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, agent: str, caplog: pytest.LogCaptureFixture
) -> None:
    loading = "unavailable_error", "a model is being loaded"
    zoe.prime_answers = [error_response(503, *loading), error_response(503, *loading)]
    entity = hass.data["conversation"].get_entity(AGENT)
    assert entity is not None

    async def warnings(text: str) -> int:
        await entity.async_prepare("en")
        return sum(record.levelname == "WARNING" and text in record.getMessage() for record in caplog.records)

    assert [await warnings("could not be computed ahead: a model is being loaded") for _ in range(3)] == [1, 1, 1]
    zoe.prime_answers = [error_response(500, "server_error", "oops")]
    assert await warnings("could not be computed ahead: oops") == 1


async def test_whatever_goes_wrong_stays_here(
    hass: HomeAssistant,
    home: HomeAssistant,
    zoe: FakeZoe,
    entry: MockConfigEntry,
    agent: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entity = hass.data["conversation"].get_entity(AGENT)
    assert entity is not None

    def broken(*args: object) -> None:
        raise ZeroDivisionError("a tool of somebody")

    with monkeypatch.context() as patch:
        patch.setattr("custom_components.zoe.prefill.chat_request", broken)
        await entity.async_prepare("en")
    assert "ZeroDivisionError('a tool of somebody')" in caplog.text
    monkeypatch.setattr("custom_components.zoe.prefill.SPEECH_TIMEOUT_S", 0.0)
    await entity.async_prepare("en")
    assert "was not computed within 0.0 s" in caplog.text
    assert zoe.primed == []


async def test_nothing_is_computed_after_unloading(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    zoe.priming.clear()
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=COOLDOWN_S + 1))
    await zoe.prime_asked.wait()
    assert await hass.config_entries.async_unload(entry.entry_id)
    await asyncio.wait_for(zoe.disconnected.wait(), 10)
    er.async_get(hass).async_update_entity("light.desk_lamp", name="Reading lamp")
    await (await async_load_memory(hass)).async_remember("The bins go out on Tuesday.")
    await pass_time(hass)
    assert len(zoe.primed) == 1


async def test_home_assistant_does_not_wait_for_prompts_when_it_stops(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, agent: str
) -> None:
    zoe.priming.clear()
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=COOLDOWN_S + 1))
    await zoe.prime_asked.wait()
    hass.bus.async_fire(EVENT_HOMEASSISTANT_STOP)
    await asyncio.wait_for(zoe.disconnected.wait(), 10)
    await pass_time(hass)
    assert len(zoe.primed) == 1


async def test_a_new_fact_is_computed_into_the_prompt(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    await pass_time(home)
    await (await async_load_memory(home)).async_remember("The bins go out on Tuesday.")
    await pass_time(home)
    before, after = (one["messages"][0]["content"] for one in zoe.primed)
    assert after.startswith(before)
    assert after.endswith('\n- "The bins go out on Tuesday."\n</household_facts>')
    assert json.dumps(zoe.primed[0]["tools"]) == json.dumps(zoe.primed[1]["tools"])
    zoe.says("Hello.")
    await say("hello")
    assert_prepared(zoe.primed[1], zoe.requests[0])


async def test_a_server_that_comes_back_gets_the_prompts_again(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    await pass_time(hass)
    for ready in (True, False, False, True, True):
        zoe.ready = ready
        await entry.runtime_data.async_refresh()
        await pass_time(hass)
    assert len(zoe.primed) == 2
    assert zoe.primed[0] == zoe.primed[1]
