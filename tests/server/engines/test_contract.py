"""What every engine promises (`base.Engine`), asked of each of them alike."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.scripted_engine import Answer, Hold, ScriptedEngine
from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import LlamaOptions, OllamaOptions, OpenAIOptions, RemoteOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.registry import create_engine

Ask = Callable[..., protocol.ChatRequest]
ENDLESS = Answer((*(protocol.Text(f"word{index} ") for index in range(40)), Hold()))
"""Like a random model's answer: it never ends by itself."""


@pytest.fixture(params=["scripted", "llama", "openai", "ollama", "upstreams"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def spec(kind: str, request: pytest.FixtureRequest) -> ModelSpec:
    if kind in ("openai", "ollama", "upstreams"):
        url = request.getfixturevalue("zoe_elsewhere")
        urls = [url, url.replace("127.0.0.1", "localhost")] if kind == "upstreams" else [url]
        options = (OllamaOptions if kind == "ollama" else OpenAIOptions)(urls=urls, model="far", n_slots=2)
        return ModelSpec("m", Path("unused"), engine="ollama" if kind == "ollama" else "openai", options=options)
    path = request.getfixturevalue("random_model") if kind == "llama" else Path("unused")
    return ModelSpec(
        "m", path, engine=kind, queue_limit=2, options=LlamaOptions(n_ctx_tokens=4096, n_slots=2, n_threads=2)
    )


def create(spec: ModelSpec) -> Engine:
    return ScriptedEngine(spec, [ENDLESS]) if spec.engine == "scripted" else create_engine(spec)


@pytest.fixture
async def engine(spec: ModelSpec) -> AsyncGenerator[Engine, None]:
    engine = create(spec)
    await engine.start()
    yield engine
    await engine.stop()


async def events_of(engine: Engine, request: protocol.ChatRequest) -> list[protocol.ChatEvent]:
    async with asyncio.timeout(60):
        return [event async for event in engine.chat(request)]


async def begin(engine: Engine, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
    """Begin a request and return its events after the first text."""
    events = engine.chat(request)
    async with asyncio.timeout(60):
        async for event in events:
            if isinstance(event, protocol.Text):
                break
    return events


def finish(events: list[protocol.ChatEvent]) -> protocol.Finish:
    assert isinstance(events[-1], protocol.Finish)
    return events[-1]


def error(events: list[protocol.ChatEvent]) -> errors.ZoeError:
    assert len([event for event in events if isinstance(event, protocol.TERMINAL_EVENTS)]) == 1
    assert isinstance(events[-1], protocol.Failure)
    return events[-1].error


async def test_a_started_engine_is_alive_and_tells_about_itself(engine: Engine) -> None:
    assert engine.health.alive
    assert engine.info


async def test_an_engine_can_do_what_is_said_of_it_before_it_is_loaded(engine: Engine, spec: ModelSpec) -> None:
    assert engine.info.capabilities.covers(spec.capabilities)


async def test_one_request_begins_says_something_and_ends_once(engine: Engine, ask: Ask) -> None:
    events = await events_of(engine, ask(max_tokens=5))
    assert isinstance(events[0], protocol.Started)
    assert "".join(event.text for event in events if isinstance(event, protocol.Text))
    assert [event for event in events if isinstance(event, protocol.TERMINAL_EVENTS)] == [events[-1]]
    assert finish(events).reason == "length"
    assert finish(events).usage.completion_tokens == 5
    assert finish(events).usage.prompt_tokens > 0
    assert events[0].prompt_tokens in (finish(events).usage.prompt_tokens, 0)  # where nobody knows before the end


async def test_no_tokens_wanted_none_generated(engine: Engine, ask: Ask) -> None:
    events = await events_of(engine, ask(max_tokens=0))
    assert [type(event) for event in events] == [protocol.Started, protocol.Finish]
    assert (finish(events).reason, finish(events).usage.completion_tokens) == ("length", 0)


async def test_a_prompt_beyond_the_context_is_refused(engine: Engine, ask: Ask) -> None:
    refusal = error(await events_of(engine, ask("word " * 5000)))
    assert isinstance(refusal, errors.ContextSizeError)
    assert refusal.details["n_prompt_tokens"] > refusal.details["n_ctx"] == 4096


async def test_requests_run_side_by_side_and_those_that_wait_get_their_turn(engine: Engine, ask: Ask) -> None:
    requests = [ask(f"number {index}", f"q{index}", max_tokens=6) for index in range(4)]
    answers = await asyncio.gather(*(events_of(engine, request) for request in requests))
    assert [finish(events).usage.completion_tokens for events in answers] == [6] * 4


async def test_more_requests_than_may_wait_are_refused(engine: Engine, ask: Ask) -> None:
    async with aclosing(await begin(engine, ask(request_id="r1"))), aclosing(await begin(engine, ask(request_id="r2"))):
        waiting = [asyncio.create_task(events_of(engine, ask(request_id=f"w{n}", max_tokens=1))) for n in range(12)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        refusal = error(next(iter(done)).result())
        assert isinstance(refusal, errors.QueueFullError)
        assert refusal.retry_after_s is not None
    answered = [events for events in await asyncio.gather(*waiting) if isinstance(events[-1], protocol.Finish)]
    assert 2 <= len(answered) < 12


async def test_closing_cancels_without_disturbing_others(engine: Engine, ask: Ask) -> None:
    other = await begin(engine, ask(request_id="other", max_tokens=30))
    await (await begin(engine, ask(request_id="left"))).aclose()
    async with asyncio.timeout(60):
        rest = [event async for event in other]
    assert finish(rest).usage.completion_tokens == 30
    assert finish(await events_of(engine, ask(request_id="next", max_tokens=2))).reason == "length"


async def test_a_waiting_request_can_be_cancelled(engine: Engine, ask: Ask) -> None:
    first, second = await begin(engine, ask(request_id="r1")), await begin(engine, ask(request_id="r2"))
    waiting = asyncio.create_task(events_of(engine, ask(request_id="w1")))
    await asyncio.sleep(0)  # let it reach the engine
    waiting.cancel()
    await asyncio.wait({waiting})
    await first.aclose()
    await second.aclose()
    assert finish(await events_of(engine, ask(request_id="next", max_tokens=2))).reason == "length"


async def test_stopping_fails_open_requests_once_and_may_be_repeated(engine: Engine, ask: Ask) -> None:
    rests = [await begin(engine, ask(request_id=f"r{index}")) for index in range(2)]
    await engine.stop()
    for rest in rests:
        async with asyncio.timeout(60):
            assert isinstance(error([event async for event in rest]), errors.EngineUnavailableError)
    assert isinstance(error(await events_of(engine, ask())), errors.EngineUnavailableError)
    assert not engine.health.alive
    assert await engine.wait_closed()
    await engine.stop()


async def test_a_model_that_cannot_be_loaded_is_explained(spec: ModelSpec, tmp_path: Path) -> None:
    missing = replace(spec, path=tmp_path / "missing.gguf")
    if isinstance(spec.options, RemoteOptions):
        missing = replace(spec, options=spec.options.model_copy(update={"model": "missing.gguf"}))
    engine = create(missing) if spec.engine != "scripted" else ScriptedEngine(missing)
    with pytest.raises(errors.EngineUnavailableError, match=r"missing\.gguf"):
        await engine.start()
    await engine.stop()


@pytest.mark.parametrize("text", ["hello", "", "zwölf \N{SNOWMAN}", "two  spaces\n"])
async def test_tokens_turn_back_into_their_text(engine: Engine, text: str) -> None:
    if not engine.info.capabilities.tokenizer:
        with pytest.raises(errors.ModelKindError):
            await engine.tokenize(text)
        return
    tokens = await engine.tokenize(text)
    assert await engine.detokenize(tokens) == text


async def test_what_is_no_token_is_refused(engine: Engine) -> None:
    with pytest.raises(errors.InvalidRequestError, match=r"1000000 is not a token|tells no tokens"):
        await engine.detokenize([1, 1_000_000])


async def test_an_engine_that_is_gone_has_no_tokens(engine: Engine) -> None:
    await engine.stop()
    kind = errors.EngineUnavailableError if engine.info.capabilities.tokenizer else errors.ModelKindError
    with pytest.raises(kind):
        await engine.tokenize("hello")
    with pytest.raises(kind):
        await engine.detokenize([1])


async def test_a_prompt_is_continued_as_it_is(engine: Engine, spec: ModelSpec, ask: Ask) -> None:
    tokens = tuple(await engine.tokenize("hello")) if engine.info.capabilities.tokenizer else (5, 6)
    as_tokens = await events_of(engine, replace(ask(max_tokens=3), messages=(), prompt=tokens))
    if spec.engine == "ollama":
        assert isinstance(error(as_tokens), errors.ModelKindError)
    else:
        assert finish(as_tokens).usage.prompt_tokens == len(tokens)
    as_text = await events_of(engine, replace(ask(max_tokens=3), messages=(), prompt="hello"))
    assert finish(as_text).usage.completion_tokens == 3
