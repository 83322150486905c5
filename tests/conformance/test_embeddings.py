"""Line 16 of the behaviours: embeddings, as the OpenAI client asks for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.conformance.conftest import Client, ZoeProcess


@pytest.fixture(scope="module")
def embedding_zoe(
    serve: Callable[..., object], configure: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ZoeProcess]:
    """A server with a model that writes and one for embeddings."""
    from tests.fixtures.random_embedder_gguf import write_random_embedder_gguf  # noqa: PLC0415 - it loads numpy

    path = write_random_embedder_gguf(tmp_path_factory.mktemp("embedder") / "random.gguf")
    config = configure("random")
    table = f"\n[models.embedder]\npath = '{path}'\nroles = ['embeddings']\nthreads = 1\n"
    config.write_text(config.read_text(encoding="utf-8") + table, encoding="utf-8")
    with serve(config) as process:  # type: ignore[attr-defined]  # the fixture hands on a function of context managers
        yield process


@pytest.fixture
async def asked(embedding_zoe: ZoeProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{embedding_zoe.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def raw(embedding_zoe: ZoeProcess, connect: Callable[[ZoeProcess], Client]) -> Client:
    return connect(embedding_zoe)


async def test_16_vectors_have_length_one_whatever_they_are_written_as(asked: openai.AsyncOpenAI) -> None:
    texts = ["turn on the light", "kitchen", "turn on the light"]
    plain = await asked.embeddings.create(model="embedder", input=texts, encoding_format="float")
    packed = await asked.embeddings.create(model="embedder", input=texts)  # the client asks for base64 by itself
    assert [item.index for item in plain.data] == [0, 1, 2]
    for one, other in zip(plain.data, packed.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=5e-3)
    assert [math.hypot(*item.embedding) for item in plain.data] == pytest.approx([1.0] * 3, abs=1e-5)
    assert plain.data[0].embedding == pytest.approx(plain.data[2].embedding, abs=1e-5)
    assert plain.usage.prompt_tokens == plain.usage.total_tokens > 0


async def test_16_base64_is_exactly_what_the_numbers_are(asked: openai.AsyncOpenAI) -> None:
    plain = await asked.embeddings.create(model="embedder", input="kitchen", encoding_format="float")
    packed = await asked.embeddings.create(model="embedder", input="kitchen")
    assert packed.data[0].embedding == plain.data[0].embedding


async def test_16_a_text_alone_or_among_others_or_as_tokens(asked: openai.AsyncOpenAI, raw: Client) -> None:
    body = {"content": "kitchen", "model": "embedder", "add_special": True}
    tokens = (await (await raw.post(body, "/tokenize")).json())["tokens"]
    alone = await asked.embeddings.create(model="embedder", input="kitchen")
    among = await asked.embeddings.create(model="embedder", input=["lamp"] * 99 + ["kitchen"])
    as_tokens = await asked.embeddings.create(model="embedder", input=[tokens, tokens])
    assert alone.data[0].embedding == pytest.approx(among.data[99].embedding, abs=5e-3)
    assert alone.data[0].embedding == pytest.approx(as_tokens.data[1].embedding, abs=5e-3)
    assert (alone.usage.prompt_tokens, as_tokens.usage.prompt_tokens) == (len(tokens), 2 * len(tokens))


async def test_16_vectors_can_be_shortened(asked: openai.AsyncOpenAI) -> None:
    short = await asked.embeddings.create(model="embedder", input="kitchen", dimensions=8)
    assert len(short.data[0].embedding) == 8
    assert math.hypot(*short.data[0].embedding) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(openai.BadRequestError, match="64 dimensions"):
        await asked.embeddings.create(model="embedder", input="kitchen", dimensions=65)


@pytest.mark.parametrize("given", ["", [], ["a", ""], [[]], [10**6], "word " * 1000])
async def test_16_what_has_no_embedding_is_refused(raw: Client, given: object) -> None:
    response = await raw.post({"input": given, "model": "embedder"}, "/v1/embeddings")
    assert response.status == 400
    assert (await response.json())["error"]["param"].startswith("input")


async def test_16_each_model_does_what_it_is_made_for(asked: openai.AsyncOpenAI, raw: Client) -> None:
    with pytest.raises(openai.BadRequestError, match="makes no embeddings"):
        await asked.embeddings.create(model="random", input="kitchen")
    with pytest.raises(openai.BadRequestError, match="cannot write"):
        await asked.chat.completions.create(model="embedder", messages=[{"role": "user", "content": "Hello"}])
    response = await raw.post({"input": "kitchen"}, "/v1/embeddings")
    assert (await response.json())["model"] == "embedder"
    assert (await raw.chat())["model"] == "random"


async def test_16_without_a_model_for_it_there_are_no_embeddings(client: Client) -> None:
    response = await client.post({"input": "kitchen"}, "/v1/embeddings")
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "model_not_found"
