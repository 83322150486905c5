"""Ollama's requests for embeddings, sent by its own Python client where that can."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

import ollama
import pytest

from zoe_server.catalogue.spec import EMBEDDINGS_ROLE

if TYPE_CHECKING:
    from tests.server.gateway.conftest import Gateway, Start
    from zoe_server.catalogue.spec import ModelSpec


@pytest.fixture
async def both(start: Start, spec: ModelSpec) -> Gateway:
    return await start(
        specs=[
            spec,
            replace(
                spec,
                name="e",
                aliases=(),
                roles=(EMBEDDINGS_ROLE,),
                options=spec.options.model_copy(update={"n_ctx_tokens": 256}),
            ),
        ]
    )


@pytest.fixture
async def client(both: Gateway) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=str(both.client.make_url(""))) as client:
        yield client


async def test_one_text_or_several(client: ollama.AsyncClient) -> None:
    several = await client.embed(model="e", input=["lamp", "light"])
    assert (several.model, several.prompt_eval_count) == ("e", 9)
    assert [math.hypot(*vector) for vector in several.embeddings] == pytest.approx([1.0, 1.0])
    assert (await client.embed(model="zoe", input="light")).embeddings == [several.embeddings[1]]
    assert [len(vector) for vector in (await client.embed(model="e", input="light", dimensions=3)).embeddings] == [3]


async def test_the_older_way_gives_the_same_vector(client: ollama.AsyncClient) -> None:
    old = await client.embeddings(model="e", prompt="light")
    assert list(old.embedding) == list((await client.embed(model="e", input="light")).embeddings[0])


async def test_a_long_text_is_cut_unless_that_is_forbidden(client: ollama.AsyncClient) -> None:
    assert (await client.embed(model="e", input="a" * 300)).prompt_eval_count == 256
    with pytest.raises(ollama.ResponseError, match="exceeds the available context size") as caught:
        await client.embed(model="e", input="a" * 300, truncate=False)
    assert caught.value.status_code == 400


async def test_without_a_text_the_model_is_only_loaded(both: Gateway, client: ollama.AsyncClient) -> None:
    assert (await client.embed(model="e", input="")).embeddings == []
    assert (await client.embeddings(model="e", prompt="")).embedding == []
    for path in ("/api/embed", "/api/embeddings"):
        assert (await both.client.post(path, json={"model": "e"})).status == 200


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"input": "a"}, 400, "model"),
        ({"model": "m", "input": "a"}, 400, "makes no embeddings"),
        ({"model": "nobody", "input": "a"}, 404, "nobody"),
        ({"model": "e", "input": [1]}, 400, "input"),
        ({"model": "e", "input": ["a", ""]}, 400, "input[1]"),
        ({"model": "e", "input": "a", "dimensions": 9}, 400, "dimensions"),
        ({"model": "e", "input": "a", "truncate": "no"}, 400, "truncate"),
    ],
)
async def test_what_cannot_be_done_is_said(both: Gateway, body: dict[str, object], status: int, word: str) -> None:
    response = await both.client.post("/api/embed", json=body)
    assert response.status == status
    assert word in (await response.json())["error"]
