"""POST /v1/chat/completions over HTTP, with engines that say what the test wants."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from zoe_server import protocol
from zoe_server.gateway.openai.chat import ChatWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.gateway.conftest import Gateway, Start
    from zoe_server.engines.scripted import ScriptedEngine


async def sse(response: aiohttp.ClientResponse) -> list[str]:
    """Return the blocks of a stream: data without its prefix, comments as they are."""
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    return [block.removeprefix("data: ") for block in (await response.text()).split("\n\n") if block]


async def chunks(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    *blocks, last = await sse(response)
    assert last == "[DONE]"
    return [json.loads(block) for block in blocks]


async def broken_off(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    """Return the events of a stream that ends without the mark of a complete answer."""
    lines = (await response.read()).splitlines()
    assert b"data: [DONE]" not in lines
    assert response.headers["Connection"] == "close"
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


async def test_a_whole_answer(gateway: Gateway) -> None:
    response = await gateway.chat()
    answer = await response.json()
    assert response.status == 200
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello you"}
    assert (answer["model"], answer["object"]) == ("m", "chat.completion")
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 8}
    assert answer["timings"] == {"queue_ms": 1.0, "first_token_ms": 2.0, "total_ms": 3.0}
    assert response.headers["X-Zoe-Route"] == "rule=chat; model=m; candidates=m"
    assert response.headers["Server"] == "zoe"


@pytest.mark.parametrize("name", [None, "zoe", "m", "old-name"])
async def test_all_names_of_a_model_reach_it(gateway: Gateway, name: str | None) -> None:
    answer = await (await gateway.chat(model=name)).json()
    assert answer["model"] == "m"
    assert gateway.engines[0].requests[0].model == "m"


async def test_a_stream(gateway: Gateway) -> None:
    found = await chunks(await gateway.chat(stream=True, stream_options={"include_usage": True}))
    deltas = [chunk["choices"][0]["delta"] for chunk in found[:-1]]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "Hello"}, {"content": " you"}, {}]
    assert len({(chunk["id"], chunk["created"]) for chunk in found}) == 1
    assert [chunk["choices"][0]["finish_reason"] for chunk in found[:-1]] == [None, None, None, "stop"]
    assert (found[-1]["choices"], found[-1]["usage"]["total_tokens"]) == ([], 11)
    assert found[-1]["timings"]["total_ms"] == 3.0


async def test_streamed_tool_calls(gateway: Gateway) -> None:
    calls = [
        call
        for chunk in await chunks(await gateway.chat("lamp", stream=True))
        for call in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert calls[0] == {
        "index": 0,
        "id": "call_a",
        "type": "function",
        "function": {"name": "turn_on", "arguments": ""},
    }
    assert "".join(call["function"]["arguments"] for call in calls if call["index"] == 0) == '{"name": "Lamp"}'
    assert [call["id"] for call in calls if "id" in call] == ["call_a", "call_b"]


async def test_whole_tool_calls(gateway: Gateway) -> None:
    choice = (await (await gateway.chat("lamp")).json())["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == ['{"name": "Lamp"}', "{}"]


async def test_reasoning_is_not_content(gateway: Gateway) -> None:
    message = (await (await gateway.chat("think")).json())["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("so", "hm")


async def test_several_choices_are_computed_side_by_side(gateway: Gateway) -> None:
    answer = await (await gateway.chat(n=2)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert {choice["message"]["content"] for choice in answer["choices"]} == {"Hello you"}
    assert answer["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    found = await chunks(await gateway.chat(n=2, stream=True))
    for index in (0, 1):
        mine = [chunk["choices"][0] for chunk in found if chunk["choices"][0]["index"] == index]
        assert [choice["delta"].get("role") for choice in mine] == ["assistant", None, None, None]
        assert [choice["finish_reason"] for choice in mine] == [None, None, None, "stop"]


async def test_nothing_is_lost_of_our_own_extension(gateway: Gateway) -> None:
    await gateway.chat(zoe={"priority": "background", "argument_values": {"area": ["Kitchen"]}}, max_tokens=0)
    request = gateway.engines[0].requests[0]
    assert (request.priority, dict(request.argument_values)) == ("background", {"area": ("Kitchen",)})
    assert request.max_tokens == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_crashes_before_the_first_token_is_an_error_answer(gateway: Gateway, stream: bool) -> None:
    response = await gateway.chat("crash", stream=stream)
    assert (response.status, response.content_type) == (503, "application/json")
    assert (await response.json())["error"]["code"] == "engine_crashed"
    assert int(response.headers["Retry-After"]) >= 1


async def test_a_crash_after_the_first_token_is_one_error_event_and_the_end(gateway: Gateway) -> None:
    *said, last = await broken_off(await gateway.chat("crash after text", stream=True))
    assert [event["choices"][0]["delta"].get("content") for event in said] == ["", "a"]
    assert last["error"]["type"] == "unavailable_error"


async def test_the_engine_is_there_again_after_a_crash(gateway: Gateway) -> None:
    await gateway.chat("crash")
    async with asyncio.timeout(10):
        while (response := await gateway.chat()).status == 503:
            assert (await response.json())["error"]["type"] == "unavailable_error"
    assert response.status == 200
    assert len(gateway.engines) == 2


async def test_an_engine_that_gives_up_by_itself_does_not_look_complete(gateway: Gateway) -> None:
    response = await gateway.chat("give up")
    assert response.status == 503
    assert (await response.json())["error"]["type"] == "unavailable_error"


async def test_comments_keep_an_idle_stream_alive(start: Start) -> None:
    gateway = await start(keep_alive_interval_s=0.05)
    response = await gateway.chat("hold", stream=True)
    lines = [await response.content.readline() for _ in range(4)]
    assert lines == [b": keep-alive\n", b"\n"] * 2
    gateway.engines[0].release()
    blocks = await sse(response)
    assert blocks[-1] == "[DONE]"
    assert "late" in blocks[-4] + blocks[-3]


async def test_a_failure_after_a_comment_is_an_event(start: Start) -> None:
    gateway = await start(keep_alive_interval_s=0.05)
    response = await gateway.chat("hold", stream=True)
    await response.content.readline()
    await gateway.engines[0].stop()
    assert [event["error"]["type"] for event in await broken_off(response)] == ["unavailable_error"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["hold", "hold after text"])
async def test_a_client_that_leaves_cancels(gateway: Gateway, stream: bool, text: str) -> None:
    asking = asyncio.create_task(gateway.chat(text, stream=stream))
    engine: ScriptedEngine = await gateway.engine_until(lambda engine: engine.health.running == 1)
    if stream and text == "hold after text":
        (await asking).close()
    else:
        asking.cancel()
        await asyncio.wait({asking})
    await gateway.engine_until(lambda engine: engine.health.running == 0)
    assert len(engine.cancelled) == 1


async def test_a_client_that_leaves_the_queue_cancels(gateway: Gateway) -> None:
    first = [asyncio.create_task(gateway.chat("hold")) for _ in range(2)]
    await gateway.engine_until(lambda engine: engine.health.running == 2)
    waiting = asyncio.create_task(gateway.chat("hold"))
    await gateway.engine_until(lambda engine: engine.health.waiting == 1)
    waiting.cancel()
    engine: ScriptedEngine = await gateway.engine_until(lambda engine: engine.health.waiting == 0)
    assert (engine.health.running, len(engine.cancelled)) == (2, 1)
    engine.release()
    assert [(await response).status for response in first] == [200, 200]


async def test_a_client_that_leaves_cancels_all_its_choices(gateway: Gateway) -> None:
    asking = asyncio.create_task(gateway.chat("hold", n=2))
    await gateway.engine_until(lambda engine: engine.health.running == 2)
    asking.cancel()
    engine: ScriptedEngine = await gateway.engine_until(lambda engine: engine.health.running == 0)
    assert len(engine.cancelled) == 2
    assert gateway.state.fleet.status()[0].open_requests == 0


async def test_requests_without_end_do_not_pile_up(gateway: Gateway) -> None:
    """Clients that give up again and again leave nothing behind."""
    for _ in range(30):
        asking = asyncio.create_task(gateway.chat("hold", stream=True))
        await gateway.engine_until(lambda engine: engine.health.running == 1)
        asking.cancel()
        await gateway.engine_until(lambda engine: engine.health.running == 0)
    assert (await gateway.chat()).status == 200
    assert gateway.state.fleet.status()[0].open_requests == 0
    assert gateway.state.open_requests == 0


async def test_the_engine_never_sees_a_request_that_is_wrong(gateway: Gateway) -> None:
    response = await gateway.chat(temperature=9)
    assert (response.status, (await response.json())["error"]["param"]) == (400, "temperature")
    assert gateway.engines[0].requests == []


async def test_a_failure_nobody_foresaw_is_a_plain_error(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_request: protocol.ChatRequest) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(gateway.engines[0], "chat", broken)
    response = await gateway.chat()
    error = (await response.json())["error"]
    assert (response.status, error["type"]) == (500, "server_error")
    assert "secret" not in error["message"]
    assert "secret detail" in caplog.text


async def test_the_header_says_which_rule_chose(gateway: Gateway) -> None:
    for model, text, rule in (
        ("zoe", "turn on the lamp", "automation"),
        (None, "", "preparation"),
        ("m", "hi", "named"),
    ):
        for stream in (False, True):
            response = await gateway.chat(text, model=model, stream=stream)
            assert response.headers["X-Zoe-Route"] == f"rule={rule}; model=m; candidates=m"
            await response.read()


async def test_a_stream_that_breaks_off_inside_ends_in_its_own_words(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Iterator[dict[str, Any]]:
        raise RuntimeError("a mistake of ours")

    response = await gateway.chat("hold after text", stream=True)
    await response.content.readuntil(b'"a"')
    monkeypatch.setattr(ChatWriter, "chunks", broken)
    gateway.engines[0].release()
    rest = (await response.content.read()).decode()
    assert response.status == 200
    assert "HTTP/1.1" not in rest
    assert "its log has the details" in rest
    assert "a mistake of ours" not in rest
    assert "a mistake of ours" in caplog.text
