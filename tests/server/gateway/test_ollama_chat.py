"""POST /api/chat and /api/generate over HTTP, with engines that say what the test wants."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from zoe_server.fleet.model_state import ModelState

if TYPE_CHECKING:
    import aiohttp

    from tests.fixtures.scripted_engine import ScriptedEngine
    from tests.server.gateway.conftest import Gateway, Start

CALLS = [
    {"id": "call_a", "function": {"index": 0, "name": "turn_on", "arguments": {"name": "Lamp"}}},
    {"id": "call_b", "function": {"index": 1, "name": "turn_off", "arguments": {}}},
]


async def chat(gateway: Gateway, text: str = "hi", **fields: object) -> aiohttp.ClientResponse:
    body = {"model": "zoe:latest", "messages": [{"role": "user", "content": text}], **fields}
    return await gateway.client.post("/api/chat", json=body)


async def generate(gateway: Gateway, text: str = "hi", **fields: object) -> aiohttp.ClientResponse:
    return await gateway.client.post("/api/generate", json={"model": "m", "prompt": text, **fields})


async def records(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    """Return the records of a stream; clients read every line as one."""
    assert (response.status, response.content_type) == (200, "application/x-ndjson")
    return [json.loads(line) for line in (await response.text()).removesuffix("\n").split("\n")]


async def test_an_answer_in_records(gateway: Gateway) -> None:
    response = await chat(gateway)
    found = await records(response)
    assert [record["message"]["content"] for record in found] == ["Hello", " you", ""]
    assert [record["done"] for record in found] == [False, False, True]
    assert {record["model"] for record in found} == {"zoe:latest"}
    assert all(record["created_at"].endswith("Z") for record in found)
    assert {key: found[-1][key] for key in ("done_reason", "prompt_eval_count", "eval_count", "total_duration")} == {
        "done_reason": "stop",
        "prompt_eval_count": 9,
        "eval_count": 2,
        "total_duration": 3_000_000,
    }
    assert response.headers["X-Zoe-Route"] == "rule=chat; model=m; candidates=m"


async def test_a_whole_answer(gateway: Gateway) -> None:
    response = await chat(gateway, stream=False)
    answer = await response.json()
    assert (response.status, response.content_type) == (200, "application/json")
    assert answer["message"] == {"role": "assistant", "content": "Hello you"}
    assert (answer["done"], answer["done_reason"], answer["eval_count"]) == (True, "stop", 2)


async def test_a_prompt(gateway: Gateway) -> None:
    found = await records(await generate(gateway, system="be brief"))
    assert [record["response"] for record in found] == ["Hello", " you", ""]
    assert found[-1]["done"]
    assert [message["role"] for message in gateway.engines[0].requests[0].messages] == ["system", "user"]
    answer = await (await generate(gateway, stream=False)).json()
    assert (answer["response"], answer["model"], answer["done_reason"]) == ("Hello you", "m", "stop")


async def test_streamed_tool_calls_come_whole(gateway: Gateway) -> None:
    found = await records(await chat(gateway, "lamp"))
    assert [record["message"].get("tool_calls") for record in found] == [[CALLS[0]], [CALLS[1]], None]
    assert found[-1]["done_reason"] == "stop"


async def test_whole_tool_calls(gateway: Gateway) -> None:
    answer = await (await chat(gateway, "lamp", stream=False)).json()
    assert answer["message"] == {"role": "assistant", "content": "", "tool_calls": CALLS}


async def test_reasoning_is_thinking(gateway: Gateway) -> None:
    found = await records(await chat(gateway, "think", think=True))
    assert [record["message"].get("thinking") for record in found] == ["hm", None, None]
    answer = await (await chat(gateway, "think", stream=False)).json()
    assert answer["message"] == {"role": "assistant", "content": "so", "thinking": "hm"}
    answer = await (await generate(gateway, "think", stream=False, think=False)).json()
    assert (answer["response"], "thinking" in answer) == ("so", False)


async def test_an_answer_that_was_cut_says_so(gateway: Gateway) -> None:
    gateway.engines[0].release()
    answer = await (await chat(gateway, "hold after text", stream=False, options={"num_predict": 1})).json()
    assert (answer["message"]["content"], answer["done_reason"]) == ("a", "length")


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("model", ["zoe", "zoe:latest", "m", "m:latest", "old-name", "old-name:latest"])
async def test_all_names_of_a_model_reach_it(gateway: Gateway, path: str, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "stream": False}
    answer = await (await gateway.client.post(path, json=body)).json()
    assert answer["model"] == model
    assert gateway.engines[0].requests[0].model == "m"


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [({}, "load"), ({"keep_alive": "5m"}, "load"), ({"keep_alive": 0}, "unload"), ({"keep_alive": "0s"}, "unload")],
)
async def test_nothing_to_answer_means_load(gateway: Gateway, path: str, fields: dict[str, Any], reason: str) -> None:
    response = await gateway.client.post(path, json={"model": "zoe", "messages": [], "prompt": "", **fields})
    answer = await response.json()
    assert (response.status, answer["done"], answer["done_reason"]) == (200, True, reason)
    assert ("message" in answer, "response" in answer) == (path == "/api/chat", path == "/api/generate")
    assert gateway.engines[0].requests == []
    assert (await chat(gateway)).status == 200


def state_of(gateway: Gateway) -> ModelState:
    (status,) = gateway.state.fleet.status()
    return status.state


async def until_state(gateway: Gateway, state: ModelState) -> None:
    async with asyncio.timeout(10):
        while state_of(gateway) is not state:  # noqa: ASYNC110 - it is the state behind the HTTP border that counts
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("path", "model"),
    [("/api/chat", "zoe:latest"), ("/api/generate", "zoe"), ("/api/embed", "m"), ("/api/embeddings", "m")],
)
async def test_who_says_unload_has_unloaded(gateway: Gateway, path: str, model: str) -> None:
    answer = await gateway.client.post(path, json={"model": model, "keep_alive": "0s"})
    assert (answer.status, (await answer.json()).get("done_reason", "unload")) == (200, "unload")
    assert state_of(gateway) is ModelState.UNLOADED
    assert (await (await gateway.client.get("/api/ps")).json()) == {"models": []}
    assert (await chat(gateway)).status == 200  # and it comes back when it is asked


@pytest.mark.parametrize("ask", [chat, generate])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_need_not_stay_goes_after_its_answer(gateway: Gateway, ask: Any, stream: bool) -> None:  # noqa: ANN401 - either function
    response = await ask(gateway, "hi", stream=stream, keep_alive=0)
    assert "you" in await response.text()
    await until_state(gateway, ModelState.UNLOADED)
    response = await ask(gateway, "hi", stream=stream, keep_alive=300)
    assert response.status == 200
    await response.read()
    assert state_of(gateway) is ModelState.READY


@pytest.mark.parametrize("text", ["hi", ""])
async def test_no_model_is_unloaded_under_somebody_else_s_request(gateway: Gateway, text: str) -> None:
    held = asyncio.create_task(chat(gateway, "hold"))
    engine = await gateway.engine_until(lambda engine: engine.health.running == 1)
    response = await gateway.client.post(
        "/api/generate", json={"model": "m", "prompt": text, "keep_alive": 0, "stream": False}
    )
    answer = await response.json()
    if text:
        assert (response.status, answer["done_reason"]) == (200, "stop")
    else:
        assert (response.status, "still answers 1 requests" in answer["error"]) == (409, True)
    engine.release()
    assert '"content":"late"' in await (await held).text()
    assert state_of(gateway) is ModelState.READY


async def test_a_raw_prompt_goes_to_the_model_as_it_is(gateway: Gateway) -> None:
    body = {"model": "m", "prompt": "<|user|>hi", "raw": True, "stream": False}
    assert (await gateway.client.post("/api/generate", json=body)).status == 200
    (request,) = gateway.engines[0].requests
    assert (request.prompt, request.messages) == ("<|user|>hi", ())
    for field, value in (("system", "You are Zoe."), ("images", ["AA=="]), ("format", "json")):
        refused = await gateway.client.post("/api/generate", json={**body, field: value})
        assert (refused.status, field in (await refused.json())["error"]) == (400, True)


async def test_load_says_when_the_model_cannot_be(start: Start) -> None:
    gateway = await start(wait=False, ready_wait_s=0.01)
    response = await gateway.client.post("/api/chat", json={"model": "zoe"})
    assert response.status == 503
    assert "is not available" in (await response.json())["error"]


@pytest.mark.parametrize("ask", [chat, generate])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_crash_before_the_first_token_is_an_error_answer(gateway: Gateway, ask: Any, stream: bool) -> None:  # noqa: ANN401 - either function
    response = await ask(gateway, "crash", stream=stream)
    assert (response.status, response.content_type) == (503, "application/json")
    assert await response.json() == {"error": "the scripted engine crashed"}
    assert int(response.headers["Retry-After"]) >= 1


async def test_a_crash_after_the_first_token_is_the_last_record(gateway: Gateway) -> None:
    said, failed = await records(await chat(gateway, "crash after text"))
    assert said["message"]["content"] == "a"
    assert failed == {"error": "the scripted engine crashed"}


async def test_empty_records_keep_an_idle_stream_alive(start: Start) -> None:
    gateway = await start(keep_alive_interval_s=0.05)
    response = await chat(gateway, "hold")
    idle = [json.loads(await response.content.readline()) for _ in range(2)]
    assert [(record["message"]["content"], record["done"]) for record in idle] == [("", False)] * 2
    gateway.engines[0].release()
    *_, late, last = await records(response)
    assert (late["message"]["content"], last["done"]) == ("late", True)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels(gateway: Gateway, stream: bool) -> None:
    asking = asyncio.create_task(chat(gateway, "hold", stream=stream))
    engine: ScriptedEngine = await gateway.engine_until(lambda engine: engine.health.running == 1)
    asking.cancel()
    await asyncio.wait({asking})
    await gateway.engine_until(lambda engine: engine.health.running == 0)
    assert len(engine.cancelled) == 1


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not valid JSON"),
        (b"", 400, "not valid JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b"{}", 400, "model"),
        (b'{"model": "gpt-4"}', 404, "'gpt-4' does not exist; available: zoe, m"),
        (b'{"model": "zoe", "messages": [{"role": "x"}], "prompt": 1}', 400, ": "),
        (b'{"model": "zoe", "messages": [{"role": "user"}], "prompt": "x", "format": "yaml"}', 400, "format"),
    ],
)
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_what_is_wrong_is_one_sentence(gateway: Gateway, path: str, body: bytes, status: int, said: str) -> None:
    response = await gateway.client.post(path, data=body)
    answer = await response.json()
    assert response.status == status
    assert list(answer) == ["error"]
    assert said in answer["error"]
    assert gateway.engines[0].requests == []


async def test_the_sentence_names_the_path(gateway: Gateway) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    response = await chat(gateway, tools=[tool, tool])
    assert await response.json() == {"error": "tools[1].function.name: two tools are named 'f'"}


async def test_access_is_that_of_the_whole_server(start: Start) -> None:
    gateway = await start(api_key="k-1", max_body_bytes=2000)
    response = await chat(gateway)
    assert response.status == 401
    assert "API key" in (await response.json())["error"]
    gateway.client.session.headers["Authorization"] = "Bearer k-1"
    assert (await chat(gateway)).status == 200
    response = await chat(gateway, "x" * 3000)
    assert (response.status, await response.json()) == (413, {"error": "the request body is larger than 2000 bytes"})


async def test_more_requests_than_the_queue_holds_are_told_to_come_back(gateway: Gateway) -> None:
    held = [asyncio.create_task(chat(gateway, "hold", stream=False)) for _ in range(4)]
    await gateway.engine_until(lambda engine: (engine.health.running, engine.health.waiting) == (2, 2))
    response = await chat(gateway)
    assert (response.status, list(await response.json())) == (429, ["error"])
    assert (await gateway.client.post("/api/chat", json={"model": "zoe"})).status == 200
    gateway.engines[0].release()
    assert [(await one).status for one in held] == [200] * 4


@pytest.mark.parametrize("ask", [chat, generate])
@pytest.mark.parametrize(
    ("field", "value"),
    [("grammar", "root ::= x"), ("logit_bias", {"1": 2}), ("guided_json", {}), ("guided_json", {"type": "null"})],
)
async def test_other_servers_constraints_are_refused_by_name(
    gateway: Gateway,
    ask: Any,  # noqa: ANN401 - either function
    field: str,
    value: object,
) -> None:
    response = await ask(gateway, **{field: value})
    assert response.status == (400 if value else 200)
    assert not value or field in (await response.json())["error"]
