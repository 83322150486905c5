"""From events to Ollama's form, whole and in records."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server import protocol
from zoe_server.gateway.ollama.answers import (
    OllamaWriter,
    Part,
    PartReader,
    chat_form,
    generate_form,
    timestamp,
)

NOW = datetime(2026, 10, 4, 12, 30, tzinfo=UTC)
HEAD = {"model": "zoe:latest", "created_at": "2026-10-04T12:30:00.000000Z"}
FINISH = protocol.Finish("tool_calls", protocol.Usage(9, 8, 2), protocol.Timings(0.001, 0.0025, 0.5))
CHAT = OllamaWriter("zoe:latest", chat_form, now=lambda: NOW)
GENERATE = OllamaWriter("zoe:latest", generate_form, now=lambda: NOW)


def read(*events: protocol.ChatEvent, shows_thinking: bool = True) -> list[Part]:
    reader = PartReader(shows_thinking=shows_thinking)
    return [part for event in events if (part := reader.read(event)) is not None]


def call(index: int, call_id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"id": call_id, "function": {"index": index, "name": name, "arguments": arguments}}


def test_the_record_of_a_piece_and_the_last_one() -> None:
    assert CHAT.record(Part("On")) == {**HEAD, "message": {"role": "assistant", "content": "On"}, "done": False}
    assert CHAT.last(Part(), FINISH) == {
        **HEAD,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "total_duration": 500_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": 9,
        "prompt_eval_duration": 1_500_000,
        "eval_count": 2,
        "eval_duration": 497_500_000,
    }


def test_the_same_for_a_prompt() -> None:
    assert GENERATE.record(Part("On")) == {**HEAD, "response": "On", "done": False}
    assert GENERATE.record(Part(thinking="hm")) == {**HEAD, "response": "", "thinking": "hm", "done": False}
    assert GENERATE.last(Part("So"), FINISH)["response"] == "So"


def test_nothing_to_answer() -> None:
    assert CHAT.empty("load") == {
        **HEAD,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "load",
    }


def test_the_reason_of_an_answer_that_was_cut() -> None:
    assert CHAT.last(Part(), protocol.Finish("length"))["done_reason"] == "length"


def test_clocks_that_disagree_give_no_negative_duration() -> None:
    last = CHAT.last(Part(), protocol.Finish("stop", timings=protocol.Timings(0.2, 0.1, 0.05)))
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (0, 0)


def test_a_call_is_one_part_as_soon_as_it_is_complete() -> None:
    reader = PartReader(shows_thinking=True)
    assert reader.read(protocol.ToolCallStart(0, "c0", "turn_on")) is None
    assert reader.read(protocol.ToolCallArguments(0, '{"name": {"a": 1}')) is None
    complete = reader.read(protocol.ToolCallArguments(0, "}"))
    assert complete == Part(calls=(call(0, "c0", "turn_on", {"name": {"a": 1}}),))
    assert reader.read(protocol.ToolCallArguments(0, "\n")) is None
    assert CHAT.record(complete)["message"] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [call(0, "c0", "turn_on", {"name": {"a": 1}})],
    }


@pytest.mark.parametrize("arguments", ["", '{"name": ', "[1]", "}", "{" * 100_000 + "}"])
def test_a_call_that_was_cut_off_is_none(arguments: str) -> None:
    assert read(protocol.ToolCallStart(0, "c", "f"), protocol.ToolCallArguments(0, arguments), FINISH) == []


def test_reasoning_stands_apart_or_is_left_out() -> None:
    events = (protocol.Reasoning("h"), protocol.Reasoning("m"), protocol.Text("so"))
    whole = sum(read(*events), Part())
    assert chat_form(whole)["message"] == {"role": "assistant", "content": "so", "thinking": "hm"}
    assert read(*events, shows_thinking=False) == [Part("so")]


LOGPROBS = [
    {
        "token": "On",
        "logprob": -0.5,
        "bytes": [79, 110],
        "top_logprobs": [
            {"token": "On", "logprob": -0.5, "bytes": [79, 110]},
            {"token": "\ufffd", "logprob": -1.5, "bytes": [195]},
        ],
    }
]
"""What is told of `ON`."""
ON = protocol.DrawnToken(
    protocol.TokenProbability((79, 110), -0.5),
    (protocol.TokenProbability((79, 110), -0.5), protocol.TokenProbability((195,), -1.5)),
)


@pytest.mark.parametrize("writer", [CHAT, GENERATE])
def test_a_record_has_the_probabilities_of_its_tokens(writer: OllamaWriter) -> None:
    told = json.loads(writer.chunk(0, protocol.Text("On", (ON,))))
    assert told["logprobs"] == LOGPROBS
    assert "logprobs" not in json.loads(writer.chunk(0, protocol.Text("On")))
    whole = writer.whole([(0, protocol.Text("On", (ON,))), (0, protocol.Text("On", (ON,))), (0, FINISH)])
    assert whole["logprobs"] == LOGPROBS * 2


def test_every_moment_is_written_in_utc() -> None:
    moment = datetime(2026, 10, 4, 14, 30, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(moment) == HEAD["created_at"]


ARGUMENTS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=3)
CUTS = st.lists(st.integers(0, 200), max_size=5)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(ARGUMENTS, CUTS), max_size=3))
def test_calls_do_not_depend_on_where_they_were_cut(calls: list[tuple[dict[str, Any], list[int]]]) -> None:
    events: list[protocol.ChatEvent] = []
    for index, (arguments, cuts) in enumerate(calls):
        text = json.dumps(arguments)
        ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
        events.append(protocol.ToolCallStart(index, f"c{index}", "f"))
        pieces = zip([0, *ends], ends, strict=False)
        events += [protocol.ToolCallArguments(index, text[start:end]) for start, end in pieces]
    expected = tuple(call(index, f"c{index}", "f", arguments) for index, (arguments, _) in enumerate(calls))
    assert sum(read(*events), Part()).calls == expected
