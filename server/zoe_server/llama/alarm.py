"""What wakes a lazy grammar: a marker anywhere in the answer, or an answer that begins like a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoe_server.llama.grammar import Grammar


class Alarm:
    """Watches an answer for what wakes its grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self._triggers = _encoded(grammar.triggers)
        self._openings = _encoded(grammar.openings)
        self._reasoning_ends = _encoded(grammar.reasoning_ends)
        self._n_kept = max(map(len, (*self._triggers, *self._reasoning_ends)), default=0)
        self._text = b""  # what a trigger may still begin in
        self._at_start = bool(self._openings)

    def feed(self, piece: bytes) -> bytes | None:
        """Take the next piece of the answer; return the text that wakes the grammar, None if it sleeps on."""
        self._text += piece
        found = [at for trigger in self._triggers if (at := self._text.find(trigger)) >= 0]
        if found:
            return self._text[min(found) :]
        if not self._openings:
            self._text = self._text[-self._n_kept :]
            return None
        return self._feed_opening()

    def _feed_opening(self) -> bytes | None:
        ends = [at + len(end) for end in self._reasoning_ends if (at := self._text.rfind(end)) >= 0]
        if ends:
            self._text, self._at_start = self._text[max(ends) :], True
        begun = self._text.lstrip()
        if self._at_start and begun.startswith(self._openings):
            return begun
        self._at_start = self._at_start and any(opening.startswith(begun) for opening in self._openings)
        if not self._at_start:
            self._text = self._text[-self._n_kept :] if self._n_kept else b""
        return None


def _encoded(texts: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)
