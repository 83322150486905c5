"""A server may send anything as a part of an answer: it is of the right shape, or the answer is broken."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.api.errors import ZoeError, ZoeServerError, ZoeStreamBrokenError
from custom_components.zoe.api.sse import decoded_chunk
from custom_components.zoe.turn.stats import TurnStats
from custom_components.zoe.turn.stream import StreamRules, chat_log_deltas

CALL = {"index": 0, "id": "c0", "type": "function", "function": {"name": "turn_on", "arguments": "{}"}}
WHOLE = {
    "model": "m",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi", "tool_calls": [CALL]}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}},
    "timings": {"total_ms": 3.0},
}


def with_delta(**delta: object) -> dict[str, Any]:
    return {"choices": [{"delta": delta}]}


@pytest.mark.parametrize(
    "chunk",
    [
        WHOLE,
        {"choices": [{}]},
        {"choices": [{"delta": None, "finish_reason": "stop"}], "usage": None, "timings": None, "model": None},
        with_delta(content=None, reasoning_content=None, tool_calls=None),
        with_delta(tool_calls=[{"index": 0, "id": None, "function": None}]),
        {"usage": {"prompt_tokens": None, "prompt_tokens_details": None}},
    ],
)
def test_what_servers_send(chunk: dict[str, Any]) -> None:
    assert decoded_chunk(json.dumps(chunk)) == {"choices": [], **chunk}


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [{"delta": "Hi"}]},
        with_delta(content=["Hi"]),
        with_delta(content=5),
        with_delta(reasoning_content={}),
        with_delta(tool_calls={}),
        with_delta(tool_calls=["turn_on"]),
        with_delta(tool_calls=[{**CALL, "index": "0"}]),
        with_delta(tool_calls=[{**CALL, "index": None}]),
        with_delta(tool_calls=[{**CALL, "id": 7}]),
        with_delta(tool_calls=[{**CALL, "function": "turn_on"}]),
        with_delta(tool_calls=[{**CALL, "function": {"name": "turn_on", "arguments": {}}}]),
        {"usage": [1]},
        {"usage": {"prompt_tokens": "9"}},
        {"usage": {"prompt_tokens_details": 8}},
        {"usage": {"prompt_tokens_details": {"cached_tokens": "8"}}},
        {"timings": 3},
        {"model": 1},
        {"choices": {}},
        {"choices": [None]},
    ],
)
def test_what_breaks_an_answer(chunk: dict[str, Any]) -> None:
    with pytest.raises(ZoeStreamBrokenError):
        decoded_chunk(json.dumps(chunk))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(ZoeStreamBrokenError):
        decoded_chunk(text)


@pytest.mark.parametrize("error", [None, "oops", {}, {"type": ["x"], "message": 3}])
def test_an_error_is_one_whatever_it_says(error: object) -> None:
    with pytest.raises(ZoeServerError):
        decoded_chunk(json.dumps({"error": error}))


NAMES = ["choices", "delta", "content", "tool_calls", "function", "arguments", "index", "id", "usage", "prompt_tokens"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "x", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
CHUNKS = st.fixed_dictionaries(
    {},
    optional={"choices": st.lists(st.fixed_dictionaries({}, optional={"delta": VALUES}), max_size=2), "usage": VALUES},
)


@given(st.lists(CHUNKS, max_size=3))
async def test_whatever_passes_can_be_read_to_its_end(chunks: list[dict[str, Any]]) -> None:
    async def decoded() -> AsyncIterator[dict[str, Any]]:
        for chunk in chunks:
            yield decoded_chunk(json.dumps(chunk))

    turn = TurnStats(lambda: 0.0)
    try:
        async for _ in chat_log_deltas(decoded(), turn, StreamRules(("t",), speech_language="en")):
            pass
    except ZoeError:
        return
    assert turn.as_event_data("c", "a")["requests"] == 1
