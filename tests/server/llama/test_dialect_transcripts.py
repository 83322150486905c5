"""Transcripts of every family of models, each read back whole, character by character, and cut at every point."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.catalogue.engine_options import DIALECTS
from zoe_server.llama import dialects
from zoe_server.llama.dialects.mistral import new_call_id
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

Expected = list[tuple[str, ...]]
"""`(kind, text)`, or `("call", name, arguments)`; arguments that do not parse are those of a void call."""

TOOLS = (Tool("on"), Tool("off"))
ON, OFF = ("call", "on", '{"name": "Lamp"}'), ("call", "off", "{}")
LAMP = '{"name": "Lamp"}'
ON_JSON = f'{{"name": "on", "parameters": {LAMP}}}'
OFF_JSON = '{"name": "off", "parameters": {}}'
SAME: Expected = []
"""All of the transcript is text."""
WITH_CALLS = tuple(name for name in DIALECTS if name != "plain")

LLAMA3: dict[str, tuple[str, Expected]] = {
    "call": (ON_JSON, [ON]),
    "call with its type": (f'{{"type": "function", "name": "on", "parameters": {LAMP}}}', [ON]),
    "call in OpenAI's form": (f'{{"type": "function", "function": {ON_JSON}}}', [ON]),
    "arguments as a string": ('{"name": "on", "arguments": "{\\"name\\": \\"Lamp\\"}"}', [ON]),
    "semicolon": (f'{ON_JSON}; {OFF_JSON}', [ON, OFF]),
    "semicolon at the end": (f'{ON_JSON};', [ON]),
    "semicolon and text": (f'{ON_JSON}; done', [ON, ("text", "; done")]),
    "lines": (f'{ON_JSON}\n{OFF_JSON}', [ON, ("text", "\n"), OFF]),
    "right behind each other": (f'{ON_JSON}{OFF_JSON}', [ON, OFF]),
    "list": (f'[{ON_JSON}, {OFF_JSON}]', [ON, OFF]),
    "tag": (f'<|python_tag|>{ON_JSON}', [ON]),
    "tag and semicolon": (
        f'<|python_tag|>{ON_JSON}; {OFF_JSON}', [ON, OFF],
    ),
    "built in": ('<|python_tag|>on.call(name="Lamp")', [ON]),
    "built in, two": ('<|python_tag|>on.call(name="Lamp"); off.call()', [ON, OFF]),
    "built in, unknown": ('<|python_tag|>brave_search.call(query="x")', SAME),
    "code": ('<|python_tag|>import os\nprint(os)', SAME),
    "no suffix": ('<|python_tag|>on(name="Lamp")', SAME),
    "text before it": (f'On it.\n{ON_JSON}', [("text", "On it.\n"), ON]),
    "not at the start of a line": (f'So {ON_JSON}', SAME),
    "unknown tool": ('{"name": "fly", "parameters": {}} !', SAME),
    "an object": ('{"a": {"name": "on"}}\n', SAME),
    "second is none": (f'{ON_JSON}; {{"a": 1}}', [ON, ("text", '; {"a": 1}')]),
    "ends inside": ('{"name": "off", "para', SAME),
    "void call": (
        '{"name": "off", "parameters": {"a": 1,}}',
        [("call", "off", '{"a": 1,'), ("text", '{"name": "off", "parameters": {"a": 1,}}')],
    ),
    "reasoning": (f'<think>Hm.</think>\n{ON_JSON}', [("reasoning", "Hm."), ("text", "\n"), ON]),
    "inside reasoning": (
        f'<think>Hm.\n{ON_JSON}\n</think>',
        [("reasoning", "Hm.\n"), ON, ("text", "\n</think>")],
    ),
}  # fmt: skip

MISTRAL: dict[str, tuple[str, Expected]] = {
    "list": (f'[TOOL_CALLS][{{"name": "on", "arguments": {LAMP}, "id": "x7Kp20aQz"}}]', [ON]),
    "list of two": (
        f'[TOOL_CALLS] [{{"name": "on", "arguments": {LAMP}}}, {{"name": "off", "arguments": {{}}}}]', [ON, OFF],
    ),
    "text before it": (f'On it.[TOOL_CALLS][{{"name": "on", "arguments": {LAMP}}}]', [("text", "On it."), ON]),
    "text after it": (f'[TOOL_CALLS][{{"name": "on", "arguments": {LAMP}}}] Done.', [ON, ("text", " Done.")]),
    "no end of the list": (f'[TOOL_CALLS][{{"name": "on", "arguments": {LAMP}}}, ', [ON]),
    "no list": (f'[TOOL_CALLS]{{"name": "on", "arguments": {LAMP}}}', [ON]),
    "behind the name": (f"[TOOL_CALLS]on[ARGS]{LAMP}", [ON]),
    "two behind their names": (f"[TOOL_CALLS]on[ARGS]{LAMP}[TOOL_CALLS]off[ARGS]{{}}", [ON, OFF]),
    "with ids": (f"[TOOL_CALLS]on[CALL_ID]x7Kp20aQz[ARGS]{LAMP}[TOOL_CALLS]off[CALL_ID]1[ARGS] {{}}", [ON, OFF]),
    "unknown tool": ("[TOOL_CALLS]fly[ARGS]{}!", SAME),
    "unknown tool in a list": ('[TOOL_CALLS][{"name": "fly", "arguments": {}}]', SAME),
    "no arguments": ("[TOOL_CALLS]on it", SAME),
    "void call": ("[TOOL_CALLS]off[ARGS]{1}", [("call", "off", "{1"), ("text", "[TOOL_CALLS]off[ARGS]{1}")]),
    "reasoning": (f"[THINK]Hm.[/THINK]Yes.[TOOL_CALLS]on[ARGS]{LAMP}", [("reasoning", "Hm."), ("text", "Yes."), ON]),
    "reasoning later": ("Well.[THINK]Hm.[/THINK]Yes.", [("text", "Well."), ("reasoning", "Hm."), ("text", "Yes.")]),
    "lone end of reasoning": ("Yes.[/THINK]", [("text", "Yes.")]),
    "first Magistral": ("<think>\nHm.\n</think>\nYes.", [("reasoning", "\nHm.\n"), ("text", "\nYes.")]),
    "call inside reasoning": (f"[THINK]Hm.[TOOL_CALLS]on[ARGS]{LAMP}", [("reasoning", "Hm."), ON]),
    "brackets": ("[INFO] see [TOOL] [1]", SAME),
}  # fmt: skip

GEMMA: dict[str, tuple[str, Expected]] = {
    "list": ('[on(name="Lamp"), off()]', [ON, OFF]),
    "list in a fence": ('```python\n[on(name="Lamp")]\n```', [ON]),
    "fence": ('```tool_code\non(name="Lamp")\n```', [ON]),
    "two in a fence": ("```tool_code\non(name='Lamp')\noff()\n```\nDone.", [ON, OFF, ("text", "\nDone.")]),
    "JSON": (ON_JSON, [ON]),
    "JSON in a fence": (f'```json\n{ON_JSON}\n```', [ON]),
    "two of JSON in a fence": (
        f'```json\n{ON_JSON}\n{OFF_JSON}\n```', [ON, OFF],
    ),
    "JSON list in a fence": (
        f'```tool_call\n[\n  {{"name": "on", "arguments": {LAMP}}},\n  {{"name": "off"}}\n]\n```', [ON, OFF],
    ),
    "values": (
        '[on(a=1, b=-2.5e1, c=[True, None, "x\\"\\n\\u00e4"], d={"e": \'f\', "g": {}},)]',
        [("call", "on", '{"a": 1, "b": -25.0, "c": [true, null, "x\\"\\nä"], "d": {"e": "f", "g": {}}}')],
    ),
    "no literal": ("[on(name=lamp)]", SAME),
    "infinite": ("[on(a=1e999)]", SAME),
    "positional": ('[on("Lamp")]', SAME),
    "unknown tool": ('[fly(name="Lamp")]', SAME),
    "call in the open": ('on(name="Lamp")', SAME),
    "brackets": ("[1] [see](http://x) [on] [a, b](c)", SAME),
    "another fence": ("```python\nx = on\n```\n", SAME),
    "fence without end": ("``` x ``", SAME),
    "ends inside": ('[on(name="La', SAME),
    "too deep": ("[on(a=" + "[" * 100, SAME),
    "bad escape": ('[on(a="\\uzzzz")]', SAME),
    "strange quote": ("[on(a=<escapade>)]", SAME),
}  # fmt: skip

FUNCTION_GEMMA: dict[str, tuple[str, Expected]] = {
    "call": ("<start_function_call>call:on{name:<escape>Lamp<escape>}<end_function_call>", [ON]),
    "two calls": (
        ("<start_function_call>call:on{name:<escape>Lamp<escape>}<end_function_call>"
        "<start_function_call>call:off{}<end_function_call><start_function_response>"),
        [ON, OFF],
    ),
    "values": (
        "<start_function_call>call:on{a:1,b:[true,null],c:{d:<escape>}\"<x>\\<escape>}}<end_function_call>",
        [("call", "on", '{"a": 1, "b": [true, null], "c": {"d": "}\\"<x>\\\\"}}')],
    ),
    "no end": ("<start_function_call>call:off{}", [OFF]),
    "unknown tool": ("<start_function_call>call:fly{}<end_function_call>", SAME),
    "no call": ("<start_function_call>on()", SAME),
}  # fmt: skip

GEMMA4: dict[str, tuple[str, Expected]] = {
    "call": ('<|tool_call>call:on{name:<|"|>Lamp<|"|>}<tool_call|><|tool_response>', [ON]),
    "reasoning and two calls": (
        ('<|channel>thought\nHm.<channel|>Yes.<|tool_call>call:on{name:<|"|>Lamp<|"|>}<tool_call|>'
        "<|tool_call>call:off{}<tool_call|>"),
        [("reasoning", "\nHm."), ("text", "Yes."), ON, OFF],
    ),
    "end of reasoning alone": ("Yes.<channel|>", [("text", "Yes.")]),
    "quote that is none": ('<|tool_call>call:on{name:<|x|>}', SAME),
}  # fmt: skip

FUNCTIONARY31: dict[str, tuple[str, Expected]] = {
    "call": (f"<function=on>{LAMP}</function>", [ON]),
    "text and two calls": (
        f"Yes.<function=on>{LAMP}</function>\n<function=off>{{}}</function>",
        [("text", "Yes."), ON, ("text", "\n"), OFF],
    ),
    "no end": (f"<function=on>{LAMP}<function=off>{{}}", [ON, OFF]),
    "unknown tool": (f"<function=fly>{LAMP}</function>", SAME),
    "no JSON": ("<function=on>name=Lamp</function>", SAME),
}  # fmt: skip

FUNCTIONARY32: dict[str, tuple[str, Expected]] = {
    "text": ("all\nYes, all\nof it.", [("text", "Yes, all\nof it.")]),
    "call": (f"on\n{LAMP}", [ON]),
    "text and two calls": (f"all\nYes.>>>on\n{LAMP}>>>off\n{{}}", [("text", "Yes."), ON, OFF]),
    "call and text": (f"on\n{LAMP}>>>all\nDone.", [ON, ("text", "Done.")]),
    "marker before the first": (f">>>on\n{LAMP}", [ON]),
    "unknown tool": ("all\n>>>fly\n{}", [("text", ">>>fly\n{}")]),
    "a Python prompt": ("all\n>>> on\nx", [("text", ">>> on\nx")]),
}  # fmt: skip

JSON: dict[str, tuple[str, Expected]] = {
    "call": (f'{{"name": "on", "arguments": {LAMP}}}', [ON]),
    "parameters": (f' {ON_JSON}', [("text", " "), ON]),
    "list": (f'[{{"name": "on", "arguments": {LAMP}}}, {{"name": "off"}}]', [ON, OFF]),
    "empty list": ("[]", SAME),
    "fence": (f'```json\n{{"name": "on", "arguments": {LAMP}}}\n```', [ON]),
    "fence without a language": (f'```\n[{{"name": "on", "arguments": {LAMP}}}]\n```\n', [ON, ("text", "\n")]),
    "fence, text": (f'Like so:\n```json\n{{"name": "on", "arguments": {LAMP}}}\n```', [("text", "Like so:\n"), ON]),
    "another fence": ('```json\n{"a": 1}\n```', SAME),
    "calls deep inside": (
        f'{{"id": [\n{{"name": "on", "arguments": {LAMP}}}]}}', [("text", '{"id": [\n'), ON, ("text", "]}")],
    ),
    "list of texts": ('["on", {"name": "on"}]', SAME),
    "a scene": ('[{"name": "Lamp", "state": "on"}]', SAME),
    "nested lines": ("{\n{\n{\n" * 40, SAME),
    "prompt for more": ("{", SAME),
    "lone end of reasoning": ("\n</think>\nYes.", [("text", "\n\nYes.")]),
    "reasoning": ("<think>Hm.</think>Yes.</think>", [("reasoning", "Hm."), ("text", "Yes.</think>")]),
}  # fmt: skip

ANALYSIS = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
HARMONY: dict[str, tuple[str, Expected]] = {
    "final": ("<|channel|>final<|message|>Yes.", [("text", "Yes.")]),
    "analysis and final": (
        f"{ANALYSIS}<|channel|>final<|message|>Yes.<|return|>", [("reasoning", "Hm."), ("text", "Yes.")],
    ),
    "call": (f"<|channel|>commentary to=functions.on <|constrain|>json<|message|>{LAMP}<|call|>", [ON]),
    "call without constraint": (
        f"{ANALYSIS}<|channel|>commentary to=functions.on<|message|>{LAMP}", [("reasoning", "Hm."), ON],
    ),
    "call in the analysis": (f"<|channel|>analysis to=functions.on json<|message|>{LAMP}<|call|>", [ON]),
    "recipient in the role": (
        f"{ANALYSIS} to=functions.on<|channel|>commentary <|constrain|>json<|message|>{LAMP}<|call|>",
        [("reasoning", "Hm."), ON],
    ),
    "recipient first": (f" to=functions.on<|channel|>commentary json<|message|>{LAMP}", [("text", " "), ON]),
    "no space before the recipient": (
        f"{ANALYSIS}to=functions.on<|channel|>commentary<|message|>{LAMP}", [("reasoning", "Hm."), ON],
    ),
    "preamble": (
        (f"<|channel|>commentary<|message|>One moment.<|end|><|start|>assistant<|channel|>commentary to=functions.on"
        f"<|message|>{LAMP}<|call|>"),
        [("text", "One moment."), ON],
    ),
    "two calls": (
        (f"<|channel|>commentary to=functions.on<|message|>{LAMP}<|call|><|start|>assistant<|channel|>commentary"
        " to=functions.off<|message|>{}<|call|>"),
        [ON, OFF],
    ),
    "commentary to the assistant": (
        "<|channel|>commentary to=assistant<|channel|>analysis<|message|>Hm.<|end|>", [("reasoning", "Hm.")],
    ),
    "unknown tool": ("<|channel|>commentary to=functions.fly<|message|>{}<|call|>", [("reasoning", "{}")]),
    "built in": ("<|channel|>analysis to=python code<|message|>print(1)<|call|>", [("reasoning", "print(1)")]),
    "void call": (
        "<|channel|>commentary to=functions.off<|message|>{1}<|call|>",
        [("call", "off", "{1"), ("text", "<|channel|>commentary to=functions.off<|message|>{1}")],
    ),
    "constrained answer": ('<|channel|>final <|constrain|>json<|message|>{"a": 1}', [("text", '{"a": 1}')]),
    "call printed as text": (f'<|channel|>final<|message|>{{"name": "on", "arguments": {LAMP}}}', [ON]),
    "no header": ("Yes, to=functions. is a text.", SAME),
    "half a header": ("<|channel|>fin", []),
    "endless header": ("<|channel|>" + "x" * 500, SAME),
    "end alone": ("Yes.<|end|><|start|>assistant", [("text", "Yes.")]),
}  # fmt: skip

HERMES: dict[str, tuple[str, Expected]] = {
    "call without markers": (f'{{"name": "on", "arguments": {LAMP}}}', [ON]),
    "call in a fence": (f'Yes:\n```json\n{{"name": "on", "arguments": {LAMP}}}\n```', [("text", "Yes:\n"), ON]),
    "line that reasons about a call": (
        f'<think>So\n{{"name": "on", "arguments": {LAMP}}}</think>',
        [("reasoning", f'So\n{{"name": "on", "arguments": {LAMP}}}')],
    ),
    "reasoning that begins with a call": (
        f'<think>\n{{"name": "on", "arguments": {LAMP}}}', [("reasoning", "\n"), ON],
    ),
    "parameters": (f'<tool_call>\n{ON_JSON}\n</tool_call>', [ON]),
}  # fmt: skip

TABLES = {
    "llama3": LLAMA3,
    "mistral": MISTRAL,
    "gemma": GEMMA,
    "functiongemma": FUNCTION_GEMMA,
    "gemma4": GEMMA4,
    "functionary-v3.1": FUNCTIONARY31,
    "functionary-v3.2": FUNCTIONARY32,
    "json": JSON,
    "harmony": HARMONY,
    "hermes": HERMES,
}
CASES = {f"{name}: {case}": (name, *table[case]) for name, table in TABLES.items() for case in table}


def request(**more: Any) -> ChatRequest:  # noqa: ANN401 -- any field
    return ChatRequest(**{"id": "r", "model": "m", "messages": (), "tools": TOOLS} | more)


def read(name: str, pieces: Sequence[str], truncated: bool = False, **more: Any) -> Expected:  # noqa: ANN401
    """Return what a parser makes of the pieces, put together."""
    opened = more.pop("reasoning_open", False)
    parser = dialects.by_name(name).parser(request(**more), reasoning_open=opened)
    events = [event for piece in pieces for event in parser.feed(piece)] + parser.close(truncated=truncated)
    return list(together(events))


def together(events: Sequence[ChatEvent]) -> Iterator[tuple[str, ...]]:
    """Yield the events with their pieces put together; indexes count from 0."""
    indexes = itertools.count()
    for kind, group in itertools.groupby(events, key=lambda e: (type(e).__name__, getattr(e, "index", 0))):
        members = list(group)
        first = members[0]
        if isinstance(first, ToolCallStart):
            assert first.index == next(indexes)
            name = first.name
        elif isinstance(first, ToolCallArguments):
            yield "call", name, "".join(event.text for event in members if isinstance(event, ToolCallArguments))
        else:
            yield kind[0].lower(), "".join(event.text for event in members if isinstance(event, Text | Reasoning))


@pytest.mark.parametrize("case", CASES)
def test_transcript_cut_at_every_point(case: str) -> None:
    name, text, expected = CASES[case]
    if expected is SAME:
        expected = [("text", text)]
    assert read(name, [text]) == expected
    assert read(name, list(text)) == expected
    for cut in range(1, len(text)):
        assert read(name, [text[:cut], text[cut:]]) == expected


@given(st.data(), st.sampled_from(sorted(CASES)))
@settings(max_examples=150, deadline=None)
def test_transcript_in_random_pieces(data: st.DataObject, case: str) -> None:
    name, text, _ = CASES[case]
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    assert read(name, pieces) == read(name, [text])


MARKUP = st.sampled_from(
    [
        *(
            "[TOOL_CALLS]",
            "[ARGS]",
            "[CALL_ID]",
            "[THINK]",
            "[/THINK]",
            "<|python_tag|>",
            "```",
            "```json\n",
            "<escape>",
        ),
        *(
            "<start_function_call>call:",
            "<end_function_call>",
            "<|tool_call>call:",
            "<tool_call|>",
            '<|"|>',
            "<channel|>",
        ),
        *(
            "<|channel|>",
            "final",
            "analysis",
            "<|message|>",
            "<|end|>",
            "<|start|>assistant",
            " to=functions.",
            "<|call|>",
        ),
        *("<function=", "on>", ">>>", "on\n", "all\n", "<think>", "</think>", "<|channel>thought", "<tool_call>"),
        *(
            '{"name": "on"',
            ', "arguments": {',
            '"parameters": {"a": 1}',
            "on",
            "off",
            ".call",
            "(",
            ")",
            "a=",
            "a:",
            "1",
        ),
        *("{", "}", "[", "]", ",", ";", ":", '"', "'", "\\", "<", "`", "\n", " ", "é"),
    ]
)


@pytest.mark.parametrize("name", WITH_CALLS)
@given(parts=st.lists(MARKUP, max_size=14), truncated=st.booleans(), opened=st.booleans())
@settings(max_examples=150, deadline=None)
def test_anything_is_read_alike_however_it_is_cut(name: str, parts: list[str], truncated: bool, opened: bool) -> None:
    text = "".join(parts)
    whole = read(name, [text], truncated, reasoning_open=opened)
    assert read(name, list(text), truncated, reasoning_open=opened) == whole
    assert read(name, parts, truncated, reasoning_open=opened) == whole


@pytest.mark.parametrize("name", WITH_CALLS)
@given(text=st.text(alphabet="ab1.,;:[](){}\"'`=/ \n", max_size=60))
@settings(max_examples=100, deadline=None)
def test_nothing_is_lost_of_a_text_without_markers(name: str, text: str) -> None:
    assert read(name, [text]) == ([("text", text)] if text else [])


@pytest.mark.parametrize(
    "case", [case for case, (name, _, _) in CASES.items() if name not in ("harmony", "functionary-v3.2")]
)
@pytest.mark.parametrize("more", [{"tools": ()}, {"tool_choice": ToolChoice("none")}])
def test_what_looks_like_a_call_is_text_where_none_is_allowed(case: str, more: dict[str, Any]) -> None:
    name, text, _ = CASES[case]
    found = read(name, [text], **more)
    assert {kind for kind, *_ in found} <= {"text", "reasoning"}
    if not any(marker in text for marker in ("THINK]", "think>", "channel")):
        assert found == [("text", text)]


def test_message_to_a_tool_that_was_not_given_is_no_answer() -> None:
    text = f"<|channel|>commentary to=functions.on<|message|>{LAMP}<|call|>"
    assert read("harmony", [text], tools=()) == [("reasoning", LAMP)]


@pytest.mark.parametrize("name", [name for name in WITH_CALLS if name != "harmony"])
def test_reasoning_that_the_prompt_opened(name: str) -> None:
    found = read(name, ["Hm.</think>", "Yes."], reasoning_open=True)
    assert found == [("reasoning", "Hm."), ("text", "Yes.")]


@pytest.mark.parametrize("name", ["llama3", "json", "gemma"])
def test_required_call_is_found_where_the_prompt_opened_the_reasoning(name: str) -> None:
    text = f'{{"name": "on", "parameters": {LAMP}}}'
    assert read(name, [text], reasoning_open=True, tool_choice=ToolChoice("required")) == [ON]


COMPLETE = [case for case, (_, _, expected) in CASES.items() if expected == [ON]]


@pytest.mark.parametrize("case", COMPLETE)
@pytest.mark.parametrize("mode", ["required", "auto"])
def test_a_truncated_call_is_never_whole_and_never_text(case: str, mode: Any) -> None:  # noqa: ANN401 -- a literal
    name, text, _ = CASES[case]
    whole = next(n for n in range(len(text) + 1) if read(name, [text[:n]]) == [ON])
    for length in range(1, whole):
        found = read(name, [text[:length]], truncated=True, tool_choice=ToolChoice(mode))
        if mode == "required" and name != "harmony":
            assert {kind for kind, *_ in found} <= {"call"}
        for arguments in (call[2] for call in found if call[0] == "call"):
            assert ON[2].startswith(arguments)
            assert not arguments.endswith("}")


def test_a_truncated_text_that_begins_like_a_call_stays() -> None:
    for text in ('{"state": {"on": tr', "[1, 2", "```json\n", "[", '{"'):
        assert read("json", [text], truncated=True) == [("text", text)]
    assert read("json", ['{"name": "o'], truncated=True) == []


@pytest.mark.parametrize("name", ["llama3", "json", "mistral"])
def test_arguments_are_sent_as_they_come_and_their_last_brace_with_the_call(name: str) -> None:
    parser = dialects.by_name(name).parser(request())
    start = "[TOOL_CALLS]on[ARGS]" if name == "mistral" else '{"name": "on", "parameters": '
    assert parser.feed(start) == []
    first, second = parser.feed('{"a')
    assert isinstance(first, ToolCallStart)
    assert second == ToolCallArguments(0, '{"a')
    assert parser.feed('": 1') == [ToolCallArguments(0, '": 1')]
    assert parser.feed("}}" if name != "mistral" else "}") == [ToolCallArguments(0, "}")]


def test_an_object_that_is_no_call_is_not_held_back() -> None:
    parser = dialects.by_name("json").parser(request())
    assert parser.feed('{"state":') == [Text('{"state":')]


def test_mistrals_ids_are_nine_letters_and_digits() -> None:
    ids = {new_call_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(call_id) == 9 and call_id.isascii() and call_id.isalnum() for call_id in ids)
    events = dialects.by_name("mistral").parser(request()).feed(f"[TOOL_CALLS]on[ARGS]{LAMP}")
    assert len(events[0].call_id if isinstance(events[0], ToolCallStart) else "") == 9
