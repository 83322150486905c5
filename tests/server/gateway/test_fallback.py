"""A model that fails before its first word is replaced, in streams and in whole answers; after that, never."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec

Start = Callable[..., Awaitable[Any]]
STAND_IN = [{"event": "text", "text": "Here"}, {"event": "text", "text": " I am"}]


@pytest.fixture
def pair(spec: ModelSpec, tmp_path: Path) -> tuple[ModelSpec, ModelSpec]:
    """A model that plays the answers of these tests, and one that answers in its place."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"events": STAND_IN}]), encoding="utf-8")
    return replace(spec, fallback="b"), ModelSpec(
        "b", script, engine="scripted", queue_limit=2, options=LlamaOptions(n_slots=2)
    )


async def events(response: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a response of aiohttp
    lines = (await response.text()).splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


@pytest.mark.parametrize("n", [1, 2])
async def test_a_whole_answer_comes_from_the_next_model_and_says_so(
    start: Start, pair: tuple[ModelSpec, ModelSpec], n: int
) -> None:
    gateway = await start(specs=pair)
    response = await gateway.chat("crash", model="m", n=n)
    answer = await response.json()
    assert response.status == 200
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["Here I am"] * n
    assert answer["model"] == "b"
    assert "model=b" in response.headers["X-Zoe-Route"]


async def test_a_stream_begins_with_the_model_that_answers(start: Start, pair: tuple[ModelSpec, ModelSpec]) -> None:
    gateway = await start(specs=pair)
    told = await events(await gateway.chat("crash", model="m", stream=True))
    assert {event["model"] for event in told} == {"b"}
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in told) == "Here I am"
    assert [event["choices"][0]["delta"].get("role") for event in told].count("assistant") == 1


async def test_nothing_that_was_said_is_taken_back(start: Start, pair: tuple[ModelSpec, ModelSpec]) -> None:
    gateway = await start(specs=pair)
    told = await events(await gateway.chat("crash after text", model="m", stream=True))
    assert told[-1]["error"]["code"] == "engine_crashed"
    assert {event["model"] for event in told[:-1]} == {"m"}
    response = await gateway.chat("crash after text", model="m")
    assert (response.status, (await response.json())["error"]["code"]) == (503, "engine_crashed")


async def test_when_all_fail_the_error_names_them(start: Start, spec: ModelSpec) -> None:
    gateway = await start(specs=(replace(spec, fallback="b"), replace(spec, name="b", aliases=())))
    response = await gateway.chat("crash", model="m")
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (503, "engine_crashed")
    assert error["message"].startswith("no model could answer. Tried m: the scripted engine crashed; b: ")
    assert response.headers["Retry-After"]


async def test_a_picture_is_handed_to_nobody_who_does_not_see(
    start: Start, pair: tuple[ModelSpec, ModelSpec], tmp_path: Path
) -> None:
    seeing, blind = pair
    broken = replace(
        seeing,
        path=tmp_path / "missing.json",
        options=seeing.options.model_copy(update={"projector_path": tmp_path / "mmproj"}),
    )
    gateway = await start(specs=(broken, blind))
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    body = {"model": "m", "prompt": "hi", "images": [base64.b64encode(png.getvalue()).decode()]}
    response = await gateway.client.post("/api/generate", json=body)
    message = (await response.json())["error"]
    assert (response.status, "missing.json" in message, "Tried" in message) == (503, True, False)
    assert gateway.engines[-1].requests == []


async def test_tokens_are_for_the_model_that_they_are_tokens_of(
    start: Start, pair: tuple[ModelSpec, ModelSpec], tmp_path: Path
) -> None:
    broken, stand_in = pair
    gateway = await start(specs=(replace(broken, path=tmp_path / "missing.json"), stand_in))
    response = await gateway.client.post("/v1/completions", json={"model": "m", "prompt": "Hello"})
    assert (response.status, (await response.json())["model"]) == (200, "b")
    response = await gateway.client.post("/v1/completions", json={"model": "m", "prompt": list(b"Hello")})
    assert (response.status, (await response.json())["error"]["code"]) == (503, "engine_unavailable")


async def test_a_slow_model_keeps_the_stream_alive_before_its_first_word(
    start: Start, pair: tuple[ModelSpec, ModelSpec]
) -> None:
    gateway = await start(specs=pair, keep_alive_interval_s=0.05)
    response = await gateway.chat("hold", model="m", stream=True)
    assert (await response.content.readline()).startswith(b":")
    gateway.engines[0].release()
    told = await response.text()
    assert '"late"' in told
    assert told.rstrip().endswith("data: [DONE]")
