"""Calls without markers: what begins like one costs little to read, is given back in time, and an answer is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from zoe_server.llama import dialects
from zoe_server.llama.dialects.call_parser import MAX_HELD, REREADINGS
from zoe_server.llama.dialects.enclosed_call import EnclosedCall
from zoe_server.protocol import (
    AnswerSchema,
    ChatEvent,
    ChatRequest,
    Text,
    Tool,
    ToolCallArguments,
    ToolCallStart,
    ToolChoice,
)

LONG = "x" * (2 * MAX_HELD)
NAMED = '{"name": "on", "arguments": {}}'
NESTED = {
    "objects": '{"id":\n' * 345 + "1" + "}" * 345,
    "a string": "{\n" * 300 + f'"{LONG}\n',
    "lists": "[\n{\n" * 1000,
    "fences": "```json\n" * 1000,
    "white space in a fence": "```json\n" + " " * 3 * MAX_HELD + "x",
    "an open list": "[on(a=" + "[\n" * 60 + f'"{LONG}',
}


def events(name: str, text: str, size: int = 1, **more: Any) -> Iterator[list[ChatEvent]]:  # noqa: ANN401 -- any field
    request = ChatRequest("r", "m", (), **{"tools": (Tool("on"),), **more})
    parser = dialects.by_name(name).parser(request)
    for start in range(0, len(text), size):
        yield parser.feed(text[start : start + size])
    yield parser.close()


def read(name: str, text: str, size: int = 1, **more: Any) -> list[str]:  # noqa: ANN401 -- any field
    """Return the text around the calls, and the arguments of each call."""
    found = [""]
    for event in (event for some in events(name, text, size, **more) for event in some):
        if isinstance(event, ToolCallStart):
            found += ["", ""]
        elif isinstance(event, ToolCallArguments):
            found[-2] += event.text
        elif isinstance(event, Text):
            found[-1] += event.text
    return found


@pytest.mark.parametrize("name", ["hermes", "gemma", "llama3", "harmony"])
@pytest.mark.parametrize("case", NESTED)
def test_reading_takes_time_in_proportion_to_the_text(monkeypatch: pytest.MonkeyPatch, name: str, case: str) -> None:
    n_read = 0
    feed = EnclosedCall.feed

    def counted(self: EnclosedCall, char: str) -> bool:
        nonlocal n_read
        n_read += 1
        return feed(self, char)

    monkeypatch.setattr(EnclosedCall, "feed", counted)
    text, told, n_before = NESTED[case], "", 0
    for some in events(name, text):
        told += "".join(event.text for event in some if isinstance(event, Text))
        assert n_read - n_before <= 3 * MAX_HELD, "a single character takes too long"
        n_before = n_read
    assert told == text
    assert n_read <= (2 + REREADINGS) * len(text)


@pytest.mark.parametrize("case", NESTED)
def test_what_is_read_does_not_depend_on_the_cuts(case: str) -> None:
    assert read("hermes", NESTED[case], len(NESTED[case])) == read("hermes", NESTED[case], 7) == [NESTED[case]]


def test_text_that_names_no_tool_is_held_back_only_for_so_long() -> None:
    *_, last, _ = events("hermes", '{"id": "' + "x" * MAX_HELD)
    assert last


@pytest.mark.parametrize(
    ("name", "before", "behind"),
    [
        ("hermes", '{"name": "on", "arguments": {"a": "', '"}}'),
        ("gemma", '[on(a="', '")]'),
        ("gemma", '```tool_code\non(a="', '")\n```'),
        ("llama3", '{"name": "on", "parameters": {"a": "', '"}}'),
    ],
)
def test_a_long_call_of_a_tool_is_one(name: str, before: str, behind: str) -> None:
    assert read(name, before + LONG + behind) == ["", f'{{"a": "{LONG}"}}', ""]


def test_a_call_inside_objects_that_are_none() -> None:
    text = f'{{"id":\n{{"id":\n{NAMED}'
    assert read("hermes", text + "}}") == ['{"id":\n{"id":\n', "{}", "}}"]


MARKED = {
    "hermes": f"<tool_call>\n{NAMED}\n</tool_call>",
    "mistral": f"[TOOL_CALLS][{NAMED}]",
    "harmony": "<|channel|>commentary to=functions.on<|message|>{}<|call|>",
    "functionary-v3.1": "<function=on>{}</function>",
}
HEADERS = {"harmony": "<|channel|>final<|message|>"}
WANTED = AnswerSchema({"type": "object", "properties": {"name": {"type": "string"}}}, "response_format")


@pytest.mark.parametrize("name", MARKED)
@pytest.mark.parametrize("tool_choice", [ToolChoice(), ToolChoice("required")])
def test_where_a_schema_is_wanted_only_a_marked_call_is_one(name: str, tool_choice: ToolChoice) -> None:
    answer = HEADERS.get(name, "") + NAMED
    assert read(name, answer, tool_choice=tool_choice, answer_schema=WANTED) == [NAMED]
    assert read(name, MARKED[name], answer_schema=WANTED) == ["", "{}", ""]
    assert read(name, answer) == ["", "{}", ""]


def test_where_a_schema_is_wanted_its_answer_is_not_held_back() -> None:
    for some, char in zip(events("hermes", NAMED, answer_schema=WANTED), NAMED, strict=False):
        assert some == [Text(char)]


@pytest.mark.parametrize("name", ["llama3", "json", "gemma"])
def test_a_dialect_without_markers_calls_without_them(name: str) -> None:
    assert read(name, NAMED, answer_schema=WANTED) == ["", "{}", ""]
