"""Line 16 of the behaviours: plain completions, the models, and a text's tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Client


async def complete(client: Client, prompt: object = "Once upon", **fields: object) -> dict[str, Any]:
    response = await client.post({"prompt": prompt, "max_tokens": 6, "temperature": 0, **fields}, "/v1/completions")
    answer: dict[str, Any] = await response.json()
    assert response.status == 200, answer
    return answer


async def tokens_of(client: Client, text: str) -> list[int]:
    tokens: list[int] = (await (await client.post({"content": text}, "/tokenize")).json())["tokens"]
    return tokens


async def test_16_a_prompt_is_continued(client: Client) -> None:
    answer = await complete(client)
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"]
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 6


async def test_16_text_and_its_tokens_are_continued_alike(client: Client) -> None:
    tokens = await tokens_of(client, "Once upon")
    as_text, as_tokens = await complete(client), await complete(client, tokens)
    assert as_tokens["choices"] == as_text["choices"]


async def test_16_a_streamed_completion_is_the_whole_one(client: Client) -> None:
    whole = (await complete(client))["choices"][0]["text"]
    body = {"prompt": "Once upon", "max_tokens": 6, "temperature": 0, "stream": True}
    text = await (await client.post(body, "/v1/completions")).text()
    *lines, last = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert last == "[DONE]"
    choices = [json.loads(line)["choices"][0] for line in lines]
    assert "".join(choice["text"] for choice in choices) == whole
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]


async def test_16_a_prompt_beyond_the_context_is_refused(own: Client) -> None:
    response = await own.post({"prompt": "word " * 5000}, "/v1/completions")
    assert response.status == 400
    assert (await response.json())["error"]["type"] == "exceed_context_size_error"


@pytest.mark.parametrize("prompt", ["", [10**6], [[1], [10**6]]])
async def test_16_what_cannot_be_continued_is_refused(client: Client, prompt: object) -> None:
    response = await client.post({"prompt": prompt}, "/v1/completions")
    assert response.status == 400
    assert (await response.json())["error"]["param"] == "prompt"


@pytest.mark.parametrize("text", ["", "Turn on the lamp", "zwölf \N{SNOWMAN}\n  two", "<|im_start|>user"])
async def test_16_tokens_turn_back_into_their_text(client: Client, text: str) -> None:
    answer = await client.post({"tokens": await tokens_of(client, text)}, "/detokenize")
    assert await answer.json() == {"content": text}


async def test_16_what_is_no_token_is_refused(client: Client) -> None:
    response = await client.post({"tokens": [10**6]}, "/detokenize")
    assert response.status == 400
    assert (await response.json())["error"]["param"] == "tokens"


async def test_16_models_are_listed_and_found(client: Client) -> None:
    listed = await (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert listed["data"]
    for model in listed["data"]:
        assert {"id", "object", "created", "owned_by"} <= set(model)
        assert (await (await client.get(f"/v1/models/{model['id']}")).json())["id"] == model["id"]
    missing = await client.get("/v1/models/no-such-model")
    assert (missing.status, (await missing.json())["error"]["code"]) == (404, "model_not_found")
