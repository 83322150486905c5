"""Reads the answers of every dialect that has calls, one character after the other, so that cuts cannot matter.

A `Form` says what the markers of a dialect are; a `CallReader` reads one call. The rules for all of them:

Reasoning stands between its markers, at the start of the answer or where the prompt itself opened it. A lone end
marker is swallowed if nothing but white space came before it; later it is text, because what came before it is
already sent as text. Markers that are tokens of their own, and so never text, mean the same anywhere. A call inside
reasoning counts, and what follows it is text.

A call is complete when its brackets are; the marker behind it may follow or be missing. What is no call of a tool that
may be called is text, and if some of its arguments were already sent, these are void (see `Parser`).

A call printed as plain text is found where a line begins with it; in reasoning, only where the reasoning begins with
it, or in any line if the dialect has no other way of calling: a line that reasons about a call is none.

A call without its marker, in a dialect with markers, is sent when it is complete, and only if it fits the schema of its
tool: where no grammar held the model to it, it is text. So is one that names no tool for `MAX_HELD` characters; in what
was taken for a call others are looked for, but not so often that reading a text takes more than a few times its length.

A call counts as repaired if it was printed as plain text in a dialect with markers, or had to be mended to be read.

White space around calls is handed on: whoever shows the text removes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any, Final

from zoe_server.call_check import fits
from zoe_server.llama.dialects.base import Parser
from zoe_server.llama.dialects.call_reader import CallReader
from zoe_server.llama.dialects.enclosed_call import OPENERS, EnclosedCall
from zoe_server.llama.pieces import joined
from zoe_server.protocol import ChatEvent, Reasoning, Text, ToolCallArguments, ToolCallStart

WHITE_SPACE: Final = " \t\r\n"
MAX_EQUAL_CALLS: Final = 2
"""An answer that makes the same call more often repeats itself; the rest of it is not wanted."""
MAX_HELD: Final = 4000
"""How many characters may wait for the tool of a call without its marker, and how many are read again at once."""
REREADINGS: Final = 2
"""How often a character is read again on average, where calls without markers that turn out to be none are nested."""

NewReader = Callable[[], CallReader]


@dataclass(frozen=True, slots=True)
class Thinking:
    """The markers around reasoning; with `anywhere`, they mean the same in the middle of the answer."""

    start: str
    end: str
    anywhere: bool = False


THINK: Final = Thinking("<think>", "</think>")


@dataclass(frozen=True, slots=True)
class Form:
    """What the parser has to know of a dialect: which marker starts a call, and who reads what follows the marker.

    `calls_at_start` and `skipped_at_start` count only where the answer begins; what is skipped is no text. `plain`
    reads calls without any marker, which begin with one of `openers`. The longest marker counts.
    """

    calls: Mapping[str, NewReader] = field(default_factory=dict)
    calls_at_start: Mapping[str, NewReader] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    skipped_at_start: tuple[str, ...] = ()
    thinking: tuple[Thinking, ...] = (THINK,)
    plain: NewReader = EnclosedCall
    openers: tuple[str, ...] = OPENERS
    plain_in_reasoning: bool = False


class CallParser(Parser):
    """Reads one answer.

    It reads units: characters, and whole markers where they are control tokens. In prose, at most the beginning of a
    marker is held back. In a call the raw text is kept until the call is complete, to be given back if it turns out not
    to be one. What is to be read again waits in `_unread`, the next unit last.
    """

    def __init__(
        self,
        form: Form,
        schemas: Mapping[str, Mapping[str, Any]],
        call_ids: Callable[[], str],
        *,
        reasoning_open: bool,
        calls_only: bool,
    ) -> None:
        self._form = form
        self._schemas = schemas
        self._seen: Counter[tuple[str, str]] = Counter()
        self._call_ids = call_ids
        self._calls_only = calls_only
        self._prose: type[Text | Reasoning] = Reasoning if reasoning_open else Text
        self._blank = self._line_blank = True
        self._known: dict[tuple[type[Text | Reasoning], bool, bool], Mapping[str, Sequence[str]]] = {}
        self._read: Callable[[str], None] = self._read_prose
        self._held: list[str] = []
        self._unread: list[str] = []
        self._tokens: set[str] = set()  # markers that have come as control tokens, and so are text in characters
        self._may_reread = 0
        self._call: CallReader = EnclosedCall()
        self._marked = self._continuing = self._started = self._printed = False
        self._ends: list[str] = []
        self._behind = ""
        self._following: Mapping[str, NewReader] = {}
        self._index = -1
        self._events: list[ChatEvent] = []

    def feed(self, text: str) -> list[ChatEvent]:
        """Return the events that `text` makes certain."""
        return self._feed(text)

    def feed_marker(self, marker: str) -> list[ChatEvent]:
        """Return the events that a control token makes certain; what does not mean anything where it stands is lost."""
        self._tokens.add(marker)
        return self._feed([marker])

    def _feed(self, units: Iterable[str]) -> list[ChatEvent]:
        for unit in units:
            self._may_reread = min(self._may_reread + REREADINGS, MAX_HELD)
            self._unread.append(unit)
            self._read_all()
        return self._take()

    def close(self, *, truncated: bool = False) -> list[ChatEvent]:
        """Return what was held back; if truncated, no half call, and no half marker where only a call could follow."""
        while self._read == self._read_call and not self._is_dropped(truncated=truncated):
            self._give_back()
            self._read_all()
        if self._read == self._read_prose and not (truncated and self._calls_only):
            self._write(self._held)
        self._held, self._read = [], self._read_prose
        return self._take()

    def _read_all(self) -> None:
        while self._unread:
            self._read(self._unread.pop())

    def _take(self) -> list[ChatEvent]:
        events, self._events = joined(self._events), []
        return events

    def _is_dropped(self, *, truncated: bool) -> bool:
        """Return whether the unfinished call is no text either."""
        if self._continuing and not self._call.begun:
            return True
        return truncated and (self._calls_only or self._marked or self._call.likely)

    def _write(self, units: Iterable[str]) -> None:
        """Send prose, of which control tokens are no part."""
        text = "".join(unit for unit in units if len(unit) == 1)
        if not text:
            return
        _, line_break, line = text.rpartition("\n")
        self._line_blank = (self._line_blank or bool(line_break)) and not line.strip(WHITE_SPACE)
        self._blank = self._blank and not text.strip(WHITE_SPACE)
        self._events.append(self._prose(text))

    def _read_prose(self, unit: str) -> None:
        self._held.append(unit)
        while self._held:
            markers = self._here().get(self._held[0][0])
            if markers and self._takes(markers):
                return
            self._write(self._held[:1])
            del self._held[:1]

    def _takes(self, markers: Sequence[str]) -> bool:
        """Return whether what is held may become one of the markers, or begins with one, which is entered then."""
        *shorter, held = accumulate(self._held)
        if any(marker.startswith(held) and marker != held for marker in markers):
            return True
        beginnings = enumerate([*shorter, held], 1)
        found = [(n, text) for n, text in beginnings if text in markers and (n == 1 or text not in self._tokens)]
        if not found:
            return False
        n_units, marker = found[-1]
        self._unread += reversed(self._held[n_units:])
        del self._held[n_units:]
        self._enter(marker)
        return True

    def _here(self) -> Mapping[str, Sequence[str]]:
        """Return the markers that mean something here, by their first character."""
        state = self._prose, self._blank, self._line_blank
        if state not in self._known:
            by_first = groupby(sorted(self._markers()), key=itemgetter(0))
            self._known[state] = {first: list(markers) for first, markers in by_first}
        return self._known[state]

    def _markers(self) -> list[str]:
        """Return the markers that mean something here."""
        form = self._form
        reasoning = self._prose is Reasoning
        markers = [*form.skipped, *(form.skipped_at_start if self._blank else ())]
        if self._schemas:
            markers += [*form.calls, *(form.calls_at_start if self._blank else ())]
            if self._line_blank and (not reasoning or self._blank or form.plain_in_reasoning):
                markers += form.openers
        here = [thinking for thinking in form.thinking if self._blank or thinking.anywhere]
        markers += [thinking.end for thinking in (form.thinking if reasoning else here)]
        markers += [] if reasoning else [thinking.start for thinking in here]
        return markers

    def _enter(self, marker: str) -> None:
        form = self._form
        reader = form.calls.get(marker) or (form.calls_at_start.get(marker) if self._blank else None)
        if reader is not None:
            self._open(reader(), marked=True)
        elif marker in OPENERS:
            self._open(form.plain(), marked=False, text=marker)
        else:
            self._held = []
            if marker not in form.skipped + form.skipped_at_start:
                starts = any(thinking.start == marker for thinking in form.thinking)
                self._prose = Reasoning if starts else Text

    def _open(self, call: CallReader, *, marked: bool, text: str = "", continuing: bool = False) -> None:
        """Begin a call; the marker is held, and `text` is the part of it that belongs to the call itself."""
        self._call, self._marked, self._continuing, self._started = call, marked, continuing, False
        self._printed = self._printed if continuing else not (marked or self._form.plain_in_reasoning)
        self._read = self._read_call
        for char in text:
            call.feed(char)

    def _read_call(self, unit: str) -> None:
        fragment = ""
        for char in unit:
            if not self._call.feed(char):
                self._unread.append(unit)
                self._give_back()
                return
            fragment += self._call.fragment
        self._held.append(unit)
        name = self._call.name
        if name is not None and not self._started and not self._printed and not self._start_call(name):
            return
        if fragment and self._started:
            self._events.append(ToolCallArguments(self._index, fragment))
        if self._call.complete:
            self._finish_call()
        elif len(self._held) > MAX_HELD and not self._marked and self._call.tool not in self._schemas:
            self._give_back()

    def _start_call(self, name: str) -> bool:
        """Announce the call if there is such a tool, else give its text back."""
        if name not in self._schemas:
            self._give_back()
            return False
        self._index += 1
        self._started = True
        self._events.append(ToolCallStart(self._index, self._call_ids(), name))
        return True

    def _finish_call(self) -> None:
        call = self._call.call()
        if call is None:
            self._give_back()
            return
        name, arguments = call
        self._seen[call] += 1
        if self._seen[call] > MAX_EQUAL_CALLS:
            self.repeating, self._held, self._read = True, [], self._ignore  # its last brace is never sent
            return
        if self._printed and name in self._schemas and not fits(arguments, self._schemas[name]):
            self._give_back()
            return
        if self._started:
            self._events.append(ToolCallArguments(self._index, "}"))
        elif self._start_call(name):
            self._events.append(ToolCallArguments(self._index, arguments))
        else:
            return
        if self._printed or self._call.repaired:
            self.repaired_calls += (self._index,)
        self._prose, self._blank, self._line_blank = Text, False, True
        self._held, self._behind = [], ""
        self._ends, self._following = list(self._call.ends), self._call.following
        self._read = self._read_call_end if self._ends or self._following else self._read_prose

    def _ignore(self, _unit: str) -> None:
        """Read what is not wanted any more."""

    def _give_back(self) -> None:
        """Send the raw text of what is no call; behind the beginning of a call without a marker, another may begin."""
        held, self._held, self._read = self._held, [], self._read_prose
        again = [] if self._marked or self._started or len(held) > self._may_reread else held[1:]
        self._may_reread -= len(again)
        self._write(held[: len(held) - len(again)])
        self._unread += reversed(again)

    def _read_call_end(self, unit: str) -> None:
        """Swallow white space and the end markers; another call may follow; anything else is prose again."""
        self._held.append(unit)
        marker = self._behind = (self._behind + unit).lstrip(WHITE_SPACE)
        if marker in self._following:
            self._open(self._following[marker](), marked=False, text=marker, continuing=True)
        elif marker in self._ends:
            self._ends.remove(marker)
            self._held, self._behind, self._following = [], "", {}
            self._read = self._read_call_end if self._ends else self._read_prose
        elif not any(end.startswith(marker) for end in (*self._ends, *self._following)):
            self._unread += reversed(self._held)
            self._held, self._read = [], self._read_prose
