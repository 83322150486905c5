"""Transcripts of models, each read back whole, character by character, and cut at every point."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.llama.dialects.base import Dialect
from zoe_server.llama.dialects.call_dialect import new_call_id
from zoe_server.llama.dialects.hermes import Hermes
from zoe_server.llama.dialects.plain import Plain
from zoe_server.protocol import (
    ChatEvent,
    ChatRequest,
    Reasoning,
    Text,
    Tool,
    ToolCallArguments,
    ToolCallStart,
    ToolChoice,
)

TOOLS = (Tool("on"), Tool("off"), Tool("ü"))
CALL = '<tool_call>\n{"name": "on", "arguments": {"name": "Lamp"}}\n</tool_call>'

LAMP_ON = ("call", "on", '{"name": "Lamp"}')

Expected = list[tuple[str, ...]]
"""`(kind, text)`, or `("call", name, arguments)`; arguments that do not parse are those of a void call."""

SAME: Expected = []
"""All of the transcript is text."""

TRANSCRIPTS: dict[str, tuple[str, Expected]] = {
    "text": ("Hello.", [("text", "Hello.")]),
    "nothing": ("", []),
    "call": (CALL, [LAMP_ON]),
    "text and two calls": (
        f'On it.\n{CALL}\n<tool_call>\n{{"name": "off", "arguments": {{}}}}\n</tool_call>\n',
        [("text", "On it.\n"), LAMP_ON, ("text", "\n"), ("call", "off", "{}"), ("text", "\n")],
    ),
    "no white space": (
        '<tool_call>{"name":"on","arguments":{"a":[1,{"b":2}]}}</tool_call>', [("call", "on", '{"a":[1,{"b":2}]}')],
    ),
    "much white space": (
        '<tool_call> \n {  "name" :\t"on" ,\n "arguments" : { "a" : 1 } \n}\n\n </tool_call>',
        [("call", "on", '{ "a" : 1 }')],
    ),
    "brackets and markers in strings": (
        '<tool_call>{"name": "on", "arguments": {"a": "}]\\"</tool_call>{\\\\"}}</tool_call>',
        [("call", "on", '{"a": "}]\\"</tool_call>{\\\\"}')],
    ),
    "escaped name": ('<tool_call>{"name": "\\u00fc", "arguments": {}}</tool_call>', [("call", "ü", "{}")]),
    "arguments first": (
        '<tool_call>{"arguments": {"a": "ä"}, "name": "on"}</tool_call>', [("call", "on", '{"a": "ä"}')],
    ),
    "more keys": (
        '<tool_call>{"name": "on", "arguments": {"a": 1}, "id": {"b": 2}}</tool_call>',
        [("call", "on", '{"a": 1}')],
    ),
    "key in between": (
        '<tool_call>{"name": "on", "id": 7, "arguments": {"a": 1}}</tool_call>',
        [("call", "on", '{"a": 1}')],
    ),
    "arguments as a string": (
        '<tool_call>{"name": "on", "arguments": "{\\"a\\": 1}"}</tool_call>',
        [("call", "on", '{"a": 1}')],
    ),
    "empty arguments": ('<tool_call>{"name": "on", "arguments": ""}</tool_call>', [("call", "on", "{}")]),
    "no arguments": ('<tool_call>{"name": "on"}</tool_call>', [("call", "on", "{}")]),
    "no end marker": (f'{CALL[:-12]}{CALL} bye', [LAMP_ON, ("text", "\n"), LAMP_ON, ("text", " bye")]),
    "half an end marker": (f"{CALL[:-2]}", [LAMP_ON]),
    "text after a call": (f"{CALL}\nDone.", [LAMP_ON, ("text", "\nDone.")]),
    "end marker alone": ("a</tool_call>b", [("text", "a</tool_call>b")]),
    "two end markers": (f"{CALL}</tool_call>", [LAMP_ON, ("text", "</tool_call>")]),
    "almost a marker": ("a <tool_cal> <<tool> <tool_call", [("text", "a <tool_cal> <<tool> <tool_call")]),
    "unknown tool": ('<tool_call>{"name": "fly", "arguments": {"a": 1}}</tool_call>!', SAME),
    "unknown tool, arguments first": ('<tool_call>{"arguments": {}, "name": "fly"}</tool_call>!', SAME),
    "name is no string": ('<tool_call>{"name": 1, "arguments": {}}</tool_call>', SAME),
    "no JSON": ("<tool_call>\nturn_on(lamp)\n</tool_call>", SAME),
    "a list": ('<tool_call>["on"]</tool_call>', SAME),
    "arguments are a list": ('<tool_call>{"name": "on", "arguments": [1]}</tool_call>', SAME),
    "not a number": ('<tool_call>{"arguments": {"a": NaN}, "name": "on"}</tool_call>', SAME),
    "too deep": ('<tool_call>{"name": "on", "a": ' + "[" * 500, SAME),
    "wrong bracket": ('<tool_call>{"name": "on"]}</tool_call>', SAME),
    "line break in a string": ('<tool_call>{"name": "on\n"}</tool_call>', SAME),
    "ends inside": ('<tool_call>{"name": "o', SAME),
    "marker twice": (f"<tool_call>\n{CALL}", [("text", "<tool_call>\n"), LAMP_ON]),
    "void call": (
        f'<tool_call>{{"name": "off", "arguments": {{"a": 1,}}}}</tool_call>{CALL}',
        [
            ("call", "off", '{"a": 1,'),
            ("text", '<tool_call>{"name": "off", "arguments": {"a": 1,}}</tool_call>'),
            LAMP_ON,
        ],
    ),
    "call that breaks off": (
        '<tool_call>{"name": "off", "arguments": {"a": "b\n',
        [("call", "off", '{"a": "b'), ("text", '<tool_call>{"name": "off", "arguments": {"a": "b\n')],
    ),
    "reasoning": (
        f"<think>\nThe <lamp>.\n</think>\n\nYes.{CALL}",
        [("reasoning", "\nThe <lamp>.\n"), ("text", "\n\nYes."), LAMP_ON],
    ),
    "reasoning without end": ("\n<think>hm </thin", [("text", "\n"), ("reasoning", "hm </thin")]),
    "call inside reasoning": (
        f"<think>hm {CALL} so</think>",
        [("reasoning", "hm "), LAMP_ON, ("text", " so</think>")],
    ),
    "think later": ("The tag <think> opens </think>.", SAME),
    "lone end of reasoning": ("So.</think>Yes.", SAME),
    "lone end of reasoning, nothing before it": ("\n</think>Yes.</think>", [("text", "\nYes.</think>")]),
}  # fmt: skip


def request(**more: Any) -> ChatRequest:  # noqa: ANN401 -- any field
    return ChatRequest(**{"id": "r", "model": "m", "messages": (), "tools": TOOLS} | more)


def read(pieces: Sequence[str], dialect: Dialect | None = None, truncated: bool = False, **more: Any) -> Expected:  # noqa: ANN401
    """Return what a parser makes of the pieces, put together."""
    ids = itertools.count()
    dialect = dialect or Hermes(call_ids=lambda: f"call_{next(ids)}")
    opened = more.pop("reasoning_open", False)
    parser = dialect.parser(request(**more), reasoning_open=opened)
    events = [event for piece in pieces for event in parser.feed(piece)] + parser.close(truncated=truncated)
    return list(together(events))


def together(events: Sequence[ChatEvent]) -> Iterator[tuple[str, ...]]:
    """Yield the events with their pieces put together; ids and indexes count from 0."""
    indexes = iter(range(len(events)))
    for kind, group in itertools.groupby(events, key=lambda e: (type(e).__name__, getattr(e, "index", 0))):
        members = list(group)
        first = members[0]
        if isinstance(first, ToolCallStart):
            assert (first.index, first.call_id) == (number := next(indexes), f"call_{number}")
            name = first.name
        elif isinstance(first, ToolCallArguments):
            yield "call", name, "".join(event.text for event in members if isinstance(event, ToolCallArguments))
        else:
            yield kind[0].lower(), "".join(event.text for event in members if isinstance(event, Text | Reasoning))


@pytest.mark.parametrize("case", TRANSCRIPTS)
def test_transcript_cut_at_every_point(case: str) -> None:
    text, expected = TRANSCRIPTS[case]
    if expected is SAME:
        expected = [("text", text)]
    assert read([text]) == expected
    assert read(list(text)) == expected
    for cut in range(1, len(text)):
        assert read([text[:cut], text[cut:]]) == expected


@given(st.data(), st.sampled_from(sorted(TRANSCRIPTS)))
@settings(max_examples=150, deadline=None)
def test_transcript_in_random_pieces(data: st.DataObject, case: str) -> None:
    text, _ = TRANSCRIPTS[case]
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    assert read(pieces) == read([text])


MARKUP = st.sampled_from(
    [
        *(
            "<tool_call>",
            "</tool_call>",
            "<think>",
            "</think>",
            "<",
            "{",
            "}",
            '"',
            "\n",
            " ",
            "a",
            "\\",
            "[",
            "]",
            ",",
            "é",
        ),
        *('{"name": "on", "arguments": {', '{"name": "on"', '"arguments": {"a": 1}', ', "name": "off"', ": "),
    ]
)


@given(st.lists(MARKUP, max_size=12))
@settings(max_examples=300, deadline=None)
def test_anything_is_read_alike_however_it_is_cut(parts: list[str]) -> None:
    text = "".join(parts)
    whole = read([text])
    assert read(list(text)) == whole
    assert read(parts) == whole


@given(st.text(alphabet='<think>/tol_ca{}" \n'))
@settings(max_examples=200, deadline=None)
def test_without_markers_nothing_is_lost(text: str) -> None:
    ends_at_once = text.lstrip(" \n").startswith("</think>")
    if not any(marker in text for marker in ("<tool_call>", "<think>")) and not ends_at_once:
        assert read([text]) == ([("text", text)] if text else [])


@pytest.mark.parametrize("more", [{"tools": ()}, {"tool_choice": ToolChoice("none")}])
def test_what_looks_like_a_call_is_text_where_none_is_allowed(more: dict[str, Any]) -> None:
    assert read([CALL], **more) == [("text", CALL)]


def test_only_the_named_tool_may_be_called() -> None:
    text = CALL.replace('"on"', '"off"')
    assert read([text], tool_choice=ToolChoice("required", "on")) == [("text", text)]
    assert read([CALL], tool_choice=ToolChoice("required", "on")) == [LAMP_ON]


def test_reasoning_that_the_prompt_opened() -> None:
    assert read(["Hm.</think>", "Yes.</think>"], reasoning_open=True) == [
        ("reasoning", "Hm."),
        ("text", "Yes.</think>"),
    ]


@pytest.mark.parametrize("length", range(1, len(CALL)))
def test_a_truncated_call_is_never_whole(length: int) -> None:
    found = read([CALL[:length]], truncated=True, tool_choice=ToolChoice("required"))
    if length > CALL.index("}}") + 1:
        assert found == [LAMP_ON]
    for _, _, arguments in found if length <= CALL.index("}}") + 1 else ():
        assert LAMP_ON[2].startswith(arguments)
        assert not arguments.endswith("}")


def test_a_truncated_text_keeps_what_could_have_been_a_marker() -> None:
    assert read(["1 <"], truncated=True) == [("text", "1 <")]
    assert read(["<tool_c"], truncated=True, tool_choice=ToolChoice("required")) == []


def test_arguments_are_sent_as_they_come_and_their_last_brace_with_the_call() -> None:
    parser = Hermes(call_ids=lambda: "id").parser(request())
    assert parser.feed('<tool_call>\n{"name": "on"') == []
    assert parser.feed(', "arguments": {"a') == [ToolCallStart(0, "id", "on"), ToolCallArguments(0, '{"a')]
    assert parser.feed('": 1}') == [ToolCallArguments(0, '": 1')]
    assert parser.feed("}") == [ToolCallArguments(0, "}")]
    assert parser.feed("\n</tool_call>") == []


def test_call_ids_are_unique() -> None:
    ids = {new_call_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(call_id) == len("call_") + 24 for call_id in ids)


def test_plain_is_text_only() -> None:
    text = f"<think>hm</think>{CALL}"
    assert read([text[:9], "", text[9:]], Plain()) == [("text", text)]
    plain: Dialect = Plain()
    assert plain.grammar(request()) is None


def test_arguments_may_be_nested_as_deep_as_a_recursive_schema_lets_a_model_go() -> None:
    arguments = '{"left": ' * 300 + "null" + "}" * 300
    parser = Hermes().parser(ChatRequest("r", "m", (), tools=(Tool("t"),)))
    events = parser.feed(f'<tool_call>\n{{"name": "t", "arguments": {arguments}}}\n</tool_call>') + parser.close()
    assert "".join(event.text for event in events if isinstance(event, ToolCallArguments)) == arguments
