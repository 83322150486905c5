"""The dialect of gpt-oss: messages in channels, each with a header.

    <|channel|>analysis<|message|>The user means the lamp.<|end|>
    <|start|>assistant<|channel|>commentary<|message|>One moment.<|end|>
    <|start|>assistant<|channel|>commentary to=functions.intent__HassTurnOn <|constrain|>json<|message|>{...}<|call|>

    <|channel|>final<|message|>It is on.<|return|>

The prompt ends behind `<|start|>assistant`. The recipient may also stand before the channel. `<|call|>` and
`<|return|>` end the generation, so that an answer has one call at most, which is also all that the chat template can
render.

The analysis is reasoning, and so is a message to somebody else that is no call of a tool. An answer without any header
is text.
Source of the format: OpenAI, harmony; the chat template of gpt-oss.
"""

from __future__ import annotations

import re
from typing import Final

from zoe_server.llama.constraint.grammar import choice, literal, marked, sequence
from zoe_server.llama.dialects.call_dialect import CallDialect, Tools
from zoe_server.llama.dialects.call_parser import CallParser, Form
from zoe_server.llama.dialects.call_reader import ArgumentsCall
from zoe_server.llama.dialects.enclosed_call import OPENERS
from zoe_server.protocol import Reasoning, Text

START: Final = "<|start|>assistant"
CHANNEL: Final = "<|channel|>"
MESSAGE: Final = "<|message|>"
FINAL: Final = f"{CHANNEL}final{MESSAGE}"
ENDS: Final = ("<|end|>", "<|call|>", "<|return|>")
TO: Final = "to=functions."
_RECIPIENT: Final = re.compile(r"to=(?!assistant\b)([^\s<]+)")
_CHANNEL: Final = re.compile(r"<\|channel\|>\s*(\w+)")
_MAX_HEADER: Final = 400


class HarmonyParser(CallParser):
    """Reads messages with headers; the body of a call is read like any other call's arguments."""

    def _markers(self) -> list[str]:
        markers = [*ENDS, START, CHANNEL, *([TO] if self._blank else [])]
        if self._schemas and self._line_blank and self._prose is Text:
            markers += self._form.openers
        return markers

    def _enter(self, marker: str) -> None:
        if marker in OPENERS:
            super()._enter(marker)
        elif marker in ENDS:
            self._held, self._prose = [], Text
        else:
            self._read = self._read_header

    def _read_header(self, unit: str) -> None:
        self._held.append(unit)
        header = "".join(self._held)
        if header.endswith(MESSAGE):
            self._begin_message(header)
        elif len(header) > _MAX_HEADER:
            self._marked = True
            self._give_back()

    def _begin_message(self, header: str) -> None:
        recipient = _RECIPIENT.search(header)
        channels = _CHANNEL.findall(header)
        name = recipient[1].removeprefix("functions.") if recipient else ""
        if name in self._schemas:
            self._open(ArgumentsCall(name, *ENDS), marked=True)
            return
        self._held, self._read = [], self._read_prose
        self._prose = Reasoning if recipient or channels[-1:] == ["analysis"] else Text


class Harmony(CallDialect):
    """Messages in channels."""

    name = "harmony"
    triggers = (f"{CHANNEL}commentary {TO}", f"{CHANNEL}analysis {TO}", f"{START} {TO}")
    openings = (TO,)
    markers = ("<|start|>", CHANNEL, MESSAGE, "<|constrain|>", *ENDS)
    parser_class = HarmonyParser
    prints = False
    prelude = FINAL
    behind_reasoning = START

    def reasoning(self, _template: str) -> tuple[str, str]:
        """Return what stands before and behind the analysis."""
        return f"{CHANNEL}analysis{MESSAGE}", "<|end|>"

    def form(self, _tool_names: frozenset[str]) -> Form:
        """Return no markers: the parser knows them."""
        return Form(thinking=())

    @staticmethod
    def calls(tools: Tools, _max_calls: int) -> str:
        """Return the expression for one call, before which there may be an analysis."""
        rules = tools.rules
        channel = f'{marked(CHANNEL)} ("commentary" | "analysis")'
        body = sequence(f'({literal(" <|constrain|>json")} | " json")?', marked(MESSAGE))
        behind_name, with_channel = rules.add("body", body), rules.add("body", sequence(channel, body))
        arguments = tools.arguments()
        names = choice({name: f"{behind_name} {each}" for name, each in arguments.items()})
        in_role = choice({name: f"{with_channel} {each}" for name, each in arguments.items()})
        analysis = sequence(marked(f"{CHANNEL}analysis{MESSAGE}"), rules.until("<|end|>"))
        start = rules.add("begin", f"({analysis})? {marked(START)}")
        in_channel = sequence(channel, literal(f" {TO}"), names)
        return f'{start}? {in_channel} | ({start} " " | " "?) {literal(TO)} {in_role}'
