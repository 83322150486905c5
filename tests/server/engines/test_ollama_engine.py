"""A model of an Ollama server: what is asked there, what is read of its records, downloads, and what fails how.

The edge that is played: Ollama, with records as its `docs/api.md` and `api/types.go` have them. `test_contract.py` asks
a real server that speaks its API: Zoe's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.server.engines.conftest import Ask, Collect
from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import OllamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.ollama_engine import OllamaEngine

Make = Callable[..., Awaitable[OllamaEngine]]
Record = dict[str, Any]
DONE: Record = {
    "message": {"role": "assistant", "content": ""},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 26,
    "eval_count": 3,
}
TOKEN = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -2.0}]}
LAMP = protocol.Tool("turn_on", "Turns on.", {"type": "object", "properties": {"name": {"type": "string"}}})


def says(content: str = "", **more: object) -> Record:
    """Return a record in the middle of an answer."""
    return {"model": "qwen3:4b", "message": {"role": "assistant", "content": content, **more}, "done": False}


class Ollama:
    """Answers every chat with `records`; `bodies` are what came, by path."""

    def __init__(self) -> None:
        self.records: list[Record] = [{**says("Hi"), "logprobs": [TOKEN]}, DONE]
        self.status = 200
        self.models = ["qwen3:4b", "llama3.2:latest"]
        self.loaded: list[str] = []
        self.shown: Record = {
            "capabilities": ["completion", "tools", "thinking"],
            "details": {"family": "qwen3", "quantization_level": "Q4_K_M"},
            "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
        }
        self.pulled: list[Record] = [{"status": "pulling manifest"}, {"status": "success"}]
        self.pull_goes_on = asyncio.Event()
        self.pull_goes_on.set()
        self.bodies: dict[str, list[Record]] = {}
        self.app = web.Application()
        self.app.router.add_get("/api/version", self._version)
        self.app.router.add_get("/api/tags", self._tags)
        self.app.router.add_get("/api/ps", self._ps)
        self.app.router.add_post("/api/{path}", self._post)

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "0.33.2"})

    async def _tags(self, _request: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name} for name in self.models]})

    async def _ps(self, _request: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name} for name in self.loaded]})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        path, body = request.match_info["path"], await request.json()
        self.bodies.setdefault(path, []).append(body)
        match path:
            case "show":
                return web.json_response(self.shown)
            case "embed":
                return web.json_response({"embeddings": [[3.0, 4.0] for _ in body["input"]], "prompt_eval_count": 5})
            case "generate" if body.get("keep_alive") == 0:
                return web.json_response(
                    {"model": body["model"], "response": "", "done": True, "done_reason": "unload"}
                )
            case "pull":
                return await self._stream(request, self.pulled, wait_before_last=True)
            case "chat" if self.status != 200:
                return web.json_response(self.records[0], status=self.status)
        return await self._stream(request, self.records)

    async def _stream(
        self, request: web.Request, records: list[Record], *, wait_before_last: bool = False
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for index, record in enumerate(records):
            if wait_before_last and index == len(records) - 1:
                await self.pull_goes_on.wait()
            await response.write(json.dumps(record).encode() + b"\n")
        return response


@pytest.fixture
def ollama() -> Ollama:
    return Ollama()


@pytest.fixture
async def make(ollama: Ollama) -> AsyncGenerator[Make]:
    made: list[OllamaEngine] = []
    async with TestServer(ollama.app) as server:
        url = f"http://127.0.0.1:{server.port}"

        async def engine(
            *, roles: tuple[str, ...] = (), keep_alive_s: float | None = None, started: bool = True, **options: object
        ) -> OllamaEngine:
            known = OllamaOptions(**{"url": url, "model": "qwen3:4b", "silence_s": 5.0, **options})
            spec = ModelSpec(
                "m", Path("unused"), engine="ollama", roles=roles, keep_alive_s=keep_alive_s, options=known
            )
            made.append(OllamaEngine(spec, url, look_s=60.0))
            if started:
                await made[-1].start()
            return made[-1]

        yield engine
        for one in made:
            await one.stop()


async def test_what_the_server_says_of_the_model(make: Make) -> None:
    info = (await make()).info
    able = info.capabilities
    assert (able.tools, able.thinking, able.pictures, able.schemas, able.priming) == (True, True, False, True, True)
    assert able.logprobs
    assert (info.name, info.architecture, info.quantization, info.n_ctx_tokens) == ("qwen3:4b", "qwen3", "Q4_K_M", 8192)


async def test_an_older_server_tells_no_probabilities(make: Make, ollama: Ollama) -> None:
    ollama.records = [says("Hi"), DONE]
    del ollama.shown["capabilities"]
    able = (await make()).info.capabilities
    assert (able.logprobs, able.tools) == (False, True)


async def test_every_request_says_the_same_context_and_that_nothing_is_to_be_cut(
    make: Make, ollama: Ollama, ask: Ask, collect: Collect
) -> None:
    engine = await make(n_ctx_tokens=16384, keep_alive_s=300.0)
    await collect(engine, ask(max_tokens=9, stop=("END",), sampling=protocol.Sampling(temperature=0.0, seed=1)))
    for body in ollama.bodies["chat"]:
        assert (body["options"]["num_ctx"], body["keep_alive"]) == (16384, "300s")
        assert (body["truncate"], body["shift"]) == (False, False)
    assert ollama.bodies["chat"][-1]["options"] == {
        "num_ctx": 16384,
        "num_predict": 9,
        "stop": ["END"],
        "temperature": 0.0,
        "seed": 1,
    }


async def test_a_conversation_as_ollama_has_it(make: Make, ollama: Ollama, collect: Collect) -> None:
    picture = {"type": "picture", "data": "UE5H", "path": "x"}
    called = {"id": "c1", "type": "function", "function": {"name": "turn_on", "arguments": '{"name": "Lamp"}'}}
    request = protocol.ChatRequest(
        "q",
        "m",
        (
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [picture, {"type": "text", "text": "on"}]},
            {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [called]},
            {"role": "tool", "content": "done", "tool_call_id": "c1"},
        ),
        tools=(LAMP, protocol.Tool("other")),
        tool_choice=protocol.ToolChoice("auto"),
        argument_values={"name": ("Lamp",)},
        answer_schema=protocol.AnswerSchema({"type": "object"}, "format"),
        chat_template_kwargs={"enable_thinking": True, "reasoning_effort": "low"},
    )
    await collect(await make(), request)
    body = ollama.bodies["chat"][-1]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "on", "images": ["UE5H"]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [{"id": "c1", "function": {"name": "turn_on", "arguments": {"name": "Lamp"}}}],
        },
        {"role": "tool", "content": "done", "tool_call_id": "c1", "tool_name": "turn_on"},
    ]
    assert [tool["function"]["name"] for tool in body["tools"]] == ["turn_on", "other"]
    assert body["tools"][0]["function"]["parameters"]["properties"] == {"name": {"enum": ["Lamp"]}}
    assert (body["format"], body["think"]) == ({"type": "object"}, "low")


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (protocol.ToolChoice("none"), None),
        (protocol.ToolChoice("required", "turn_on"), ["turn_on"]),
        (protocol.ToolChoice("required"), ["turn_on", "other"]),
    ],
)
async def test_which_tools_may_be_called(
    make: Make, ollama: Ollama, ask: Ask, collect: Collect, choice: protocol.ToolChoice, names: list[str] | None
) -> None:
    await collect(await make(), ask(tools=(LAMP, protocol.Tool("other")), tool_choice=choice))
    tools = ollama.bodies["chat"][-1].get("tools")
    assert (tools and [tool["function"]["name"] for tool in tools]) == names


@pytest.mark.parametrize(
    ("written", "arguments"),
    [("", {}), ('{"a": ', {"arguments": '{"a": '}), ("[1]", {"arguments": "[1]"}), ("[" * 100_000, None)],
)
async def test_past_arguments_that_are_no_object(
    make: Make, ollama: Ollama, collect: Collect, written: str, arguments: dict[str, str] | None
) -> None:
    called = {"id": "c", "type": "function", "function": {"name": "turn_on", "arguments": written}}
    messages = ({"role": "user", "content": "on"}, {"role": "assistant", "content": None, "tool_calls": [called]})
    events = await collect(await make(), protocol.ChatRequest("q", "m", messages))
    assert isinstance(events[-1], protocol.Finish)
    (call,) = ollama.bodies["chat"][-1]["messages"][1]["tool_calls"]
    assert call["function"]["arguments"] == (arguments or {"arguments": written} if written else {})


async def test_thinking_is_not_asked_of_who_cannot(make: Make, ollama: Ollama, ask: Ask, collect: Collect) -> None:
    ollama.shown["capabilities"] = ["completion"]
    await collect(await make(), ask(chat_template_kwargs={"enable_thinking": False}))
    assert "think" not in ollama.bodies["chat"][-1]


STREAMS: dict[str, tuple[list[Record], list[protocol.ChatEvent], str]] = {
    "thoughts and text": (
        [says(thinking="Hm."), says("On"), says("!"), DONE],
        [protocol.Reasoning("Hm."), protocol.Text("On"), protocol.Text("!")],
        "stop",
    ),
    "two calls": (
        [
            says(tool_calls=[{"id": "x", "function": {"index": 0, "name": "a", "arguments": {"n": "é"}}}]),
            says(tool_calls=[{"id": "y", "function": {"index": 1, "name": "b", "arguments": {}}}]),
            DONE,
        ],
        [
            protocol.ToolCallStart(0, "x", "a"),
            protocol.ToolCallArguments(0, '{"n": "é"}'),
            protocol.ToolCallStart(1, "y", "b"),
            protocol.ToolCallArguments(1, "{}"),
        ],
        "tool_calls",
    ),
    "cut off": ([says("On"), {**DONE, "done_reason": "length"}], [protocol.Text("On")], "length"),
}


@pytest.mark.parametrize("case", STREAMS)
async def test_streams(make: Make, ollama: Ollama, ask: Ask, collect: Collect, case: str) -> None:
    records, expected, reason = STREAMS[case]
    engine = await make()
    ollama.records = records
    started, *events, finish = await collect(engine, ask())
    assert isinstance(started, protocol.Started)
    assert events == expected
    assert isinstance(finish, protocol.Finish)
    assert (finish.reason, finish.usage) == (reason, protocol.Usage(26, 0, 3))


TOO_LONG = {
    "error": json.dumps(
        {
            "error": {
                "code": 400,
                "message": "request (8889 tokens) exceeds the available context size (4096 tokens), try increasing it",
                "type": "exceed_context_size_error",
            }
        }
    )
}
FAILURES: dict[str, tuple[int, list[Record], type[errors.ZoeError], str]] = {
    "its fault": (400, [{"error": "invalid options: num_predict"}], errors.InvalidRequestError, "num_predict"),
    "too long": (400, [TOO_LONG], errors.ContextSizeError, "8889 prompt tokens"),
    "busy": (429, [{"error": "too many"}], errors.QueueFullError, "too many"),
    "down": (503, [{"error": "server busy, maximum pending requests exceeded"}], errors.EngineUnavailableError, "busy"),
    "in the stream": (200, [says("so"), {"error": "llama runner crashed"}], errors.EngineUnavailableError, "crashed"),
    "an end in the middle": (200, [says("so")], errors.EngineUnavailableError, "in the middle"),
    "nonsense": (200, [{"message": 3, "done": False}], errors.EngineUnavailableError, "no answer of this API"),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_failures(make: Make, ollama: Ollama, ask: Ask, collect: Collect, case: str) -> None:
    status, records, kind, message = FAILURES[case]
    engine = await make()
    ollama.status, ollama.records = status, records
    failure = (await collect(engine, ask()))[-1]
    assert isinstance(failure, protocol.Failure)
    assert type(failure.error) is kind
    assert message in failure.error.message


async def test_a_call_that_was_required_and_not_made_is_a_failure(make: Make, ask: Ask, collect: Collect) -> None:
    request = ask(tools=(LAMP,), tool_choice=protocol.ToolChoice("required"))
    failure = (await collect(await make(), request))[-1]
    assert isinstance(failure, protocol.Failure)
    assert "it made no call though one was required" in failure.error.message


async def test_priming_asks_for_one_token_and_gives_none(
    make: Make, ollama: Ollama, ask: Ask, collect: Collect
) -> None:
    engine = await make()
    started, finish = await collect(engine, ask(max_tokens=0))
    assert isinstance(started, protocol.Started)
    assert isinstance(finish, protocol.Finish)
    assert (finish.reason, finish.usage) == ("length", protocol.Usage(26, 0, 0))
    assert ollama.bodies["chat"][-1]["options"]["num_predict"] == 1


async def test_a_prompt_goes_as_it_is(make: Make, ollama: Ollama, ask: Ask, collect: Collect) -> None:
    engine = await make()
    ollama.records = [{"response": "4", "done": False}, {**DONE, "message": None, "response": ""}]
    events = await collect(engine, ask(prompt="2 + 2 ="))
    assert events[1:2] == [protocol.Text("4")]
    body = ollama.bodies["generate"][-1]
    assert (body["prompt"], body["raw"]) == ("2 + 2 =", True)


async def test_vectors(make: Make, ollama: Ollama) -> None:
    engine = await make(roles=("embeddings",))
    answer = await engine.embed(protocol.EmbedRequest("e", "m", ("a", "b"), truncate=True))
    assert answer.vectors == ((0.6, 0.8), (0.6, 0.8))
    assert (answer.usage.prompt_tokens, engine.info.dimensions) == (5, 2)
    assert ollama.bodies["embed"][-1]["truncate"] is True
    with pytest.raises(errors.ModelKindError):
        await engine.embed(protocol.EmbedRequest("e", "m", ((1, 2),)))


async def test_a_model_leaves_the_servers_memory_when_it_leaves_ours(make: Make, ollama: Ollama) -> None:
    engine = await make()
    assert ollama.bodies["chat"][-1]["keep_alive"] == -1
    await engine.stop()
    assert ollama.bodies["generate"] == [{"model": "qwen3:4b", "keep_alive": 0, "stream": False}]


async def test_a_model_that_others_use_stays(make: Make, ollama: Ollama) -> None:
    ollama.loaded = ["llama3.2:latest"]
    await (await make(model="llama3.2")).stop()
    assert "generate" not in ollama.bodies


async def test_a_model_that_is_not_there_is_downloaded(make: Make, ollama: Ollama) -> None:
    ollama.pull_goes_on.clear()
    ollama.pulled = [
        {"status": "pulling manifest"},
        {"status": "pulling 6e9f", "digest": "sha256:6e9f", "total": 2000, "completed": 500},
        {"status": "success"},
    ]
    engine = await make(model="gemma3:270m", started=False)
    starting = asyncio.create_task(engine.start())
    async with asyncio.timeout(10):
        while engine.loading is None or engine.loading.progress is None:  # noqa: ASYNC110 -- it is the state of another process that counts
            await asyncio.sleep(0)
    assert (engine.loading.phase, engine.loading.progress) == ("downloading", 0.25)
    ollama.pull_goes_on.set()
    await starting
    assert engine.loading is None
    assert ollama.bodies["pull"] == [{"model": "gemma3:270m", "stream": True}]


async def test_what_cannot_be_downloaded_is_told(make: Make, ollama: Ollama) -> None:
    ollama.pulled = [{"error": "pull model manifest: file does not exist"}]
    with pytest.raises(errors.EngineUnavailableError, match="cannot download 'missing': pull model manifest"):
        await make(model="missing")
    with pytest.raises(errors.EngineUnavailableError, match="does not have 'missing', and `pull` is false"):
        await make(model="missing", pull=False)


async def test_which_model_is_meant(make: Make, ollama: Ollama) -> None:
    with pytest.raises(errors.EngineUnavailableError, match=r"with `model` in its table: llama3.2:latest, qwen3:4b"):
        await make(model=None)
    assert (await make(model="llama3.2")).info.name == "llama3.2"
    ollama.models = ["only:1b"]
    assert (await make(model=None)).info.name == "only:1b"


async def test_what_is_no_ollama(make: Make, ollama: Ollama) -> None:
    async with TestServer(web.Application()) as other:
        url = f"http://127.0.0.1:{other.port}"
        options = OllamaOptions(urls=[url], model="x")
        engine = OllamaEngine(ModelSpec("m", Path("unused"), engine="ollama", options=options), url)
        with pytest.raises(errors.EngineUnavailableError, match="has no http"):
            await engine.start()
