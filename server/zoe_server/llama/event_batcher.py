"""What the loop says, on its way to the gateway: the text of several tokens at once where they come fast.

Every message wakes two processes, which on a small computer takes time from the very threads that compute. So the
first words of an answer leave at once, and further ones wait until `HELD_S` have passed since the last: a model that
needs longer than that for a token sends every token alone, as before, and of a faster one nobody reads or speaks so
fast. The end of an answer takes what is held along, and nothing is held through a long step. It knows no sockets and
no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from zoe_server.llama.pieces import joined
from zoe_server.protocol import ChatEvent

HELD_S: Final = 0.04
"""Twenty-five times a second is fluent to read, and shorter than a syllable."""

Emit = Callable[[str, list[ChatEvent]], None]
"""Called with a request's id and its next events, from the loop's thread; it must not block."""


@dataclass(slots=True, eq=False)
class _Line:
    """One answer's: what is held, and when something left last, in seconds."""

    sent_s: float = float("-inf")
    held: list[ChatEvent] = field(default_factory=list)

    def take(self) -> list[ChatEvent]:
        """Return what is held, which is held no longer."""
        events, self.held = joined(self.held), []
        return events


class EventBatcher:
    """Passes the events of each request on in their order, some time after `put`."""

    def __init__(self, emit: Emit, held_s: float = HELD_S) -> None:
        self._emit = emit
        self._held_s = held_s
        self._lines: dict[str, _Line] = {}

    def is_due(self, request_id: str, now: float) -> bool:
        """Return whether what is put for a request at `now` leaves with the next `release`."""
        line = self._lines.get(request_id)
        return line is None or self._is_due(line, now)

    def put(self, request_id: str, events: list[ChatEvent]) -> None:
        """Take the next events of a request, to be passed on when it is time."""
        if events:
            self._lines.setdefault(request_id, _Line()).held += events

    def release(self, now: float) -> None:
        """Pass on what is held of the requests that have sent nothing for a while."""
        for request_id, line in self._lines.items():
            if line.held and self._is_due(line, now):
                line.sent_s = now
                self._emit(request_id, line.take())

    def _is_due(self, line: _Line, now: float) -> bool:
        return now - line.sent_s >= self._held_s

    def end(self, request_id: str, events: list[ChatEvent]) -> None:
        """Pass the last events of a request on, after what is held."""
        line = self._lines.pop(request_id, None)
        self._emit(request_id, events if line is None else [*line.take(), *events])

    def flush(self) -> None:
        """Pass on all that is held."""
        for request_id, line in self._lines.items():
            if line.held:
                self._emit(request_id, line.take())
