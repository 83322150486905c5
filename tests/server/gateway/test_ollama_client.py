"""Ollama's own Python client against the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import ollama
import pytest

from zoe_server import protocol
from zoe_server.engines.scripted import Answer

if TYPE_CHECKING:
    from tests.server.gateway.conftest import Gateway, Start

TOOL = {
    "type": "function",
    "function": {
        "name": "turn_on",
        "description": "Turn a device on",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=str(gateway.client.make_url(""))) as client:
        yield client


async def test_chat_whole_and_streamed(client: ollama.AsyncClient) -> None:
    messages = [{"role": "user", "content": "hi"}]
    whole = await client.chat(model="m", messages=messages)
    assert (whole.message.role, whole.message.content, whole.done, whole.done_reason) == (
        "assistant", "Hello you", True, "stop",
    )  # fmt: skip
    assert (whole.prompt_eval_count, whole.eval_count) == (9, 2)
    assert (whole.total_duration, whole.prompt_eval_duration) == (3_000_000, 1_000_000)
    parts = [part async for part in await client.chat(model="m", messages=messages, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == "Hello you"
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


async def test_tool_calls_have_objects_as_arguments(client: ollama.AsyncClient) -> None:
    answer = await client.chat(model="m", messages=[{"role": "user", "content": "lamp"}], tools=[TOOL])
    calls = [(call.function.name, call.function.arguments) for call in answer.message.tool_calls or ()]
    assert calls == [("turn_on", {"name": "Lamp"}), ("turn_off", {})]


async def test_thinking_stands_apart(client: ollama.AsyncClient) -> None:
    answer = await client.chat(model="m", messages=[{"role": "user", "content": "think"}], think=True)
    assert (answer.message.thinking, answer.message.content) == ("hm", "so")


async def test_generate(client: ollama.AsyncClient) -> None:
    assert (await client.generate(model="m", prompt="hi")).response == "Hello you"
    loaded = await client.generate(model="m")
    assert (loaded.response, loaded.done_reason) == ("", "load")


async def test_probabilities_whole_and_streamed(start: Start) -> None:
    drawn = protocol.TokenProbability((79, 110), -0.5)
    gateway = await start(answers=(Answer((protocol.Text("On", (protocol.DrawnToken(drawn, (drawn,)),)),)),))
    async with ollama.AsyncClient(host=str(gateway.client.make_url(""))) as client:
        whole = await client.generate(model="m", prompt="hi", logprobs=True, top_logprobs=1)
        streamed = await client.generate(model="m", prompt="hi", logprobs=True, top_logprobs=1, stream=True)
        parts = [part async for part in streamed]
    assert gateway.engines[0].requests[0].logprobs == 1
    for told in (whole.logprobs, parts[0].logprobs):
        assert told is not None
        assert [(one.token, one.logprob, len(one.top_logprobs or ())) for one in told] == [("On", -0.5, 1)]
    assert parts[-1].logprobs is None


async def test_models_are_listed_and_shown(client: ollama.AsyncClient) -> None:
    assert "m:latest" in [model.model for model in (await client.list()).models]
    shown = await client.show("m")
    assert "completion" in (shown.capabilities or ())
    assert [model.model for model in (await client.ps()).models] == ["m:latest"]


async def test_errors_have_their_status_and_say_what_is_wrong(client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError, match="nobody") as caught:
        await client.chat(model="nobody", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="temperature") as caught:
        await client.chat(model="m", messages=[{"role": "user", "content": "hi"}], options={"temperature": -1.0})
    assert caught.value.status_code == 400


async def test_a_key_is_a_bearer_token(start: Start) -> None:
    gateway = await start(api_key="secret")
    host = str(gateway.client.make_url(""))
    async with ollama.AsyncClient(host=host, headers={"Authorization": "Bearer secret"}) as client:
        assert (await client.list()).models
    async with ollama.AsyncClient(host=host) as client:
        with pytest.raises(ollama.ResponseError) as caught:
            await client.list()
    assert caught.value.status_code == 401
