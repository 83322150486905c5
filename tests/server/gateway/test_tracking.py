"""The account of a request: its id, its way through the phases, what is kept of it at the end, and what is not."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from zoe_server import errors, protocol
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE
from zoe_server.gateway import middleware
from zoe_server.gateway.request_record import PROMPT_CHARACTERS, RequestRecord, prompt_end
from zoe_server.gateway.tracking import KEPT_REQUESTS, REQUEST_LOG, request_id

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from tests.fixtures.scripted_engine import ScriptedEngine
    from tests.server.gateway.conftest import Gateway, Start
    from zoe_server.catalogue.spec import ModelSpec
    from zoe_server.gateway.services import Services

TURN_ON = {"name": "turn_on", "parameters": {"type": "object", "required": ["name"]}}
TURN_OFF = {"name": "turn_off", "parameters": {"type": "object", "required": ["name"]}}
SECRET = "hi, the code of the safe is 1234"


async def last(gateway: Gateway) -> dict[str, Any]:
    """Return the account of the request that ended last."""
    found: dict[str, Any] = (await recent(gateway))[0]
    return found


async def recent(gateway: Gateway) -> list[dict[str, Any]]:
    response = await gateway.client.get("/admin/requests")
    found: list[dict[str, Any]] = (await response.json())["requests"]
    return found


async def running(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await (await gateway.client.get("/stats")).json())["requests"]
    return found


async def until_ended(gateway: Gateway, n_requests: int) -> None:
    async with asyncio.timeout(10):
        while len(gateway.state.tracker.ended) < n_requests:  # noqa: ASYNC110 - it is the state behind the HTTP border
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("given_id", ["a", "x" * 128, 'no "quotes" {needed}', "550e8400-e29b-41d4-a716-446655440000"])
async def test_the_client_s_id_comes_back(gateway: Gateway, given_id: str) -> None:
    response = await gateway.client.get("/health", headers={"X-Request-Id": given_id})
    assert response.headers["X-Request-Id"] == given_id


@pytest.mark.parametrize("given_id", ["", "x" * 129, "ünïcode", "a\tb"])
async def test_an_id_that_is_none_is_replaced(gateway: Gateway, given_id: str) -> None:
    response = await gateway.client.get("/health", headers={"X-Request-Id": given_id})
    assert response.headers["X-Request-Id"].startswith("req_")


@given(st.text())
def test_an_id_can_always_stand_in_a_header(text: str) -> None:
    found = request_id(text)
    assert found.isascii()
    assert found.isprintable()
    assert 0 < len(found) <= 128
    assert found == text or found.startswith("req_")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/chat/completions", 400),
        ("POST", "/api/chat", 400),
        ("GET", "/v1/nowhere", 404),
        ("DELETE", "/v1/models", 405),
        ("GET", "/", 200),
        ("GET", "/metrics", 200),
    ],
)
async def test_every_answer_has_an_id(gateway: Gateway, method: str, path: str, status: int) -> None:
    response = await gateway.client.request(method, path, headers={"X-Request-Id": "mine"})
    assert (response.status, response.headers["X-Request-Id"]) == (status, "mine")


async def test_refusals_at_the_door_have_one(start: Start) -> None:
    gateway = await start(api_key="k-1")
    assert (await gateway.chat()).headers["X-Request-Id"].startswith("req_")
    page = await gateway.client.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert (page.status, page.headers["X-Request-Id"][:4]) == (403, "req_")


async def test_the_account_of_an_answer(gateway: Gateway) -> None:
    response = await gateway.client.post(
        "/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "hi"}], "model": "old-name"},
        headers={"X-Request-Id": "r-1", "User-Agent": "HomeAssistant/2026.10"},
    )
    assert response.status == 200
    found = await last(gateway)
    assert found["age_s"] >= found["first_token_s"] > 0
    assert {key: found[key] for key in found.keys() - {"began_at", "age_s", "first_token_s"}} == {
        "id": "r-1",
        "phase": "done",
        "method": "POST",
        "path": "/v1/chat/completions",
        "client": "HomeAssistant/2026.10",
        "asked": "old-name",
        "rule": "named",
        "model": "m",
        "adapter": None,
        "fallback": False,
        "prompt_tokens": 1,
        "cached_tokens": 0,
        "completion_tokens": 2,
        "tool_calls": {},
        "finish": "stop",
        "status": 200,
        "error": None,
    }


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"prompt": "hi"}),
        ("/v1/responses", {"input": "hi"}),
        ("/api/chat", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
        ("/api/generate", {"model": "m", "prompt": "hi"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_every_api_and_its_streams_are_accounted_for(
    gateway: Gateway, path: str, body: dict[str, Any], stream: bool
) -> None:
    response = await gateway.client.post(path, json={**body, "stream": stream})
    await response.read()
    assert response.status == 200
    await until_ended(gateway, 1)
    found = await last(gateway)
    assert (found["path"], found["model"], found["finish"]) == (path, "m", "stop")
    assert (found["completion_tokens"], found["status"], found["error"]) == (2, 200, None)
    assert response.headers["X-Request-Id"] == found["id"]


async def test_embeddings_are_accounted_for(start: Start, spec: ModelSpec) -> None:
    gateway = await start(specs=[spec, replace(spec, name="e", aliases=(), roles=(EMBEDDINGS_ROLE,))])
    for path, body in (("/v1/embeddings", {"input": "lamp"}), ("/api/embed", {"model": "e", "input": "lamp"})):
        assert (await gateway.client.post(path, json=body)).status == 200
        found = await last(gateway)
        assert (found["path"], found["model"], found["prompt_tokens"]) == (path, "e", 4)
        assert (found["completion_tokens"], found["finish"]) == (0, "stop")


async def test_the_phases_of_a_request_in_work(gateway: Gateway) -> None:
    held = [asyncio.create_task(gateway.chat("hold")) for _ in range(3)]
    engine: ScriptedEngine = await gateway.engine_until(lambda engine: engine.health.waiting == 1)
    assert sorted(one["phase"] for one in await running(gateway)) == ["prefill", "prefill", "queued"]
    engine.release()
    await asyncio.gather(*held)
    assert await running(gateway) == []


async def test_tokens_grow_while_an_answer_comes(gateway: Gateway) -> None:
    response = await gateway.chat("hold after text", stream=True)
    (found,) = await running(gateway)
    assert (found["phase"], found["completion_tokens"], found["model"]) == ("decode", 1, "m")
    assert found["status"] is None
    gateway.engines[0].release()
    await response.read()


async def test_tool_calls_are_held_against_their_tools(gateway: Gateway) -> None:
    tools = [{"type": "function", "function": tool} for tool in (TURN_ON, TURN_OFF)]
    await gateway.chat("lamp", tools=tools)
    assert (await last(gateway))["tool_calls"] == {"valid": 1, "invalid": 1}


async def test_who_leaves_is_no_failure(gateway: Gateway) -> None:
    asking = asyncio.create_task(gateway.chat("hold"))
    await gateway.engine_until(lambda engine: engine.health.running == 1)
    asking.cancel()
    await until_ended(gateway, 1)
    found = await last(gateway)
    assert (found["error"], found["status"], found["phase"]) == ("cancelled", None, "done")
    assert gateway.state.tracker.running == []


@pytest.mark.parametrize(
    ("path", "body", "last_part"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, b"[DONE]"),
        ("/v1/responses", {"input": "hi"}, b"response.completed"),
        ("/api/chat", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}, b'"done":true'),
    ],
)
async def test_who_leaves_with_the_whole_answer_has_cancelled_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], last_part: bytes
) -> None:
    """The handler is still at the end of its work when the client has read the last line and hangs up."""
    winding_up = asyncio.Event()

    async def _leave(state: Services) -> None:
        state.open_requests -= 1
        winding_up.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(middleware, "_leave", _leave)
    response = await gateway.client.post(path, json={**body, "stream": True})
    seen = b""
    while last_part not in seen:
        seen += await response.content.readany()
    await winding_up.wait()
    response.close()
    await until_ended(gateway, 1)
    found = await last(gateway)
    assert (found["error"], found["status"], found["finish"]) == (None, 200, "stop")


@pytest.mark.parametrize(
    ("text", "stream", "status", "code"),
    [
        ("crash", False, 503, "engine_crashed"),
        ("crash", True, 503, "engine_crashed"),
        ("crash after text", True, 200, "engine_crashed"),
        ("give up", True, 503, "engine_unavailable"),
    ],
)
async def test_a_failure_has_its_code_whatever_the_client_got(
    gateway: Gateway, text: str, stream: bool, status: int, code: str
) -> None:
    await (await gateway.chat(text, stream=stream)).read()
    await until_ended(gateway, 1)
    found = await last(gateway)
    assert (found["status"], found["error"], found["model"]) == (status, code, "m")


async def test_what_is_refused_before_a_model_is_chosen(gateway: Gateway) -> None:
    await gateway.chat(model="x" * 1000)
    found = await last(gateway)
    assert (found["error"], found["asked"], found["rule"], found["model"]) == ("model_not_found", "x" * 200, None, None)
    await gateway.chat(temperature=9)
    assert (await last(gateway))["error"] == "invalid_request_error"


async def test_the_last_are_kept_and_who_only_looks_is_not(gateway: Gateway) -> None:
    for number in range(KEPT_REQUESTS + 3):
        await gateway.client.post("/tokenize", json={"content": "a"}, headers={"X-Request-Id": f"r-{number}"})
        await gateway.client.get("/health")
    found = [one["id"] for one in await recent(gateway)]
    assert found == [f"r-{number}" for number in reversed(range(3, KEPT_REQUESTS + 3))]
    await gateway.client.get("/v1/models")
    await gateway.client.get("/metrics")
    assert [one["id"] for one in await recent(gateway)] == found


async def answered(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> tuple[str, str]:
    """Return what is kept of a request, and what is logged."""
    caplog.set_level(logging.INFO, REQUEST_LOG)
    body = {"messages": [{"role": "system", "content": "You are Zoe."}, {"role": "user", "content": SECRET}]}
    response: ClientResponse = await gateway.client.post("/v1/chat/completions", json=body)
    assert response.status == 200
    return json.dumps(await last(gateway)), "\n".join(caplog.messages)


async def test_the_log_has_one_line_of_json_for_a_request(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    kept, logged = await answered(gateway, caplog)
    assert json.loads(logged) == json.loads(kept)


@pytest.mark.parametrize(
    "broken", [ValueError("wrong"), errors.EngineError("wrong\nWARNING all is well"), ConnectionError()]
)
async def test_no_client_writes_lines_of_the_log(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, broken: Exception
) -> None:
    def fail(*_: object) -> None:
        raise broken

    monkeypatch.setattr(type(gateway.state.router), "route", fail)
    caplog.set_level(logging.DEBUG, "zoe_server")
    caplog.set_level(logging.INFO, REQUEST_LOG)
    path = "/v1/models/x%0DWARNING%20all%20is%20well%1B%5B2J%C2%85%E2%80%A8"
    headers = {"User-Agent": "a\tb", "X-Request-Id": "a\tb"}
    await gateway.client.get(URL(path, encoded=True), headers=headers)
    await gateway.client.post(
        "/v1/chat/completions",
        json={"model": "x\nWARNING all is well", "messages": [{"role": "user", "content": "hi"}]},
    )
    logged = [record.getMessage() for record in caplog.records if record.name != "asyncio"]
    assert any("WARNING all is well" in line for line in logged)
    assert [line for line in logged if not line.isprintable()] == []


async def test_no_prompt_is_kept_unless_the_configuration_says_so(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    for text in await answered(await start(), caplog):
        assert SECRET not in text
    caplog.clear()
    for text in await answered(await start(log_prompts=True), caplog):
        assert json.loads(text)["prompt"] == f"system: You are Zoe.\nuser: {SECRET}\n"


async def test_where_the_log_is_not_shown_nothing_is_written(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, REQUEST_LOG)
    await gateway.chat()
    assert caplog.messages == []


def test_of_a_long_prompt_the_end_is_kept() -> None:
    messages = tuple({"role": "user", "content": f"{number} " * 500} for number in range(9))
    request = protocol.ChatRequest("r", "m", messages)
    assert len(prompt_end(request)) == PROMPT_CHARACTERS
    assert prompt_end(request).endswith("8 8 \n")
    assert prompt_end(protocol.ChatRequest("r", "m", (), prompt="ab" * 9000)) == "ab" * (PROMPT_CHARACTERS // 2)


def test_pictures_are_no_prompt_text() -> None:
    content = [
        {"type": "text", "text": "Who is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
    ]
    request = protocol.ChatRequest("r", "m", ({"role": "user", "content": content}, {"role": "user", "content": None}))
    assert prompt_end(request) == "user: Who is it? \nuser: \n"


def test_what_was_repaired_and_fits_is_no_more_than_that() -> None:
    tracked = RequestRecord("r", "POST", "/", "/")
    tracked.wants([protocol.ChatRequest("r", "m", (), (protocol.Tool("on", "", {"required": ["name"]}),))])
    for index, arguments in enumerate(('{"name": "a"}', '{"name": "b"}', "{}")):
        tracked.saw(0, protocol.ToolCallStart(index, f"c{index}", "on"))
        tracked.saw(0, protocol.ToolCallArguments(index, arguments))
    tracked.saw(0, protocol.Finish("tool_calls", repaired_calls=(1, 2)))
    assert tracked.calls == {"valid": 1, "repaired": 1, "invalid": 1}


def test_who_leaves_a_request_that_failed_does_not_hide_that() -> None:
    tracked = RequestRecord("r", "POST", "/", "/")
    tracked.failed(errors.EngineCrashedError("gone"))
    tracked.end(None)
    assert (tracked.outcome().result, tracked.code) == ("failed", "engine_crashed")


def test_an_engine_that_makes_no_sense_breaks_no_account() -> None:
    tracked = RequestRecord("r", "POST", "/", "/")
    tracked.wants([protocol.ChatRequest("r", "m", ())])
    tracked.saw(0, protocol.ToolCallArguments(7, "{"))
    tracked.saw(0, protocol.Finish("stop", protocol.Usage(1, 0, 1)))
    tracked.end(200)
    assert (tracked.outcome().result, tracked.completion_tokens, dict(tracked.calls)) == ("ok", 1, {})
