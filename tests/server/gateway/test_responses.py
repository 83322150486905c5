"""POST /v1/responses over HTTP, with engines that say what the test wants; OpenAI's own types check every event."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from zoe_server import errors, protocol
from zoe_server.gateway.openai.responses_writer import ResponseHead, ResponseWriter

if TYPE_CHECKING:
    import aiohttp

    from tests.fixtures.scripted_engine import ScriptedEngine
    from tests.server.gateway.conftest import Gateway, Start

ANY_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOLS = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("turn_on", "turn_off")]
BEGIN = ["response.created", "response.in_progress"]
PROSE_END = ["response.content_part.done", "response.output_item.done"]
MESSAGE = ["response.output_item.added", "response.content_part.added", "response.output_text.delta"]
REASONING = [
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    *PROSE_END,
]


async def respond(gateway: Gateway, text: object = "hi", **fields: object) -> aiohttp.ClientResponse:
    return await gateway.client.post("/v1/responses", json={"input": text, **fields})


async def whole(gateway: Gateway, text: object = "hi", **fields: object) -> dict[str, Any]:
    response = await respond(gateway, text, **fields)
    answer: dict[str, Any] = await response.json()
    assert response.status == 200, answer
    Response.model_validate(answer)
    return answer


def checked(blocks: list[str]) -> list[dict[str, Any]]:
    """Return the events of a stream; each has its name, its number and the form that OpenAI's types want."""
    events = []
    for number, block in enumerate(blocks):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
        assert events[-1]["sequence_number"] == number
        ANY_EVENT.validate_python(events[-1])
    return events


