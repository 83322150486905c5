"""A sentence goes to the server over real HTTP, and what comes back acts on a real home."""

import asyncio
import json
from typing import Any

import pytest
from homeassistant.components import conversation
from homeassistant.core import Context, Event, HomeAssistant
from homeassistant.helpers import intent
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_capture_events

from custom_components.zoe.const import EVENT_TURN, MAX_ANSWER_TOKENS
from tests.ha.conftest import Say, chat_session
from tests.ha.fake_zoe import FakeZoe, delta, ending, role
from tests.ha.tool_turns import ADMITTED

TURN_ON = "intent__HassTurnOn"


def speech(result: conversation.ConversationResult) -> str:
    return str(result.response.speech["plain"]["speech"])


def last_message(zoe: FakeZoe) -> dict[str, Any]:
    message: dict[str, Any] = zoe.requests[-1]["messages"][-1]
    return message


async def test_text_answer(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.says("Hello ", "there.")
    result = await say("hello")
    assert speech(result) == "Hello there."
    assert result.response.response_type is intent.IntentResponseType.ACTION_DONE
    request = zoe.requests[0]
    assert request["model"] == "zoe"
    assert request["stream"] is True
    assert request["max_tokens"] == MAX_ANSWER_TOKENS
    assert request["stream_options"] == {"include_usage": True}
    assert request["zoe"]["priority"] == "interactive"
    assert request["zoe"]["argument_values"]["name"] == ["Desk lamp", "Kitchen light", "Outside"]
    assert "temperature" not in request
    assert [message["role"] for message in request["messages"]] == ["system", "system", "user"]
    assert "Kitchen light" in request["messages"][0]["content"]


async def test_tool_call_switches_a_light(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.calls((TURN_ON, {"name": "Kitchen light"}), text="One moment.")
    zoe.says("The kitchen light is on.")
    result = await say("turn on the kitchen light")
    await home.async_block_till_done()
    assert home.states.is_state("light.kitchen_light", "on")
    assert speech(result) == "The kitchen light is on."
    assert [target.id for target in result.response.success_results] == ["light.kitchen_light"]
    call, answer = zoe.requests[1]["messages"][-2:]
    assert call["content"] == "One moment."
    assert call["tool_calls"][0]["function"] == {"name": TURN_ON, "arguments": '{"name":"Kitchen light"}'}
    assert answer["role"] == "tool"
    assert answer["tool_call_id"] == call["tool_calls"][0]["id"]
    assert json.loads(answer["content"])["error"] is False


async def test_parallel_calls_act_and_answer_in_order(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.calls((TURN_ON, {"name": "Kitchen light"}), (TURN_ON, {"name": "Desk lamp"}))
    zoe.says("Both are on.")
    assert speech(await say("turn on the kitchen light and the desk lamp")) == "Both are on."
    await home.async_block_till_done()
    assert home.states.is_state("light.kitchen_light", "on")
    assert home.states.is_state("light.desk_lamp", "on")
    call, first, second = zoe.requests[1]["messages"][-3:]
    assert [call["id"] for call in call["tool_calls"]] == [first["tool_call_id"], second["tool_call_id"]]


async def test_a_tool_that_fails_is_told_to_the_model(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.judge = ADMITTED
    zoe.calls((TURN_ON, {"name": "Chandelier"}))
    zoe.says("There is no chandelier.")
    assert speech(await say("turn on the chandelier")) == "There is no chandelier."
    answer = json.loads(last_message(zoe)["content"])
    assert answer["error"] is True
    assert answer["data"]["error"] == "unknown_name"
    assert answer["data"]["candidates"] == ["Kitchen light", "Desk lamp"]


async def test_second_turn_extends_the_first(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.says("Which light?")
    first = await say("turn on the light", "my-conversation")
    assert first.continue_conversation
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.says("Done.")
    await say("the desk lamp", "my-conversation")
    before, after, _ = zoe.requests
    assert after["messages"][: len(before["messages"])] == before["messages"]
    assert [message["content"] for message in after["messages"][-2:]] == ["Which light?", "the desk lamp"]
    assert json.dumps(after["tools"]) == json.dumps(before["tools"])


async def test_deltas_stream_while_the_answer_is_being_written(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, agent: str
) -> None:
    gate = asyncio.Event()
    zoe.script.append([role(), delta(content="One "), gate, delta(content="two."), *ending("stop")])
    seen: list[dict[str, Any]] = []

    def listen(chat_log: conversation.ChatLog, piece: dict[str, Any]) -> None:
        seen.append(piece)
        if piece.get("content") == "One":
            gate.set()  # the server sends the rest only after this piece has arrived here

    user_input = conversation.ConversationInput(
        text="count",
        context=Context(),
        conversation_id=None,
        device_id=None,
        satellite_id=None,
        language="en",
        agent_id=agent,
    )
    with (
        chat_session(hass) as session,
        conversation.async_get_chat_log(hass, session, user_input, chat_log_delta_listener=listen),
    ):
        result = await conversation.async_converse(hass, "count", session.conversation_id, Context(), "en", agent)
    assert speech(result) == "One two."
    assert seen == [{"role": "assistant"}, {"content": "One"}, {"content": " two."}]


async def test_reasoning_is_kept_apart_from_the_answer(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.script.append([delta(reasoning_content="Hm."), delta(content="Yes."), *ending("stop")])
    assert speech(await say("really")) == "Yes."


@pytest.mark.parametrize(
    ("options", "said", "spoken", "goes_on"),
    [
        ({}, "**Which** one? 🙂", "Which one?", True),
        ({"plain_speech": False}, "**Which** one? 🙂", "**Which** one? 🙂", True),
        ({"follow_up": False}, "Which one?", "Which one?", False),
        ({}, 'You asked "which one?" It is 5 °C.', 'You asked "which one?" It is 5 degrees Celsius.', False),
    ],
)
async def test_speech_and_follow_up(
    home: HomeAssistant,
    zoe: FakeZoe,
    entry: MockConfigEntry,
    say: Say,
    options: dict[str, bool],
    said: str,
    spoken: str,
    goes_on: bool,
) -> None:
    subentry = next(iter(entry.subentries.values()))
    home.config_entries.async_update_subentry(entry, subentry, data={"llm_hass_api": ["assist"], **options})
    await home.async_block_till_done()
    zoe.says(*said)
    result = await say("say it")
    assert speech(result) == spoken
    assert result.continue_conversation is goes_on


async def test_silence_is_an_error(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.says()
    zoe.says("  ")
    result = await say("hello")
    assert result.response.response_type is intent.IntentResponseType.ERROR
    assert speech(result) == "I don't have an answer to that. Please say it again."


async def test_agent_without_control(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, say: Say) -> None:
    subentry = next(iter(entry.subentries.values()))
    hass.config_entries.async_update_subentry(entry, subentry, data={"model": "llama-3.2-3b", "prompt": "Be brief."})
    await hass.async_block_till_done()
    zoe.says("Hi.")
    assert speech(await say("hello")) == "Hi."
    request = zoe.requests[0]
    assert request["model"] == "llama-3.2-3b"
    assert request["messages"][0]["content"].startswith("Be brief.")
    assert "tools" not in request
    assert request["zoe"] == {"priority": "interactive"}
    state = hass.states.get("conversation.zoe")
    assert state is not None
    assert state.attributes["supported_features"] == 0


async def test_calls_without_tools_are_refused(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    subentry = next(iter(entry.subentries.values()))
    hass.config_entries.async_update_subentry(entry, subentry, data={})
    await hass.async_block_till_done()
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    assert speech(await say("hello")) == "I lost my thread. Please say that again."
    assert "called a tool although it was given none" in caplog.text
    assert len(zoe.requests) == 1


async def test_unknown_api_and_bad_template_are_told(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, say: Say
) -> None:
    subentry = next(iter(entry.subentries.values()))
    for data, words in (
        ({"llm_hass_api": ["gone"]}, "Error preparing LLM API"),
        ({"prompt": "{{ 1 / 0 }}"}, "problem with my template"),
    ):
        hass.config_entries.async_update_subentry(entry, subentry, data=data)
        await hass.async_block_till_done()
        assert words in speech(await say("hello"))
    assert zoe.requests == []


async def test_turn_event(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    events: list[Event] = async_capture_events(home, EVENT_TURN)
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.says("It is on.")
    result = await say("turn on the desk lamp")
    (event,) = events
    data = dict(event.data)
    assert 0 < data.pop("ttft_ms") <= data.pop("total_ms")
    assert data == {
        "conversation_id": result.conversation_id,
        "agent_id": "conversation.zoe",
        "model": "zoe-nano",
        "requests": 2,
        "prompt_tokens": 200,
        "cached_tokens": 180,
        "completion_tokens": 14,
        "tool_calls": [{"name": TURN_ON, "arguments": ["name"]}],
        "repairs": {},
    }


async def test_stats_are_traced(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.says("Hello.")
    await say("hello")
    traces = conversation.trace.async_get_traces()
    details = [event["data"] for event in traces[-1].as_dict()["events"] if event["event_type"] == "agent_detail"]
    assert details[-1] == {
        "stats": {
            "model": "zoe-nano",
            "input_tokens": 100,
            "cached_input_tokens": 90,
            "output_tokens": 7,
            "timings": {"queue_ms": 1.0, "first_token_ms": 20.0, "total_ms": 50.0},
        }
    }


async def test_leaving_closes_the_connection(hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    never = asyncio.Event()
    zoe.script.append([role(), delta(content="One "), never])
    task = hass.async_create_task(say("count"))
    await asyncio.wait_for(zoe.asked.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(zoe.disconnected.wait(), 5)
