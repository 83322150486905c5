"""Lines 1 to 13 of the behaviours: what a request may be, and what its answer is."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conformance.conftest import Client, ZoeProcess

USER = {"role": "user", "content": "Hello"}
LONG = "Count from one to one hundred, in words"
ENDS = ("length", "stop")


def text(answer: dict[str, Any]) -> str:
    content = answer["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


async def test_1_health_is_503_while_loading_and_then_ok(
    serve: Callable[..., Any], configure: Callable[..., Path], connect: Callable[[ZoeProcess], Client]
) -> None:
    with serve(configure(), wait=False) as process:
        client = connect(process)
        seen: list[tuple[int, dict[str, Any]]] = []
        async with asyncio.timeout(60):
            while not seen or seen[-1][0] != 200:
                seen.append(await client.health())
                await asyncio.sleep(0.02)
        assert seen[0][0] == 503
        assert seen[0][1]["error"]["type"] == "unavailable_error"
        assert (seen[-1][1]["status"], seen[-1][1]["server"]) == ("ok", "zoe")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"42", b"null", b"\xff", b'{"messages": [{"role": "user"'])
async def test_2_a_body_that_is_no_object_is_refused(client: Client, raw: bytes) -> None:
    response = await client.http.post(client.url + "/v1/chat/completions", data=raw)
    assert response.status == 400
    assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_2_the_content_type_does_not_matter(client: Client) -> None:
    raw = json.dumps({"model": client.model, "messages": [USER], "max_tokens": 1}).encode()
    headers = {"Content-Type": "text/plain"}
    async with client.http.post(client.url + "/v1/chat/completions", data=raw, headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ("Hello", "messages"),
        ([], "messages"),
        ([123], "messages[0]"),
        ([{}], "messages[0].role"),
        ([USER, {"role": "wizard", "content": "x"}], "messages[1].role"),
    ],
)
async def test_3_wrong_messages_are_named_by_their_path(client: Client, messages: object, param: str) -> None:
    status, error = await client.refusal({"messages": messages})
    assert (status, error["param"]) == (400, param)


async def test_4_text_parts_are_like_the_joined_string(client: Client) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    joined = await client.chat("Hello")
    split = await client.chat(messages=[{"role": "user", "content": parts}])
    assert text(split) == text(joined)
    assert split["usage"]["prompt_tokens"] == joined["usage"]["prompt_tokens"]


@pytest.mark.parametrize("arguments", ["", "{}", '{"name": "Lamp"}', "not json"])
@pytest.mark.parametrize("answered", ["c1", "other", None])
async def test_4_5_history_with_tool_calls_is_fine(client: Client, arguments: str, answered: str | None) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "turn_on", "arguments": arguments}}
    history = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": answered, "content": '{"success": true}'},
    ]
    assert (await client.chat(messages=history))["choices"][0]["finish_reason"] in ENDS


async def test_5_a_tool_message_out_of_nowhere_is_handled(client: Client) -> None:
    answer = await client.chat(messages=[{"role": "tool", "content": "x"}, USER])
    assert answer["choices"][0]["finish_reason"] in ENDS


async def test_6_an_unknown_model_is_404_with_those_that_exist(client: Client) -> None:
    status, error = await client.refusal({"model": "gpt-9", "messages": [USER]})
    assert (status, error["code"]) == (404, "model_not_found")
    models = (await (await client.get("/v1/models")).json())["data"]
    assert all(model["id"] in error["message"] for model in models)


@pytest.mark.parametrize("name", ["zoe", "random", "old:name", None])
async def test_6_every_known_name_answers(own: Client, name: str | None) -> None:
    assert (await own.chat(model=name))["model"] == "random"


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": "hot"},
        {"temperature": -1},
        {"temperature": 100},
        {"top_p": 2},
        {"top_k": -5},
        {"max_tokens": -1},
        {"max_tokens": 10**20},
        {"max_tokens": "8"},
        {"n": -1},
        {"stop": 5},
        {"seed": "x"},
        {"presence_penalty": 1e9},
    ],
)
async def test_6_wrong_types_and_absurd_numbers_are_refused(client: Client, fields: dict[str, object]) -> None:
    status, error = await client.refusal({"messages": [USER], **fields})
    assert (status, error["param"]) == (400, next(iter(fields)))


async def test_6_nan_is_refused_and_unknown_fields_are_ignored(client: Client) -> None:
    raw = b'{"messages": [{"role": "user", "content": "Hello"}], "temperature": NaN}'
    async with client.http.post(client.url + "/v1/chat/completions", data=raw) as response:
        assert response.status == 400
    assert text(await client.chat(user="me", unheard_of={"a": 1})) == text(await client.chat())


async def test_7_two_choices_are_both_complete(client: Client) -> None:
    answer = await client.chat(n=2, temperature=1.0, seed=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert all(choice["finish_reason"] in ENDS for choice in answer["choices"])
    assert 2 <= answer["usage"]["completion_tokens"] <= 16
    status, error = await client.refusal({"messages": [USER], "n": 1_000_000})
    assert (status, error["param"]) == (400, "n")


async def test_8_a_body_beyond_the_limit_is_413(own: Client) -> None:
    response = await own.http.post(own.url + "/v1/chat/completions", data=io.BytesIO(b" " * (9 << 20)))
    assert response.status == 413
    assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_8_more_requests_than_the_queue_holds_are_429(
    serve: Callable[..., Any], configure: Callable[..., Path], connect: Callable[[ZoeProcess], Client]
) -> None:
    with serve(configure(server="queue_limit = 2")) as process:
        client = connect(process)
        held = [asyncio.create_task(client.post({"messages": [USER]})) for _ in range(4 + 2)]
        await client.until_busy("random", open_requests=6)
        response = await client.post({"messages": [USER]})
        assert response.status == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert (await response.json())["error"]["type"] == "rate_limit_error"
        for one in held:
            one.cancel()
        await client.until_busy("random", open_requests=0)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_9_the_token_limit_is_kept(client: Client, name: str) -> None:
    fields: dict[str, Any] = {"max_tokens": None, name: 5}
    answer = await client.chat(LONG, **fields)
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 5)


async def test_9_no_tokens_wanted_computes_the_prompt_only(client: Client) -> None:
    said = "A sentence that nobody has said before to this server"
    primed = await client.chat(said, max_tokens=0)
    assert (text(primed), primed["usage"]["completion_tokens"]) == ("", 0)
    answer = await client.chat(said)
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == primed["usage"]["prompt_tokens"] - 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("as_list", [False, True])
async def test_10_text_ends_before_the_stop_string(client: Client, stream: bool, as_list: bool) -> None:
    whole = text(await client.chat(LONG, max_tokens=40))
    stop = whole[17:24]  # cut anywhere, so that it lies across tokens
    wanted = whole[: whole.index(stop)]
    stops: object = ["never said at all", stop] if as_list else stop
    if stream:
        chunks = await client.stream(LONG, max_tokens=40, stop=stops)
        found = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        reason = chunks[-1]["choices"][0]["finish_reason"]
    else:
        answer = await client.chat(LONG, max_tokens=40, stop=stops)
        found, reason = text(answer), answer["choices"][0]["finish_reason"]
    assert (found, reason) == (wanted, "stop")


@pytest.mark.parametrize("stream", [False, True])
async def test_11_a_prompt_beyond_the_context_is_refused(own: Client, stream: bool) -> None:
    messages = [{"role": "user", "content": "kitchen light " * 3000}]
    status, error = await own.refusal({"messages": messages, "stream": stream})
    assert (status, error["type"]) == (400, "exceed_context_size_error")
    assert error["n_prompt_tokens"] > error["n_ctx"] == 2048
    assert "exceeds the available context size" in error["message"]


async def test_12_a_context_that_fills_up_is_an_end_by_length(own: Client) -> None:
    answer = await own.chat("kitchen light " * 900, max_tokens=None)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] in (2048, 2049)


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"temperature": 1.0, "seed": 42}])
async def test_13_the_same_request_gets_the_same_text_whole_and_streamed(
    client: Client, fields: dict[str, Any]
) -> None:
    whole = [text(await client.chat(max_tokens=30, **fields)) for _ in range(2)]
    chunks = await client.stream(max_tokens=30, **fields)
    streamed = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert whole == [streamed, streamed]
    assert streamed


async def test_13_another_seed_gets_another_text(own: Client) -> None:
    texts = {text(await own.chat(max_tokens=30, temperature=1.0, seed=seed)) for seed in range(3)}
    assert len(texts) == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_14_probabilities_of_the_tokens_and_of_their_rivals(client: Client, stream: bool) -> None:
    fields: dict[str, Any] = {"logprobs": True, "top_logprobs": 5, "temperature": 0}
    if stream:
        choices = [chunk["choices"][0] for chunk in await client.stream(**fields)]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
    else:
        choices = (await client.chat(**fields))["choices"]
        text = choices[0]["message"]["content"]
    entries = [entry for choice in choices if choice["logprobs"] for entry in choice["logprobs"]["content"]]
    assert len(entries) == 8
    assert b"".join(bytes(entry["bytes"]) for entry in entries).decode(errors="replace") == text
    for entry in entries:
        assert [other["logprob"] for other in entry["top_logprobs"]] == sorted(
            (other["logprob"] for other in entry["top_logprobs"]), reverse=True
        )
        assert len(entry["top_logprobs"]) == 5
        assert entry["logprob"] <= 0


async def test_14_more_than_twenty_are_refused_and_the_server_goes_on(client: Client) -> None:
    message = {"messages": [{"role": "user", "content": "x"}], "logprobs": True, "top_logprobs": 21}
    status, error = await client.refusal(message)
    assert (status, error["param"]) == (400, "top_logprobs")
    await client.chat()