async def streamed(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    assert response.headers["Connection"] == "close"
    blocks = [block for block in (await response.text()).split("\n\n") if block]
    return checked([block for block in blocks if not block.startswith(":")])


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def test_a_whole_response(gateway: Gateway) -> None:
    response = await respond(gateway, instructions="be brief", metadata={"room": "kitchen"}, store=True)
    answer = await response.json()
    assert response.status == 200
    assert response.headers["X-Zoe-Route"] == "rule=chat; model=m; candidates=m"
    parsed = Response.model_validate(answer)
    assert parsed.output_text == "Hello you"
    assert (parsed.object, parsed.status, parsed.model) == ("response", "completed", "m")
    assert parsed.id.startswith("resp_")
    assert parsed.completed_at is not None
    assert parsed.completed_at >= parsed.created_at
    assert (parsed.error, parsed.incomplete_details) == (None, None)
    assert (parsed.instructions, parsed.metadata) == ("be brief", {"room": "kitchen"})
    assert answer["store"] is False
    assert answer["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 11,
    }
    assert answer["timings"] == {"queue_ms": 1.0, "first_token_ms": 2.0, "total_ms": 3.0}
    (message,) = answer["output"]
    assert message["id"].startswith("msg_")
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    assert message["content"] == [{"type": "output_text", "text": "Hello you", "annotations": [], "logprobs": []}]


async def test_a_response_repeats_how_it_was_asked_for(gateway: Gateway) -> None:
    choice = {"type": "function", "name": "turn_on"}
    given = {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 50, "parallel_tool_calls": False, "user": "me"}
    answer = await whole(gateway, tools=TOOLS, tool_choice=choice, **given)
    assert {key: answer[key] for key in given} == given
    assert answer["tool_choice"] == choice
    assert answer["tools"] == [{"description": None, "strict": None, **tool} for tool in TOOLS]
    plain = await whole(gateway)
    assert (plain["tool_choice"], plain["tools"], plain["metadata"]) == ("auto", [], {})
    assert (plain["parallel_tool_calls"], plain["temperature"], plain["instructions"]) == (True, None, None)


async def test_whole_tool_calls(gateway: Gateway) -> None:
    answer = await whole(gateway, "lamp", tools=TOOLS)
    assert answer["status"] == "completed"
    assert [(item["type"], item["status"]) for item in answer["output"]] == [("function_call", "completed")] * 2
    calls = [(item["call_id"], item["name"], item["arguments"]) for item in answer["output"]]
    assert calls == [("call_a", "turn_on", '{"name": "Lamp"}'), ("call_b", "turn_off", "{}")]
    assert len({item["id"] for item in answer["output"]}) == 2


async def test_reasoning_is_an_item_of_its_own(gateway: Gateway) -> None:
    reasoning, message = (await whole(gateway, "think"))["output"]
    assert (reasoning["type"], reasoning["summary"]) == ("reasoning", [])
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert message["content"][0]["text"] == "so"


async def test_an_answer_that_was_cut_is_incomplete(gateway: Gateway) -> None:
    answer = await whole(gateway, max_output_tokens=1)
    assert (answer["status"], answer["completed_at"]) == ("incomplete", None)
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert [(item["status"], item["content"][0]["text"]) for item in answer["output"]] == [("incomplete", "Hello")]
    events = await streamed(await respond(gateway, max_output_tokens=1, stream=True))
    assert (events[-1]["type"], events[-2]["item"]["status"]) == ("response.incomplete", "incomplete")


async def test_no_tokens_at_all_only_compute_the_prompt(gateway: Gateway) -> None:
    answer = await whole(gateway, max_output_tokens=0)
    assert (answer["status"], answer["output"]) == ("incomplete", [])


async def test_the_events_of_a_text(gateway: Gateway) -> None:
    events = await streamed(await respond(gateway, stream=True))
    delta = "response.output_text.delta"
    assert types(events) == [
        *BEGIN, *MESSAGE, delta, "response.output_text.done", *PROSE_END, "response.completed",
    ]  # fmt: skip
    created, in_progress, added, part_added, *deltas, text_done, part_done, done, completed = events
    assert created["response"] == in_progress["response"]
    assert (created["response"]["status"], created["response"]["output"]) == ("in_progress", [])
    assert created["response"]["usage"] is None
    assert (added["item"]["status"], added["item"]["content"]) == ("in_progress", [])
    assert part_added["part"]["text"] == ""
    assert [event["delta"] for event in deltas] == ["Hello", " you"]
    assert text_done["text"] == part_done["part"]["text"] == "Hello you"
    assert {event["item_id"] for event in [part_added, *deltas, text_done, part_done]} == {done["item"]["id"]}
    assert completed["response"]["output"] == [done["item"]]
    assert completed["response"]["id"] == created["response"]["id"]


async def test_the_events_of_reasoning(gateway: Gateway) -> None:
    events = await streamed(await respond(gateway, "think", stream=True))
    assert types(events) == [
        *BEGIN, *REASONING, *MESSAGE, "response.output_text.done", *PROSE_END, "response.completed",
    ]  # fmt: skip
    assert [event["output_index"] for event in events[2:-1]] == [0] * 6 + [1] * 6


async def test_the_events_of_tool_calls(gateway: Gateway) -> None:
    events = await streamed(await respond(gateway, "lamp", tools=TOOLS, stream=True))
    added, done = "response.output_item.added", "response.output_item.done"
    delta, complete = "response.function_call_arguments.delta", "response.function_call_arguments.done"
    assert types(events) == [
        *BEGIN, added, delta, delta, complete, done, added, delta, complete, done, "response.completed",
    ]  # fmt: skip
    assert [event["output_index"] for event in events[2:-1]] == [0] * 5 + [1] * 4
    assert (events[2]["item"]["name"], events[2]["item"]["arguments"]) == ("turn_on", "")
    assert [event["arguments"] for event in events if event["type"] == complete] == ['{"name": "Lamp"}', "{}"]
    assert events[-1]["response"]["output"] == [event["item"] for event in events if event["type"] == done]


@pytest.mark.parametrize("text", ["hi", "lamp", "think"])
async def test_a_stream_ends_with_the_whole_response(gateway: Gateway, text: str) -> None:
    answer = await whole(gateway, text)
    last = (await streamed(await respond(gateway, text, stream=True)))[-1]["response"]
    own = {"id", "created_at", "completed_at", "output"}
    assert {key: last[key] for key in last.keys() - own} == {key: answer[key] for key in answer.keys() - own}
    assert [{**item, "id": ""} for item in last["output"]] == [{**item, "id": ""} for item in answer["output"]]


async def test_the_answer_can_be_sent_back(gateway: Gateway) -> None:
    """A client's loop: what came back is the beginning of the next input."""
    answer = await whole(gateway, "lamp", tools=TOOLS)
    outputs = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "done"} for item in answer["output"]
    ]
    await whole(gateway, [{"role": "user", "content": "hi"}, *answer["output"], *outputs], tools=TOOLS)
    _, assistant, *results = gateway.engines[0].requests[-1].messages
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_a", "call_b"]
    assert [result["tool_call_id"] for result in results] == ["call_a", "call_b"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_crashes_before_the_first_token_is_an_error_answer(gateway: Gateway, stream: bool) -> None:
    response = await respond(gateway, "crash", stream=stream)
    assert (response.status, response.content_type) == (503, "application/json")
    assert (await response.json())["error"]["code"] == "engine_crashed"
    assert int(response.headers["Retry-After"]) >= 1


async def test_a_crash_after_the_first_token_is_a_failed_response_and_the_end(gateway: Gateway) -> None:
    events = await streamed(await respond(gateway, "crash after text", stream=True))
    assert types(events) == [*BEGIN, *MESSAGE, "response.failed"]
    failed = events[-1]["response"]
    assert (failed["status"], failed["completed_at"]) == ("failed", None)
    assert (failed["error"]["code"], failed["error"]["type"]) == ("server_error", "unavailable_error")
    assert "crashed" in failed["error"]["message"]
    assert [(item["status"], item["content"][0]["text"]) for item in failed["output"]] == [("incomplete", "a")]


async def test_a_failure_after_a_comment_is_a_response_that_failed(start: Start) -> None:
    gateway = await start(keep_alive_interval_s=0.05)
    response = await respond(gateway, "hold", stream=True)
    assert await response.content.readuntil(b"\n\n") == b": keep-alive\n\n"
    await gateway.engines[0].stop()
    assert types(await streamed(response)) == [*BEGIN, "response.failed"]


async def test_comments_keep_an_idle_stream_alive(start: Start) -> None:
    gateway = await start(keep_alive_interval_s=0.05)
    response = await respond(gateway, "hold", stream=True)
    lines = [await response.content.readline() for _ in range(4)]
    assert lines == [b": keep-alive\n", b"\n"] * 2
    gateway.engines[0].release()
    assert types(await streamed(response))[-1] == "response.completed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["hold", "hold after text"])
async def test_a_client_that_leaves_cancels(gateway: Gateway, stream: bool, text: str) -> None:
    asking = asyncio.create_task(respond(gateway, text, stream=stream))
    engine: ScriptedEngine = await gateway.engine_until(lambda engine: engine.health.running == 1)
    if stream and text == "hold after text":
        (await asking).close()
    else:
        asking.cancel()
        await asyncio.wait({asking})
    await gateway.engine_until(lambda engine: engine.health.running == 0)
    assert len(engine.cancelled) == 1


async def test_the_engine_never_sees_a_request_that_is_wrong(gateway: Gateway) -> None:
    response = await respond(gateway, previous_response_id="resp_1", stream=True)
    assert (response.status, response.content_type) == (400, "application/json")
    error = (await response.json())["error"]
    assert error["param"] == "previous_response_id"
    assert "send the whole input" in error["message"]
    assert gateway.engines[0].requests == []


async def test_an_unknown_model_is_404(gateway: Gateway) -> None:
    response = await respond(gateway, model="other")
    assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")


def written(*steps: protocol.ChatEvent) -> list[dict[str, Any]]:
    writer = ResponseWriter(
        ResponseHead("k", 1, "m", {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}), lambda: 2
    )
    events = [event for step in steps for event in writer.events(step)]
    for event in events:
        ANY_EVENT.validate_python(event)
    return events


def test_a_call_that_was_cut_off_is_none() -> None:
    events = written(
        protocol.ToolCallStart(0, "c", "turn_on"),
        protocol.ToolCallArguments(0, '{"name": "La'),
        protocol.Finish("length"),
    )
    assert types(events)[-3:] == [
        "response.function_call_arguments.delta", "response.output_item.done", "response.incomplete",
    ]  # fmt: skip
    assert events[-2]["item"]["status"] == "incomplete"
    assert events[-1]["response"]["output"] == []


def test_a_call_that_the_model_did_not_mean_is_none_and_what_follows_counts() -> None:
    events = written(
        protocol.Started(1, 0),
        protocol.ToolCallStart(0, "c", "turn_on"),
        protocol.ToolCallArguments(0, '{"name"'),
        protocol.Text("never mind"),
        protocol.Finish("stop"),
    )
    (message,) = events[-1]["response"]["output"]
    assert message["content"][0]["text"] == "never mind"
    assert events[-1]["response"]["status"] == "completed"


def test_an_answer_of_nothing_is_a_complete_one() -> None:
    events = written(protocol.Finish("stop"))
    assert types(events) == [*BEGIN, "response.completed"]
    assert (events[-1]["response"]["output"], events[-1]["response"]["completed_at"]) == ([], 2)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.QueueFullError("full"), "rate_limit_exceeded"),
        (errors.ContextSizeError(9, 8), "invalid_prompt"),
        (errors.EngineError("broken"), "server_error"),
    ],
)
def test_failures_have_the_codes_of_responses(error: errors.ZoeError, code: str) -> None:
    head = ResponseHead("k", 1, "m", {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []})
    *_, last = ResponseWriter(head, lambda: 2).failed(error)
    ANY_EVENT.validate_python(last)
    assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", code)
