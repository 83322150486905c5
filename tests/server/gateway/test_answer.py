"""From events to the OpenAI form, whole and in chunks."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server import codec, protocol
from zoe_server.gateway.openai.answer import AnswerHead
from zoe_server.gateway.openai.chat import ChatWriter

HEAD = AnswerHead("id", 17, "m")
FINISH = protocol.Finish("stop", protocol.Usage(9, 8, 2), protocol.Timings(0.001, 0.0025, 0.5))


def whole(*events: protocol.ChatEvent) -> dict[str, Any]:
    return ChatWriter(HEAD).whole([(0, event) for event in events])


def streamed(*events: tuple[int, protocol.ChatEvent], n: int = 1, include_usage: bool = False) -> list[dict[str, Any]]:
    writer = ChatWriter(HEAD, n, include_usage=include_usage)
    return [chunk for index, event in events for chunk in writer.chunks(index, event)]


def test_a_whole_text_answer() -> None:
    assert whole(protocol.Started(9, 8), protocol.Text("He"), protocol.Text("llo"), FINISH) == {
        "id": "id",
        "object": "chat.completion",
        "created": 17,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 2,
            "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 8},
        },
        "timings": {"queue_ms": 1.0, "first_token_ms": 2.5, "total_ms": 500.0},
    }


def test_calls_without_text_have_no_content() -> None:
    answer = whole(protocol.ToolCallStart(0, "c", "f"), protocol.ToolCallArguments(0, "{}"), FINISH)
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


def test_reasoning_stands_apart() -> None:
    message = whole(protocol.Reasoning("h"), protocol.Reasoning("m"), protocol.Text("so"), FINISH)["choices"][0][
        "message"
    ]
    assert (message["content"], message["reasoning_content"]) == ("so", "hm")


def test_an_empty_answer_is_an_empty_string() -> None:
    assert whole(FINISH)["choices"][0]["message"]["content"] == ""


def test_the_first_chunk_brings_the_role_and_the_last_the_reason() -> None:
    chunks = streamed((0, protocol.Started(9, 8)), (0, protocol.Text("Hi")), (0, FINISH))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert {(chunk["id"], chunk["created"], chunk["object"]) for chunk in chunks} == {
        ("id", 17, "chat.completion.chunk")
    }
    assert chunks[-1]["timings"]["total_ms"] == 500.0
    assert "usage" not in chunks[-1]


def test_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    *others, last = streamed((0, protocol.Text("Hi")), (0, FINISH), include_usage=True)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 11)
    assert [chunk["usage"] for chunk in others] == [None] * 3


def test_an_answer_without_a_word_still_has_role_and_reason() -> None:
    assert len(streamed((0, protocol.Started(1, 0)), (0, FINISH))) == 2


PIECES = st.lists(
    st.builds(protocol.Text, st.text(min_size=1)) | st.builds(protocol.Reasoning, st.text(min_size=1)), max_size=6
)
CALLS = st.lists(st.lists(st.text(), max_size=3), max_size=3)


@settings(deadline=None)  # the machine may be busy
@given(PIECES, CALLS)
def test_streamed_and_whole_say_the_same(pieces: list[protocol.ChatEvent], calls: list[list[str]]) -> None:
    events = list(pieces)
    for index, texts in enumerate(calls):
        events.append(protocol.ToolCallStart(index, f"c{index}", f"f{index}"))
        events += [protocol.ToolCallArguments(index, text) for text in texts]
    chunks = streamed(*((0, event) for event in [*events, FINISH]))
    message = whole(*events, FINISH)["choices"][0]["message"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == (message["content"] or "")
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == message.get("reasoning_content", "")
    collected: dict[int, dict[str, Any]] = {}
    for call in (call for delta in deltas for call in delta.get("tool_calls", [])):
        known = collected.setdefault(call["index"], {**call, "function": {**call["function"], "arguments": ""}})
        known["function"]["arguments"] += call["function"]["arguments"]
    plain = [{key: call[key] for key in ("id", "type", "function")} for call in collected.values()]
    assert plain == message.get("tool_calls", [])


def test_choices_are_told_apart_and_the_prompt_counts_once() -> None:
    other = protocol.Finish("length", protocol.Usage(9, 0, 3), protocol.Timings(0.1, 0.2, 0.3))
    events: list[tuple[int, protocol.ChatEvent]] = [
        (1, protocol.Text("b")),
        (0, protocol.Text("a")),
        (1, other),
        (0, FINISH),
    ]
    chunks = streamed(*events, n=2, include_usage=True)
    for index, reason in ((0, "stop"), (1, "length")):
        mine = [chunk["choices"][0] for chunk in chunks[:-1] if chunk["choices"][0]["index"] == index]
        assert [choice["delta"].get("role") for choice in mine] == ["assistant", None, None]
        assert mine[-1]["finish_reason"] == reason
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def token(text: bytes, *others: bytes) -> protocol.DrawnToken:
    one, *top = (protocol.TokenProbability(tuple(data), -0.5) for data in (text, *others))
    return protocol.DrawnToken(one, tuple(top))


def test_probabilities_are_told_whole_and_with_the_piece_that_they_belong_to() -> None:
    texts = protocol.Text("He", (token(b"He", b"He", b"\xff"),)), protocol.Text("llo", (token(b"llo"),))
    entries = [
        {
            "token": "He",
            "logprob": -0.5,
            "bytes": [72, 101],
            "top_logprobs": [
                {"token": "He", "logprob": -0.5, "bytes": [72, 101]},
                {"token": "\ufffd", "logprob": -0.5, "bytes": [255]},
            ],
        },
        {"token": "llo", "logprob": -0.5, "bytes": [108, 108, 111], "top_logprobs": []},
    ]
    assert whole(*texts, FINISH)["choices"][0]["logprobs"] == {"content": entries, "refusal": None}
    chunks = streamed(*((0, event) for event in (*texts, FINISH)))
    assert [chunk["choices"][0]["logprobs"] for chunk in chunks] == [
        None,
        {"content": entries[:1], "refusal": None},
        {"content": entries[1:], "refusal": None},
        None,
    ]


def test_events_with_probabilities_survive_the_wire() -> None:
    event = protocol.Text("He", (token(b"He", b"x"), token(b"\xff")))
    assert codec.decode_event(json.loads(json.dumps(codec.encode_event(event)))) == event


def test_a_call_that_was_cut_off_is_left_out_of_a_whole_answer() -> None:
    cut = protocol.Finish("length", protocol.Usage(9, 8, 2))
    done = (protocol.ToolCallStart(0, "c", "f"), protocol.ToolCallArguments(0, "{}"))
    half = (protocol.ToolCallStart(1, "d", "f"), protocol.ToolCallArguments(1, '{"a'))
    message = whole(*done, *half, cut)["choices"][0]["message"]
    assert [call["id"] for call in message["tool_calls"]] == ["c"]
    half = (protocol.ToolCallStart(0, "d", "f"), protocol.ToolCallArguments(0, '{"a'))
    assert whole(*half, cut)["choices"][0]["message"] == {"role": "assistant", "content": ""}
