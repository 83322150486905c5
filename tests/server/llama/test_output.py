"""Bytes in, events out: the same events wherever the bytes were cut, and never a part of a stop string."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.llama.dialects.base import Dialect
from zoe_server.llama.dialects.gemma import Gemma4
from zoe_server.llama.dialects.harmony import Harmony
from zoe_server.llama.dialects.hermes import Hermes
from zoe_server.llama.dialects.mistral import Mistral
from zoe_server.llama.dialects.plain import Plain
from zoe_server.llama.output import OutputStream, StopStrings
from zoe_server.protocol import (
    ChatEvent,
    ChatRequest,
    FinishReason,
    Reasoning,
    Text,
    Tool,
    ToolCallArguments,
    ToolCallStart,
    ToolChoice,
)

OTHER = '<tool_call>\n{"name": "on", "arguments": {}}\n</tool_call>'
CALL = '<tool_call>\n{"name": "on", "arguments": {"name": "Lämp"}}\n</tool_call>'
ARGUMENTS = ("call", "on", '{"name": "Lämp"}')
VOID = [("call", "on", '{"a": tru'), ("text", '<tool_call>\n{"name": "on", "arguments": {"a": tru}}')]
Result = tuple[list[tuple[str, ...]], str]


def request(stop: tuple[str, ...] = (), mode: Any = "auto") -> ChatRequest:  # noqa: ANN401 -- a literal
    return ChatRequest("r", "m", (), (Tool("on"),), ToolChoice(mode), stop=stop)


def read(pieces: Sequence[bytes], reason: FinishReason = "stop", **more: Any) -> Result:  # noqa: ANN401 -- see request
    """Feed the pieces as the engine does, until a stop string or the end."""
    stream = OutputStream(request(**more), Hermes())
    events: list[ChatEvent] = []
    for piece in pieces:
        events += stream.feed(piece)
        if stream.stopped:
            reason = "stop"
            break
    tail, reported = stream.close(reason)
    assert all(event.text for event in [*events, *tail] if isinstance(event, Text | Reasoning | ToolCallArguments))
    return list(together([*events, *tail])), reported


def together(events: Sequence[ChatEvent]) -> Iterator[tuple[str, ...]]:
    for kind, group in itertools.groupby(events, key=lambda e: (type(e).__name__, getattr(e, "index", 0))):
        members = list(group)
        if isinstance(members[0], ToolCallStart):
            name = members[0].name
            continue
        text = "".join(e.text for e in members if isinstance(e, Text | Reasoning | ToolCallArguments))
        yield ("call", name, text) if kind[0] == "ToolCallArguments" else (kind[0].lower(), text)


TRANSCRIPTS: dict[str, tuple[str | bytes, dict[str, Any], Result]] = {
    "text": ("Grüße, 🏠!", {}, ([("text", "Grüße, 🏠!")], "stop")),
    "cut text": ("Grüße", {"reason": "length"}, ([("text", "Grüße")], "length")),
    "cancelled": ("Grüße", {"reason": "cancelled"}, ([("text", "Grüße")], "cancelled")),
    "margins of text alone are kept": (" \nHi \n", {}, ([("text", " \nHi \n")], "stop")),
    "white space only": (" \n", {}, ([("text", " \n")], "stop")),
    "call": (CALL, {}, ([ARGUMENTS], "tool_calls")),
    "text, calls, text": (
        f" On it. \n\n{CALL}\n{CALL} \nDone.\n{OTHER}\n",
        {},
        ([("text", " On it."), ARGUMENTS, ARGUMENTS, ("text", "Done."), ("call", "on", "{}")], "tool_calls"),
    ),
    "an answer that repeats itself": (
        f"{CALL}\n{CALL}\n{CALL}\n{OTHER} Done.",
        {"reason": "length"},
        ([ARGUMENTS, ARGUMENTS, ("call", "on", ARGUMENTS[2][:-1])], "tool_calls"),
    ),
    "white space before a call": (f"\n\n{CALL}", {}, ([ARGUMENTS], "tool_calls")),
    "reasoning": (
        f"\n<think>\nHm. \n</think>\n\nYes.\n{CALL}",
        {},
        ([("reasoning", "Hm."), ("text", "Yes."), ARGUMENTS], "tool_calls"),
    ),
    "empty reasoning": ("<think>\n\n</think>\n\nYes.", {}, ([("text", "Yes.")], "stop")),
    "only reasoning": ("<think>\nHm.\n", {"reason": "length"}, ([("reasoning", "Hm.")], "length")),
    "call cut in its arguments": (CALL[:50], {"reason": "length"}, ([("call", "on", '{"name": "')], "length")),
    "call cut in its name": (f"On it.\n{CALL[:20]}", {"reason": "length"}, ([("text", "On it.\n")], "length")),
    "call cut in its end": (CALL[:-5], {"reason": "length"}, ([ARGUMENTS], "length")),
    "one token of a call": ("<tool", {"reason": "length", "mode": "required"}, ([], "length")),
    "unfinished call": (CALL[:20], {}, ([("text", CALL[:20])], "stop")),
    "a whole and a void call": (
        f'{CALL}\n<tool_call>\n{{"name": "on", "arguments": {{"a": tru}}}}',
        {},
        ([ARGUMENTS, *VOID], "tool_calls"),
    ),
    "only a void call": (
        '<tool_call>\n{"name": "on", "arguments": {"a": tru}}',
        {},
        (VOID, "stop"),
    ),
    "stop string": ("one two three", {"stop": ("two",)}, ([("text", "one ")], "stop")),
    "stop string at the limit": ("one two", {"stop": ("two",), "reason": "length"}, ([("text", "one ")], "stop")),
    "stop string at once": ("END of it", {"stop": ("END",)}, ([], "stop")),
    "part of a stop string": ("one tw", {"stop": ("two",)}, ([("text", "one tw")], "stop")),
    "part of a stop string, cut": ("one tw", {"stop": ("two",), "reason": "length"}, ([("text", "one tw")], "length")),
    "stop string that begins twice": ("aaab", {"stop": ("aab",)}, ([("text", "a")], "stop")),
    "stop string in several bytes": ("Grüße 🏠!", {"stop": ("ße 🏠",)}, ([("text", "Grü")], "stop")),
    "two stop strings": ("a b c", {"stop": ("c", "b")}, ([("text", "a ")], "stop")),
    "a stop string inside another": ("xabcy", {"stop": ("abc", "b", "")}, ([("text", "xa")], "stop")),
    "stop strings that end together": ("xabcy", {"stop": ("bc", "abc")}, ([("text", "x")], "stop")),
    "line break as a stop string": (f"One.\n{CALL}", {"stop": ("\n",)}, ([("text", "One.")], "stop")),
    "no stop string in a call": (f"Yes {CALL}", {"stop": ("Lämp", "\n")}, ([("text", "Yes"), ARGUMENTS], "tool_calls")),
    "no stop string in reasoning": (
        "<think>a stop b</think>c",
        {"stop": ("stop",)},
        ([("reasoning", "a stop b"), ("text", "c")], "stop"),
    ),
    "stop string after a call": (f"{CALL}\nYes No.", {"stop": (" No",)}, ([ARGUMENTS, ("text", "Yes")], "tool_calls")),
    "stop string before a call": (f"Done. More.{CALL}", {"stop": (" More",)}, ([("text", "Done.")], "stop")),
    "stop string in what is no call": ("<tool_call>off()", {"stop": ("off",)}, ([("text", "<tool_call>")], "stop")),
    "no stop string across a call": (
        f"a{CALL}b",
        {"stop": ("ab",)},
        ([("text", "a"), ARGUMENTS, ("text", "b")], "tool_calls"),
    ),
    "stop string like a marker": ("a <b", {"stop": ("<",)}, ([("text", "a ")], "stop")),
    "invalid bytes": (b"a\xffb\xe2\x28c\xf0\x9f\x8f", {}, ([("text", "a\ufffdb\ufffd(c\ufffd")], "stop")),
    "half a character, cut": (b"a\xf0\x9f\x8f", {"reason": "length"}, ([("text", "a")], "length")),
    "nothing": ("", {"reason": "length"}, ([], "length")),
}  # fmt: skip


@pytest.mark.parametrize("case", TRANSCRIPTS)
def test_transcript_cut_at_every_byte(case: str) -> None:
    text, more, expected = TRANSCRIPTS[case]
    data = text.encode() if isinstance(text, str) else text
    assert read([data], **more) == expected
    assert read([bytes([byte]) for byte in data], **more) == expected
    for cut in range(1, len(data)):
        assert read([data[:cut], data[cut:]], **more) == expected


PARTS = st.sampled_from(
    [CALL, CALL[:30], CALL[30:], "<think>", "</think>", "a", "ab", "b ", " ", "\n", "ü", "<", "stop", "st", "op"]
)


@given(st.data(), st.lists(PARTS, max_size=8), st.sampled_from(["stop", "length"]), st.lists(PARTS, max_size=2))
@settings(max_examples=250, deadline=None)
def test_any_output_in_random_pieces(
    data: st.DataObject, parts: list[str], reason: FinishReason, stop: list[str]
) -> None:
    raw = "".join(parts).encode()
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8).map(sorted))
    pieces = [raw[a:b] for a, b in itertools.pairwise([0, *cuts, len(raw)])]
    whole = read([raw], reason, stop=tuple(stop))
    assert read(pieces, reason, stop=tuple(stop)) == whole


@given(st.lists(st.text("ab ", max_size=4), max_size=8), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
@settings(max_examples=250, deadline=None)
def test_stop_strings_against_plain_search(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    ends = sorted((end, start) for end in range(len(text) + 1) for start in range(end) if text[start:end] in stops)
    expected = text[: ends[0][1]] if ends else text
    filtered = StopStrings(stops)
    shown = ""
    for piece in pieces:
        shown += filtered.feed(piece)
        assert expected.startswith(shown)
        if filtered.found:
            break
    assert (filtered.found, shown + filtered.release()) == (bool(ends), expected)


def test_text_is_shown_as_soon_as_it_is_certain() -> None:
    stream = OutputStream(request(stop=("END",)), Hermes())
    assert stream.feed("Grü".encode()[:-1]) == [Text("Gr")]
    assert stream.feed("ü".encode()[1:]) == [Text("ü")]
    assert stream.feed(b"n E") == [Text("n")]
    assert stream.feed(b"x") == [Text(" Ex")]
    assert stream.feed(b"EN") == []
    assert stream.feed(b"D more") == []
    assert stream.stopped
    assert stream.feed(b"more") == []
    assert stream.close("stop") == ([], "stop")


def test_reasoning_that_the_prompt_opened() -> None:
    stream = OutputStream(request(), Hermes(), reasoning_open=True)
    events = stream.feed(b"\nHm.\n</think>\n\nYes.")
    assert events == [Reasoning("Hm."), Text("Yes.")]
    assert stream.close("stop") == ([], "stop")


def spoken(dialect: Dialect, text: str, *control: str, size: int = 1, **more: Any) -> list[tuple[str, ...]]:  # noqa: ANN401
    """Return what is said where `control` are tokens of their own, and the text between them comes in pieces."""
    stream = OutputStream(request(**more), dialect)
    events: list[ChatEvent] = []
    for part in re.split(f"({'|'.join(map(re.escape, control))})", text):
        if part in control:
            events += stream.feed_control(part.encode())
            continue
        for piece in itertools.batched(part.encode(), size):
            events += stream.feed(bytes(piece))
    return list(together([*events, *stream.close("stop")[0]]))


THINK = ("<think>", "</think>")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_control_tokens_that_mean_nothing_are_dropped(size: int) -> None:
    """Also if they stand in reasoning, in or behind a call, or end like the beginning of a marker."""
    control = ("<|user|>", "<|x<", "<tool_call>")
    call = CALL.replace("Lä", "L<|user|>ä")
    text = f"<think>hm<|user|>m</think><|x<On<|user|> <|x<it. {call}<|user|>\nDone<tool_call>"
    said = [("reasoning", "hmm"), ("text", "On it."), ("call", *ARGUMENTS[1:]), ("text", "Done")]
    assert spoken(Hermes(), text, *control, size=size) == said


@pytest.mark.parametrize(
    ("dialect", "control", "text", "said"),
    [
        (Hermes(), THINK, "<think>hm</think>Yes.", [("reasoning", "hm"), ("text", "Yes.")]),
        (Hermes(), THINK, "Yes <think>and</think> no.", [("text", "Yes and no.")]),
        (Hermes(), THINK, "<<think>and", [("text", "<and")]),
        (Hermes(), ("<tool_call>",), "<tool_call>no call", [("text", "no call")]),
        (
            Mistral(),
            ("[ARGS]", "[TOOL_CALLS]"),
            "[ARGS]Hm [TOOL_CALLS]on[ARGS]{}",
            [("text", "Hm"), ("call", "on", "{}")],
        ),
        (
            Gemma4(),
            ("<|channel>", "<channel|>"),
            "<|channel>thought\nhm<channel|>Yes.",
            [("reasoning", "hm"), ("text", "Yes.")],
        ),
        (Gemma4(), ("<|channel>",), "Yes,<|channel>no.", [("text", "Yes,no.")]),
        (
            Gemma4(),
            ("<|tool_call>", "<tool_call|>", '<|"|>'),
            'On it.<|tool_call>call:on{name:<|"|>Lämp<|"|>}<tool_call|>',
            [("text", "On it."), ARGUMENTS],
        ),
        (
            Harmony(),
            ("<|start|>", "<|channel|>", "<|message|>", "<|end|>"),
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
            [("reasoning", "Hm."), ("text", "Yes.")],
        ),
        (Plain(), THINK, "<think>hm</think> yes", [("text", "hm yes")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 1000])
def test_a_marker_that_is_a_control_token_is_read_or_dropped(
    dialect: Dialect, control: tuple[str, ...], text: str, said: list[tuple[str, ...]], size: int
) -> None:
    assert spoken(dialect, text, *control, size=size) == said


@pytest.mark.parametrize("dialect", [Hermes(), Gemma4()])
def test_text_about_a_marker_stays_where_the_marker_is_a_control_token(dialect: Dialect) -> None:
    stream = OutputStream(request(), dialect)
    start, end = ("<think>", "</think>") if isinstance(dialect, Hermes) else ("<|channel>thought", "<channel|>")
    events = stream.feed_control(start.removesuffix("thought").encode())
    events += stream.feed(start.partition(">")[2].encode() + b"hm")
    events += stream.feed_control(end.encode())
    about = f"Write <think> before it, <|im_end|> or {end} behind it."
    events += stream.feed(about.encode())
    assert list(together([*events, *stream.close("stop")[0]])) == [("reasoning", "hm"), ("text", about)]


def test_a_character_that_a_control_token_cuts_is_none() -> None:
    stream = OutputStream(request(), Hermes())
    events = [*stream.feed("Grü".encode()[:-1]), *stream.feed_control(b"<|user|>"), *stream.feed("ü".encode()[1:])]
    assert list(together(events)) == [("text", "Gr\ufffd\ufffd")]


def test_a_stop_string_may_be_a_control_token() -> None:
    stream = OutputStream(request(stop=("<|user|>",)), Hermes())
    events = [*stream.feed(b"On it."), *stream.feed_control(b"<|system|>"), *stream.feed_control(b"<|user|>")]
    assert stream.stopped
    assert list(together(events)) == [("text", "On it.")]
