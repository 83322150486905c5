"""Adapters over HTTP: chosen by the model's name, listed as models of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zoe_server.catalogue.engine_options import Adapter

if TYPE_CHECKING:
    from tests.server.gateway.conftest import Gateway, Start
    from zoe_server.catalogue.spec import ModelSpec


@pytest.fixture
async def tuned(start: Start, spec: ModelSpec) -> Gateway:
    """A gateway whose model has an adapter."""
    return await start(
        specs=[
            replace(spec, options=spec.options.model_copy(update={"adapters": {"jokes": Adapter(path=Path("unused"))}}))
        ]
    )


async def get(gateway: Gateway, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = await (await gateway.client.get(path)).json()
    return answer


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"prompt": "hi"}),
        ("/v1/responses", {"input": "hi"}),
        ("/api/chat", {"messages": [{"role": "user", "content": "hi"}], "stream": False}),
        ("/api/generate", {"prompt": "hi", "stream": False}),
    ],
)
@pytest.mark.parametrize(("asked", "adapter"), [("m", None), ("m:jokes", "jokes"), ("old-name:jokes", "jokes")])
async def test_every_way_to_ask_reaches_the_adapter(
    tuned: Gateway, path: str, body: dict[str, Any], asked: str, adapter: str | None
) -> None:
    response = await tuned.client.post(path, json={"model": asked, **body})
    assert response.status == 200
    name = "m:jokes" if adapter else "m"
    assert response.headers["X-Zoe-Route"] == f"rule=named; model={name}; candidates={name}"
    assert (await response.json())["model"] == (asked if path.startswith("/api/") else name)
    (request,) = tuned.engines[-1].requests
    assert (request.model, request.adapter) == (name, adapter)


async def test_the_chunks_of_a_stream_name_the_adapter(tuned: Gateway) -> None:
    response = await tuned.chat(model="m:jokes", stream=True)
    data = [line.removeprefix("data: ") for line in (await response.text()).splitlines() if line.startswith("data: {")]
    assert {json.loads(chunk)["model"] for chunk in data} == {"m:jokes"}


async def test_an_adapter_that_is_not_there_is_404_with_those_that_are(tuned: Gateway) -> None:
    response = await tuned.chat(model="m:poems")
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (404, "model_not_found")
    assert "m:jokes" in error["message"]


async def test_adapters_are_listed_and_found_as_models(tuned: Gateway) -> None:
    listed = (await get(tuned, "/v1/models"))["data"]
    assert [(one["id"], one["parent"], one["aliases"]) for one in listed] == [
        ("zoe", None, []),
        ("m", None, ["old-name"]),
        ("m:jokes", "m", ["old-name:jokes"]),
    ]
    for name in ("m:jokes", "old-name:jokes", "m:jokes:latest"):
        assert await get(tuned, f"/v1/models/{name}") == listed[2]


async def test_ollamas_clients_see_them(tuned: Gateway) -> None:
    listed = (await get(tuned, "/api/tags"))["models"]
    assert [(one["name"], one["details"]["parent_model"]) for one in listed] == [
        ("zoe:latest", ""),
        ("m:latest", ""),
        ("m:jokes", "m"),
        ("old-name:latest", ""),
        ("old-name:jokes", "m"),
    ]
    assert len({one["digest"] for one in listed}) == 2
    for name, parent in (("m:jokes", "m"), ("m", "")):
        shown = await tuned.client.post("/api/show", json={"model": name})
        assert (await shown.json())["details"]["parent_model"] == parent


async def test_an_adapter_has_its_models_tokens_and_no_embeddings(tuned: Gateway) -> None:
    tokens = await (await tuned.client.post("/tokenize", json={"model": "m:jokes", "content": "ab"})).json()
    assert tokens == {"tokens": [97, 98]}
    refused = await tuned.client.post("/v1/embeddings", json={"model": "m:jokes", "input": "ab"})
    assert refused.status == 400
