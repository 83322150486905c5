"""POST /v1/completions, /tokenize and /detokenize: what is refused and where, and what comes back over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from zoe_server import errors, protocol
from zoe_server.catalogue.model_info import ModelInfo
from zoe_server.gateway.openai.answer import AnswerHead
from zoe_server.gateway.openai.completions import CompletionWriter, TextChoice, parse_completion, to_requests

if TYPE_CHECKING:
    import aiohttp

    from tests.server.gateway.conftest import Gateway


def translate(**fields: object) -> tuple[protocol.ChatRequest, ...]:
    return to_requests(parse_completion({"prompt": "hi", **fields}), "id", "m")


async def complete(gateway: Gateway, prompt: object = "hi", **fields: object) -> aiohttp.ClientResponse:
    return await gateway.client.post("/v1/completions", json={"prompt": prompt, **fields})


async def streamed(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    assert response.content_type == "text/event-stream"
    *blocks, last = [block.removeprefix("data: ") for block in (await response.text()).split("\n\n") if block]
    assert last == "[DONE]"
    return [json.loads(block) for block in blocks]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": ["a"] * 9}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"n": 1_000_000}, "n"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": 1, "echo": True}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"guided_json": {"type": "null"}}, "guided_json"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"best_of": 3}, "best_of"),
        ({"prompt": [1, 2], "echo": True}, "echo"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        translate(**fields)
    assert str(caught.value.param).startswith(param)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hi", ("hi",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
    ],
)
def test_a_prompt_is_a_text_or_tokens_or_several(prompt: object, expected: tuple[object, ...]) -> None:
    assert tuple(request.prompt for request in translate(prompt=prompt)) == expected


def test_every_prompt_has_its_choices_and_every_choice_its_seed() -> None:
    requests = translate(prompt=["a", "b"], n=2, seed=5, stop=["x"], temperature=0.5)
    assert [(request.prompt, request.sampling.seed) for request in requests] == [("a", 5), ("a", 6), ("b", 5), ("b", 6)]
    assert len({request.id for request in requests}) == 4
    assert {(request.max_tokens, request.stop, request.sampling.temperature) for request in requests} == {
        (16, ("x",), 0.5)
    }


async def test_a_whole_completion(gateway: Gateway) -> None:
    response = await complete(gateway)
    answer = await response.json()
    assert response.status == 200
    assert answer["id"].startswith("cmpl-")
    assert (answer["object"], answer["model"]) == ("text_completion", "m")
    assert answer["choices"] == [{"text": "Hello you", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (9, 2)
    assert gateway.engines[0].requests[0].prompt == "hi"


async def test_several_prompts_are_counted_once_each(gateway: Gateway) -> None:
    answer = await (await complete(gateway, ["one", "two"], n=2, echo=True)).json()
    assert [choice["text"] for choice in answer["choices"]] == ["oneHello you"] * 2 + ["twoHello you"] * 2
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 18
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["usage"]["total_tokens"] == 26


async def test_a_streamed_completion(gateway: Gateway) -> None:
    chunks = await streamed(
        await complete(gateway, ["one", "two"], stream=True, echo=True, stream_options={"include_usage": True})
    )
    *pieces, last = chunks
    assert {(chunk["id"], chunk["created"], chunk["object"]) for chunk in chunks} == {
        (chunks[0]["id"], chunks[0]["created"], "text_completion")
    }
    for index, expected in enumerate(["oneHello you", "twoHello you"]):
        own = [choice for chunk in pieces for choice in chunk["choices"] if choice["index"] == index]
        assert "".join(choice["text"] for choice in own) == expected
        assert [choice["finish_reason"] for choice in own] == [None] * (len(own) - 1) + ["stop"]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 22)
    assert all(chunk["usage"] is None for chunk in pieces)


async def test_a_failure_before_the_first_text_is_an_error_and_after_it_an_event(gateway: Gateway) -> None:
    response = await complete(gateway, "crash at once", stream=True)
    assert (response.status, response.content_type) == (503, "application/json")
    assert (await response.json())["error"]["message"]
    await gateway.state.fleet.settled()
    response = await complete(gateway, "crash after text", stream=True)
    body = (await response.read()).decode()
    assert response.status == 200
    assert '"error"' in body
    assert "[DONE]" not in body


@pytest.mark.parametrize("text", ["", "Lamp on", "Küche \N{SNOWMAN}", "<|im_start|>"])
async def test_tokens_and_back(gateway: Gateway, text: str) -> None:
    tokens = (await (await gateway.client.post("/tokenize", json={"content": text})).json())["tokens"]
    assert all(isinstance(token, int) for token in tokens)
    answer = await gateway.client.post("/detokenize", json={"tokens": tokens})
    assert await answer.json() == {"content": text}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "content"),
        ("/tokenize", {"content": 1}, "content"),
        ("/tokenize", {"content": "a", "with_pieces": True}, "with_pieces"),
        ("/detokenize", {"tokens": ["a"]}, "tokens[0]"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"tokens": [2**40]}, "tokens[0]"),
        ("/detokenize", {"tokens": [300]}, "tokens"),
    ],
)
async def test_wrong_tokens_are_refused_by_name(gateway: Gateway, path: str, body: object, param: str) -> None:
    response = await gateway.client.post(path, json=body)
    assert response.status == 400
    assert (await response.json())["error"]["param"] == param


async def test_tokens_of_an_unknown_model_are_404(gateway: Gateway) -> None:
    response = await gateway.client.post("/tokenize", json={"content": "a", "model": "other"})
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "model_not_found"


def drawn(text: bytes, other: bytes) -> protocol.DrawnToken:
    one, two = protocol.TokenProbability(tuple(text), -0.5), protocol.TokenProbability(tuple(other), -1.5)
    return protocol.DrawnToken(one, (one, two))


def test_probabilities_are_parallel_lists() -> None:
    events = protocol.Text("He", (drawn(b"He", b"x"),)), protocol.Text("llo", (drawn(b"l", b"y"), drawn(b"lo", b"z")))
    choice = TextChoice(0)
    for event in events:
        choice.add(event)
    assert choice.to_json()["logprobs"] == {
        "tokens": ["He", "l", "lo"],
        "token_logprobs": [-0.5, -0.5, -0.5],
        "top_logprobs": [{"He": -0.5, "x": -1.5}, {"l": -0.5, "y": -1.5}, {"lo": -0.5, "z": -1.5}],
        "text_offset": [0, 2, 3],
    }
    writer = CompletionWriter(AnswerHead("id", 1, "m"), [""], 1, include_usage=False)
    chunks = [chunk for event in events for chunk in writer.chunks(0, event)]
    assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks] == [[0], [2, 3]]


@pytest.mark.parametrize(("path", "body"), [("/tokenize", {"content": "hi"}), ("/detokenize", {"tokens": [1]})])
async def test_an_engine_without_a_tokenizer_is_not_asked_for_tokens(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, object]
) -> None:
    monkeypatch.setattr(type(gateway.engines[0]), "info", ModelInfo())
    response = await gateway.client.post(path, json=body)
    assert (response.status, (await response.json())["error"]["code"]) == (400, "unsupported_model")
