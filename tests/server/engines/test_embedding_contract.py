"""What every engine promises of embeddings (`base.Engine.embed`), asked of each of them alike."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fixtures.scripted_engine import Answer, ScriptedEngine
from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.local import LocalEngine

Ask = Callable[..., protocol.ChatRequest]
Input = str | tuple[int, ...]
N_CTX_TOKENS = 256


@pytest.fixture(params=["scripted", "llama"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def started(kind: str, path: Path, *roles: str) -> AsyncGenerator[Engine, None]:
    spec = ModelSpec(
        "m", path, engine=kind, roles=roles, options=LlamaOptions(n_ctx_tokens=N_CTX_TOKENS, n_slots=2, n_threads=1)
    )
    engine = LocalEngine(spec) if kind == "llama" else ScriptedEngine(spec, [Answer((protocol.Text("hi"),))])
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture
async def engine(kind: str, request: pytest.FixtureRequest) -> AsyncGenerator[Engine, None]:
    path = request.getfixturevalue("random_embedder") if kind == "llama" else Path("unused")
    async with started(kind, path, EMBEDDINGS_ROLE) as engine:
        yield engine


async def embed(engine: Engine, *inputs: Input, truncate: bool = False) -> protocol.Embeddings:
    async with asyncio.timeout(60):
        return await engine.embed(protocol.EmbedRequest("e", "m", inputs, truncate))


def close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and math.dist(one, other) < 5e-3  # attention over more texts rounds differently


async def test_every_input_gets_a_vector_of_length_one(engine: Engine) -> None:
    assert engine.info.capabilities.embeddings
    answer = await embed(engine, "turn on the light", "kitchen", "turn on the light")
    assert {len(vector) for vector in answer.vectors} == {engine.info.dimensions}
    assert [math.hypot(*vector) for vector in answer.vectors] == pytest.approx([1.0] * 3, abs=1e-6)
    assert close(answer.vectors[0], answer.vectors[2])
    assert not close(answer.vectors[0], answer.vectors[1])


async def test_a_text_s_vector_depends_on_nothing_but_the_text(engine: Engine) -> None:
    alone, again = await embed(engine, "turn on the light"), await embed(engine, "turn on the light")
    assert alone == protocol.Embeddings(again.vectors, again.usage, alone.timings)
    others = tuple(f"lamp {index} is on" for index in range(100))
    assert close((await embed(engine, *others[:50], "turn on the light", *others[50:])).vectors[50], alone.vectors[0])


async def test_tokens_are_worth_as_much_as_their_text(engine: Engine) -> None:
    tokens = tuple(await engine.tokenize("turn on the light", add_special=True))
    as_text, as_tokens = await embed(engine, "turn on the light"), await embed(engine, tokens)
    assert close(as_text.vectors[0], as_tokens.vectors[0])
    assert as_text.usage == as_tokens.usage == protocol.Usage(prompt_tokens=len(tokens))
    both = await embed(engine, "turn on the light", tokens)
    assert both.usage.prompt_tokens == 2 * len(tokens)


async def test_requests_side_by_side_get_their_own_vectors(engine: Engine) -> None:
    texts = [f"lamp {index} is on" for index in range(8)]
    alone = [(await embed(engine, text)).vectors[0] for text in texts]
    together = await asyncio.gather(*(embed(engine, text) for text in texts))
    assert all(close(one, other.vectors[0]) for one, other in zip(alone, together, strict=True))


async def test_a_text_longer_than_the_context_is_refused_or_cut(engine: Engine) -> None:
    with pytest.raises(errors.ContextSizeError, match="exceeds the available context size") as caught:
        await embed(engine, "short", "word " * 300)
    assert caught.value.param == "input[1]"
    assert caught.value.details["n_prompt_tokens"] > caught.value.details["n_ctx"] == N_CTX_TOKENS
    cut = await embed(engine, "word " * 300, truncate=True)
    assert cut.usage.prompt_tokens == N_CTX_TOKENS
    assert math.hypot(*cut.vectors[0]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("inputs", "param"), [(("",), "input"), (("a", ""), "input[1]"), (((),), "input"), (("a", (1, 10**6)), "input[1]")]
)
async def test_what_has_no_embedding_is_refused_by_its_path(
    engine: Engine, inputs: tuple[Input, ...], param: str
) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        await embed(engine, *inputs)
    assert caught.value.param == param
    assert (await embed(engine, "a")).vectors


async def test_a_model_for_embeddings_does_not_chat(engine: Engine, ask: Ask) -> None:
    events = [event async for event in engine.chat(ask())]
    assert [type(event) for event in events] == [protocol.Failure]
    assert isinstance(events[0], protocol.Failure)
    assert isinstance(events[0].error, errors.ModelKindError)


async def test_a_model_that_writes_makes_no_embeddings(kind: str, ask: Ask, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue("random_model") if kind == "llama" else Path("unused")
    async with started(kind, path) as engine:
        with pytest.raises(errors.ModelKindError, match="makes no embeddings") as caught:
            await embed(engine, "hello")
        assert (caught.value.status, caught.value.param) == (400, "model")
        assert isinstance([event async for event in engine.chat(ask(max_tokens=1))][-1], protocol.Finish)


async def test_giving_up_disturbs_nobody(engine: Engine) -> None:
    many = asyncio.create_task(embed(engine, *(f"lamp {index} is on" for index in range(2000))))
    await asyncio.sleep(0)  # let it reach the engine
    many.cancel()
    await asyncio.wait({many})
    assert (await embed(engine, "a")).vectors


async def test_an_engine_that_is_gone_makes_no_embeddings(engine: Engine) -> None:
    await engine.stop()
    with pytest.raises(errors.EngineUnavailableError):
        await embed(engine, "hello")
