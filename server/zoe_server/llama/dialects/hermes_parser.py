"""Reads what `hermes.py` describes, one character after the other, so that cuts cannot matter.

Reasoning is recognised at the start of the answer, or where the prompt itself opened it; a lone `</think>` is text. A
call inside reasoning counts, and what follows it is text. A call is complete when its JSON object is; `</tool_call>`
may follow or be missing. `"name"` first and then `"arguments"` is streamed; any other order is read when the object is
complete. White space around calls is handed on: whoever shows the text removes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from zoe_server.llama.dialects.base import Parser
from zoe_server.llama.dialects.json_scanner import JsonScanner
from zoe_server.protocol import ChatEvent, Reasoning, Text, ToolCallArguments, ToolCallStart

CALL: Final = "<tool_call>"
CALL_END: Final = "</tool_call>"
THINK: Final = "<think>"
THINK_END: Final = "</think>"

_WHITE_SPACE: Final = " \t\r\n"
_HEAD: Final = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*\{')
_ARGUMENTS_DEPTH: Final = 2


class HermesParser(Parser):
    """Reads one answer.

    In prose, at most the beginning of a marker is held back. In a call the raw text is kept until the call is complete,
    to be given back if it turns out not to be one; what was already sent of it is then void (see `Parser`).
    """

    def __init__(
        self, tool_names: frozenset[str], call_ids: Callable[[], str], *, reasoning_open: bool, calls_only: bool
    ) -> None:
        self._tool_names = tool_names
        self._call_ids = call_ids
        self._calls_only = calls_only
        self._prose: type[Text | Reasoning] = Reasoning if reasoning_open else Text
        self._blank = True
        self._read: Callable[[str], None] = self._read_prose
        self._held = ""
        self._scanner = JsonScanner()
        self._started = self._streaming = False
        self._index = -1
        self._events: list[ChatEvent] = []

    def feed(self, text: str) -> list[ChatEvent]:
        """Return the events that `text` makes certain."""
        for char in text:
            self._read(char)
        return self._take()

    def close(self, *, truncated: bool = False) -> list[ChatEvent]:
        """Return what was held back; if truncated, no half call, and no half marker where only a call could follow."""
        in_call, after_call = self._read == self._read_call, self._read == self._read_call_end
        if not after_call and not (truncated and (in_call or self._calls_only)):
            self._write(self._held)
        self._held, self._read = "", self._read_prose
        return self._take()

    def _take(self) -> list[ChatEvent]:
        events, self._events = self._events, []
        return events

    def _write(self, text: str) -> None:
        """Send prose, joined to the prose before it."""
        if not text:
            return
        self._blank = self._blank and not text.strip(_WHITE_SPACE)
        last = self._events[-1] if self._events else None
        if isinstance(last, Text | Reasoning) and type(last) is self._prose:
            self._events[-1] = self._prose(last.text + text)
        else:
            self._events.append(self._prose(text))

    def _read_prose(self, char: str) -> None:
        markers = self._markers()
        self._held += char
        if self._held in markers:
            self._enter(self._held)
            return
        while self._held and not any(marker.startswith(self._held) for marker in markers):
            self._write(self._held[0])
            self._held = self._held[1:]

    def _markers(self) -> list[str]:
        """Return the markers that mean something here."""
        markers = [CALL] if self._tool_names else []
        if self._prose is Reasoning:
            markers.append(THINK_END)
        elif self._blank:
            markers.append(THINK)
        return markers

    def _enter(self, marker: str) -> None:
        if marker != CALL:
            self._held = ""
            self._prose = Reasoning if marker == THINK else Text
            return
        self._scanner, self._started, self._streaming = JsonScanner(), False, False
        self._read = self._read_call

    def _read_call(self, char: str) -> None:
        if not self._scanner.feed(char):
            self._give_back()
            self._read_prose(char)
            return
        self._held += char
        depth = self._scanner.depth
        if self._scanner.complete:
            self._finish_call()
        elif self._streaming:
            self._streaming = depth >= _ARGUMENTS_DEPTH
            if self._streaming:  # else it is the arguments' last brace, which waits until the call is complete
                self._send(ToolCallArguments(self._index, char))
        elif not self._started and char == "{" and depth == _ARGUMENTS_DEPTH:
            head = _HEAD.fullmatch(self._held, len(CALL))
            if head and self._start_call(_decoded(head[1])):
                self._streaming = True
                self._send(ToolCallArguments(self._index, char))

    def _start_call(self, name: object) -> bool:
        """Announce the call if there is such a tool, else give its text back."""
        if not isinstance(name, str) or name not in self._tool_names:
            self._give_back()
            return False
        self._index += 1
        self._started = True
        self._send(ToolCallStart(self._index, self._call_ids(), name))
        return True

    def _finish_call(self) -> None:
        call = _decoded(self._held[len(CALL) :])
        arguments = _arguments(call) if isinstance(call, dict) else None
        if not isinstance(call, dict) or arguments is None:
            self._give_back()
            return
        if self._started:
            self._send(ToolCallArguments(self._index, "}"))
        elif self._start_call(call.get("name")):
            self._send(ToolCallArguments(self._index, json.dumps(arguments, ensure_ascii=False)))
        else:
            return
        self._prose, self._blank = Text, False
        self._held, self._read = "", self._read_call_end

    def _send(self, event: ToolCallStart | ToolCallArguments) -> None:
        """Send an event of a call, joined to the piece of arguments before it."""
        last = self._events[-1] if self._events else None
        if isinstance(event, ToolCallArguments) and isinstance(last, ToolCallArguments) and last.index == event.index:
            self._events[-1] = ToolCallArguments(event.index, last.text + event.text)
        else:
            self._events.append(event)

    def _give_back(self) -> None:
        """Send the raw text of what is no call."""
        self._write(self._held)
        self._held, self._read = "", self._read_prose

    def _read_call_end(self, char: str) -> None:
        """Swallow white space and one end marker; anything else is prose again."""
        self._held += char
        marker = self._held.lstrip(_WHITE_SPACE)
        if marker != CALL_END and CALL_END.startswith(marker):
            return
        text = "" if marker == CALL_END else self._held
        self._held, self._read = "", self._read_prose
        for each in text:
            self._read(each)


def _decoded(text: str) -> object:
    """Return the value of a JSON text; None if it is none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _arguments(call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a call's arguments, which some models write as a string of JSON, or not at all if there are none."""
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _decoded(arguments or "{}")
    return arguments if isinstance(arguments, dict) else None
