"""A model on another server: what is asked there, what is read of the answers, and what fails how."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.server.engines.openai_server import HELLO, OpenAIServer, delta, refused, stream
from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import OpenAIOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.openai_engine import OpenAIEngine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from tests.server.engines.conftest import Ask, Collect

    Make = Callable[..., Awaitable[OpenAIEngine]]

LAMP = protocol.Tool(
    "turn_on", "Turns on.", {"type": "object", "properties": {"name": {"type": "string"}, "area": {"type": "string"}}}
)


@pytest.fixture
def played() -> OpenAIServer:
    return OpenAIServer()


@pytest.fixture
async def address(played: OpenAIServer) -> AsyncGenerator[str]:
    async with TestServer(played.app) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
async def make(address: str) -> AsyncGenerator[Make]:
    made: list[OpenAIEngine] = []

    async def engine(*, roles: tuple[str, ...] = (), look_s: float = 60.0, **options: object) -> OpenAIEngine:
        url = str(options.pop("url", address))
        known = OpenAIOptions(**{"url": url, "silence_s": 5.0, **options})
        spec = ModelSpec("m", Path("unused"), engine="openai", roles=roles, options=known)
        made.append(OpenAIEngine(spec, url, look_s))
        await made[-1].start()
        return made[-1]

    yield engine
    for one in made:
        await one.stop()


async def test_what_the_server_shows_of_the_model(make: Make, played: OpenAIServer) -> None:
    engine = await make(api_key="secret")
    able = engine.info.capabilities
    assert (able.tools, able.schemas, able.pictures, able.logprobs, able.priming) == (True, True, True, True, False)
    assert (engine.info.name, engine.info.n_ctx_tokens, engine.health.alive) == ("far", 2048, True)
    assert played.keys == ["Bearer secret"]
    assert {body["max_tokens"] for body in played.bodies} == {1}


async def test_what_is_refused_cannot_be_done(make: Make, played: OpenAIServer) -> None:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "tools" in body or isinstance(body["messages"][0]["content"], list):
            return await refused(400, "no tools, no pictures")(request, body)
        return await stream(request, *HELLO)

    played.answer = answer
    able = (await make()).info.capabilities
    assert (able.tools, able.schemas, able.pictures) == (False, True, False)


async def test_what_is_configured_is_not_asked(make: Make, played: OpenAIServer) -> None:
    engine = await make(tools=False, schemas=True, pictures=False, n_ctx_tokens=1024)
    assert (engine.info.capabilities.tools, engine.info.n_ctx_tokens) == (False, 1024)
    assert len(played.bodies) == 3  # a first token, its probability, and a prompt that is no chat


async def test_the_new_word_for_the_longest_answer(
    make: Make, played: OpenAIServer, ask: Ask, collect: Collect
) -> None:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "max_tokens" in body:
            return await refused(400, "Use 'max_completion_tokens' instead.")(request, body)
        return await stream(request, *HELLO)

    played.answer = answer
    await collect(await make(), ask(max_tokens=3))
    assert played.bodies[-1]["max_completion_tokens"] == 3


async def test_an_answer(make: Make, ask: Ask, collect: Collect) -> None:
    events = await collect(await make(), ask())
    assert events[:3] == [protocol.Started(0, 0), protocol.Text("Hel"), protocol.Text("lo")]
    (finish,) = events[3:]
    assert isinstance(finish, protocol.Finish)
    assert (finish.reason, finish.usage) == ("stop", protocol.Usage(7, 5, 2))
    assert 0 < finish.timings.first_token_s <= finish.timings.total_s


async def test_what_is_asked(make: Make, played: OpenAIServer, collect: Collect) -> None:
    engine = await make()
    picture = {"type": "picture", "data": "UE5H", "path": "x"}
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    request = protocol.ChatRequest(
        "q",
        "m",
        ({"role": "user", "content": [picture, {"type": "text", "text": "what"}]},),
        tools=(LAMP,),
        tool_choice=protocol.ToolChoice("required", "turn_on"),
        parallel_tool_calls=False,
        max_tokens=9,
        stop=("END",),
        sampling=protocol.Sampling(temperature=0.0, top_k=5, seed=1),
        argument_values={"name": ("Lamp",), "turn_on.area": ("Kitchen", "Hall"), "area": ("Attic",)},
        logprobs=2,
        answer_schema=protocol.AnswerSchema(schema, "format"),
        chat_template_kwargs={"enable_thinking": False},
    )
    await collect(engine, request)
    body = played.bodies[-1]
    properties = body.pop("tools")[0]["function"]["parameters"]["properties"]
    assert properties == {"name": {"enum": ["Lamp"]}, "area": {"enum": ["Kitchen", "Hall"]}}
    assert body == {
        "model": "far",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}},
                    {"type": "text", "text": "what"},
                ],
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "turn_on"}},
        "parallel_tool_calls": False,
        "max_tokens": 9,
        "stop": ["END"],
        "temperature": 0.0,
        "top_k": 5,
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
        "chat_template_kwargs": {"enable_thinking": False},
    }


CALL = {"index": 0, "id": "c1", "function": {"name": "turn_on", "arguments": ""}}
STREAMS: dict[str, tuple[list[dict[str, Any]], list[protocol.ChatEvent], str]] = {
    "a call in pieces": (
        [
            delta(tool_calls=[CALL]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
            delta("tool_calls"),
        ],
        [
            protocol.ToolCallStart(0, "c1", "turn_on"),
            protocol.ToolCallArguments(0, '{"a":'),
            protocol.ToolCallArguments(0, "1}"),
        ],
        "tool_calls",
    ),
    "two whole calls at one position": (
        [
            delta(tool_calls=[{"id": name, "function": {"name": name, "arguments": {"a": name}}} for name in "xy"]),
            delta("tool_calls"),
        ],
        [
            protocol.ToolCallStart(0, "x", "x"),
            protocol.ToolCallArguments(0, '{"a": "x"}'),
            protocol.ToolCallStart(1, "y", "y"),
            protocol.ToolCallArguments(1, '{"a": "y"}'),
        ],
        "tool_calls",
    ),
    "reasoning, by either name": (
        [delta(reasoning_content="h"), delta(reasoning="m"), delta(content="x"), delta("length")],
        [protocol.Reasoning("h"), protocol.Reasoning("m"), protocol.Text("x")],
        "length",
    ),
    "plain text": (
        [{"choices": [{"text": "Hi", "finish_reason": None}]}, {"choices": [{"text": "", "finish_reason": "stop"}]}],
        [protocol.Text("Hi")],
        "stop",
    ),
    "probabilities": (
        [
            {
                "choices": [
                    {
                        "delta": {"content": "é"},
                        "logprobs": {
                            "content": [
                                {
                                    "token": "é",
                                    "logprob": -0.5,
                                    "bytes": [195, 169],
                                    "top_logprobs": [{"token": "e", "logprob": -1.0, "bytes": None}],
                                }
                            ]
                        },
                    }
                ]
            },
            delta("content_filter"),
        ],
        [
            protocol.Text(
                "é",
                (
                    protocol.DrawnToken(
                        protocol.TokenProbability((195, 169), -0.5), (protocol.TokenProbability((101,), -1.0),)
                    ),
                ),
            )
        ],
        "stop",
    ),
}


@pytest.mark.parametrize("case", STREAMS)
async def test_streams(make: Make, played: OpenAIServer, ask: Ask, collect: Collect, case: str) -> None:
    chunks, expected, reason = STREAMS[case]
    engine = await make()
    played.answer = lambda request, _: stream(request, *chunks)
    started, *events, finish = await collect(engine, ask())
    assert isinstance(started, protocol.Started)
    assert events == expected
    assert isinstance(finish, protocol.Finish)
    assert finish.reason == reason


FAILURES: dict[str, tuple[Any, type[errors.ZoeError], str]] = {
    "its fault": (refused(400, "temperature is odd"), errors.InvalidRequestError, "temperature is odd"),
    "too long": (
        refused(400, "too long", type="exceed_context_size_error", n_ctx=512, n_prompt_tokens=600),
        errors.ContextSizeError,
        "600 prompt tokens",
    ),
    "too long, in words": (
        refused(400, "This model's maximum context length is 512 tokens."), errors.ContextSizeError, "512 tokens",
    ),
    "busy": (refused(429, "slow down"), errors.QueueFullError, "slow down"),
    "wrong key": (refused(401, "who are you"), errors.EngineUnavailableError, "refuses our key"),
    "down": (refused(503, "loading"), errors.EngineUnavailableError, "loading"),
    "an error in the stream": (
        lambda request, _: stream(request, delta(content="so"), {"error": {"message": "out of memory"}}),
        errors.EngineUnavailableError,
        "out of memory",
    ),
    "an end in the middle": (
        lambda request, _: stream(request, delta(content="so"), done=False),
        errors.EngineUnavailableError,
        "in the middle",
    ),
    "nonsense": (
        lambda request, _: stream(request, {"choices": [{"delta": {"tool_calls": [{"function": {}}]}}]}),
        errors.EngineUnavailableError,
        "no answer of this API",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
async def test_failures(make: Make, played: OpenAIServer, ask: Ask, collect: Collect, case: str) -> None:
    answer, kind, message = FAILURES[case]
    engine = await make()
    played.answer = answer
    failure = (await collect(engine, ask()))[-1]
    assert isinstance(failure, protocol.Failure)
    assert type(failure.error) is kind
    assert message in failure.error.message
    if kind is errors.QueueFullError:
        assert failure.error.retry_after_s == 7.0


async def test_a_server_that_says_nothing_more(make: Make, played: OpenAIServer, ask: Ask, collect: Collect) -> None:
    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = await stream(request, delta(content="so"), done=False)
        await asyncio.Event().wait()
        return response

    engine = await make(silence_s=0.3)
    played.answer = answer
    async with asyncio.timeout(10):
        failure = (await collect(engine, ask()))[-1]
    assert isinstance(failure, protocol.Failure)
    assert "said nothing for 0.3 s" in failure.error.message


async def test_closing_leaves_the_server(make: Make, played: OpenAIServer, ask: Ask) -> None:
    left = asyncio.Event()

    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        try:
            response = await stream(request, delta(content="so"), done=False)
            await asyncio.Event().wait()
        finally:
            left.set()
        return response

    engine = await make()
    played.answer = answer
    async with asyncio.timeout(10), aclosing(engine.chat(ask())) as events:
        async for event in events:
            if isinstance(event, protocol.Text):
                assert engine.health.running == 1
                break
    assert engine.health.running == 0


async def test_nothing_is_asked_where_nothing_is_wanted(
    make: Make, played: OpenAIServer, ask: Ask, collect: Collect
) -> None:
    engine = await make()
    before = len(played.bodies)
    assert [type(event) for event in await collect(engine, ask(max_tokens=0))] == [protocol.Started, protocol.Finish]
    assert len(played.bodies) == before


async def test_grammars_are_refused_by_name(make: Make, ask: Ask, collect: Collect) -> None:
    grammar = protocol.AnswerGrammar("regex", "a+", "guided_regex")
    failure = (await collect(await make(), ask(answer_schema=grammar)))[-1]
    assert isinstance(failure, protocol.Failure)
    assert failure.error.param == "guided_regex"


async def test_vectors(make: Make, played: OpenAIServer, ask: Ask, collect: Collect) -> None:
    engine = await make(roles=("embeddings",))
    answer = await engine.embed(protocol.EmbedRequest("e", "m", ("a", "b")))
    assert answer.vectors == ((1.0, 0.0), (0.6, 0.8))
    assert (answer.usage.prompt_tokens, engine.info.dimensions) == (5, 2)
    failure = (await collect(engine, ask()))[-1]
    assert isinstance(failure, protocol.Failure)
    assert isinstance(failure.error, errors.ModelKindError)


async def test_fewer_vectors_than_texts_are_no_answer(make: Make, played: OpenAIServer) -> None:
    engine = await make(roles=("embeddings",))
    played.n_missing_vectors = 1
    with pytest.raises(errors.EngineUnavailableError, match="made 1 vectors of 2 texts"):
        await engine.embed(protocol.EmbedRequest("e", "m", ("a", "b")))
    with pytest.raises(errors.EngineUnavailableError, match="made 0 vectors of 1 texts"):
        await make(roles=("embeddings",))


async def test_a_page_in_the_place_of_an_answer(make: Make, played: OpenAIServer, ask: Ask, collect: Collect) -> None:
    async def page(_request: web.Request, _body: dict[str, Any]) -> web.Response:
        return web.Response(text="<html>Log in</html>", content_type="text/html")

    engine = await make()
    played.answer = page
    failure = (await collect(engine, ask()))[-1]
    assert isinstance(failure, protocol.Failure)
    assert isinstance(failure.error, errors.EngineUnavailableError)


@pytest.mark.parametrize(
    ("models", "wanted", "message"),
    [
        ([{"id": "a"}, {"id": "b"}], None, "say which of its server's models it is, with `model` in its table: a, b"),
        ([{"id": "a"}], "b", "there is no 'b' among its server's models it is, with `model` in its table: a"),
        ([], None, "none"),
        (None, None, "has no http"),
    ],
)
async def test_which_model_is_meant(
    make: Make, played: OpenAIServer, models: list[dict[str, Any]] | None, wanted: str | None, message: str
) -> None:
    played.models = models
    with pytest.raises(errors.EngineUnavailableError, match=message):
        await make(model=wanted)


async def test_a_server_without_a_list(make: Make, played: OpenAIServer) -> None:
    played.models = None
    assert (await make(model="far")).info.name == "far"


async def test_a_connection_that_the_server_has_closed_meanwhile(
    make: Make, played: OpenAIServer, ask: Ask, collect: Collect
) -> None:
    engine = await make()
    played.hangs_up = True
    for _ in range(4):
        assert isinstance((await collect(engine, ask()))[-1], protocol.Finish)
    assert played.n_hung_up > 0


async def test_no_server(make: Make, address: str) -> None:
    with pytest.raises(errors.EngineUnavailableError, match=r"no connection to http://127\.0\.0\.1:9"):
        await make(url="http://127.0.0.1:9/v1")
    with pytest.raises(errors.EngineUnavailableError, match="has no http"):
        await make(url=f"{address}/other")


async def test_a_server_that_goes_is_noticed(played: OpenAIServer) -> None:
    async with TestServer(played.app) as server:
        url = f"http://127.0.0.1:{server.port}"
        options = OpenAIOptions(url=url, silence_s=1.0)
        engine = OpenAIEngine(ModelSpec("m", Path("unused"), engine="openai", options=options), url, look_s=0.02)
        await engine.start()
    async with asyncio.timeout(10):
        assert "does not answer" in await engine.wait_closed()
    assert not engine.health.alive
    await engine.stop()
