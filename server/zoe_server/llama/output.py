"""From the bytes of sampled tokens to events: characters, then the dialect, then stop strings, then white space.

    b"On it.\\n<tool_" b"call>\\n{..." -> Text("On it.") ToolCallStart(...) ToolCallArguments(...)

The concatenated events do not depend on where the bytes were cut. Stop strings apply to text only, not to tool calls or
reasoning, and a stop string ends the text where it is complete first. White space between text, reasoning and calls is
dropped, and so are control tokens that are no markers of the dialect. This module knows no model.
"""

from __future__ import annotations

import codecs
import json
from collections import defaultdict
from collections.abc import Sequence

from zoe_server.llama.dialects import Dialect
from zoe_server.llama.pieces import joined
from zoe_server.protocol import (
    ChatEvent,
    ChatRequest,
    FinishReason,
    Reasoning,
    Text,
    ToolCallArguments,
    ToolCallStart,
)

_WHITE_SPACE = " \t\r\n"


class OutputStream:
    """The output side of one request."""

    def __init__(self, request: ChatRequest, dialect: Dialect, *, reasoning_open: bool = False) -> None:
        """`reasoning_open`: the prompt itself began the reasoning (see `prompt.opens_reasoning`)."""
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._parser = dialect.parser(request, reasoning_open=reasoning_open)
        self._stops = StopStrings(request.stop)
        self._markers = frozenset(dialect.markers)
        self._margins = Margins()
        self._arguments: defaultdict[int, str] = defaultdict(str)

    @property
    def may_stop(self) -> bool:
        """Whether there are stop strings to be found."""
        return bool(self._stops.wanted)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found, or the answer repeats itself: generation should end."""
        return self._stops.found or self._parser.repeating

    @property
    def repaired_calls(self) -> tuple[int, ...]:
        """The indexes of the calls so far that were not written as they should be."""
        return self._parser.repaired_calls

    def feed(self, piece: bytes) -> list[ChatEvent]:
        """Return the events that the next bytes make certain; they may end in the middle of a character."""
        return self._deliver(self._parser.feed(self._characters.decode(piece)))

    def feed_control(self, piece: bytes) -> list[ChatEvent]:
        """Return the events that a control token makes certain; only one that is a stop string is text."""
        text = piece.decode(errors="replace")
        events = self._parser.feed(self._characters.decode(b"", final=True))
        if text in self._markers:
            events += self._parser.feed_marker(text)
        elif text in self._stops.wanted:
            events += self._parser.feed(text)
        return self._deliver(events)

    def close(self, reason: FinishReason) -> tuple[list[ChatEvent], FinishReason]:
        """Return what was held back, and the reason to report.

        `stop` becomes `tool_calls` if a call is complete, and any reason becomes `stop` if what was held back contains
        a stop string. With another reason than `stop` the answer was cut: a half call or half character is dropped.
        """
        truncated = reason != "stop"
        rest = "" if truncated else self._characters.decode(b"", final=True)
        events = self._deliver(self._parser.feed(rest))
        events += self._deliver(self._parser.close(truncated=truncated))
        events += [*self._margins.prose(Text(self._stops.release())), *self._margins.end()]
        if self.stopped and reason == "length":
            reason = "stop"
        if reason == "stop" and any(map(_is_object, self._arguments.values())):
            reason = "tool_calls"
        return joined(events), reason

    def _deliver(self, events: Sequence[ChatEvent]) -> list[ChatEvent]:
        delivered: list[ChatEvent] = []
        for event in events:
            if self._stops.found:
                break
            if isinstance(event, Text):
                delivered += self._margins.prose(Text(self._stops.feed(event.text)))
                continue
            delivered += self._margins.prose(Text(self._stops.release()))
            if isinstance(event, Reasoning):
                delivered += self._margins.prose(event)
                continue
            if isinstance(event, ToolCallArguments):
                self._arguments[event.index] += event.text
            elif isinstance(event, ToolCallStart):
                self._margins.cut()
            delivered.append(event)
        return joined(delivered)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


class StopStrings:
    """Ends a text at the stop string that is complete first (of several, the longest), and never shows part of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.wanted = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Return the text that is certainly no part of a stop string."""
        text = self._held + text
        ends = [(at + len(stop), at) for stop in self.wanted if (at := text.find(stop)) >= 0]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)[1]]
        held = max((_overlap(text, stop) for stop in self.wanted), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def release(self) -> str:
        """Return what was held back, because the text ends here."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` are a beginning of `stop`, but not all of it."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


class Margins:
    """Drops the white space between text, reasoning and calls; at the end, white space after text is kept."""

    def __init__(self) -> None:
        self._kind: type[Text | Reasoning] | None = None
        self._at_margin = False
        self._held = ""

    def prose(self, event: Text | Reasoning) -> list[ChatEvent]:
        """Return the text or reasoning without the white space that may turn out to be a margin."""
        if not event.text:
            return []
        if type(event) is not self._kind:
            self._at_margin = self._kind is not None or isinstance(event, Reasoning)
            self._kind, self._held = type(event), ""
        text = self._held + event.text
        text = text.lstrip(_WHITE_SPACE) if self._at_margin else text
        inner = text.rstrip(_WHITE_SPACE)
        self._held = text[len(inner) :]
        if not inner:
            return []
        self._at_margin = False
        return [type(event)(inner)]

    def cut(self) -> None:
        """Note that a call begins here."""
        self._kind, self._at_margin, self._held = Text, True, ""

    def end(self) -> list[ChatEvent]:
        """Return the white space that ends the answer's text."""
        held, self._held = self._held, ""
        return [Text(held)] if held and self._kind is Text else []
