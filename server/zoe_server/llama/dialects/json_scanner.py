"""Follows one JSON object character by character: how deep is it, is it complete, can it still become JSON?"""

from __future__ import annotations

from typing import Final

MAX_DEPTH: Final = 400
"""No tool's arguments are nested deeper; `json.loads` still reads that."""

_OUTSIDE_STRINGS: Final = frozenset(" \t\r\n,:+-.0123456789eEtrufalsn")
_CLOSERS: Final = {"{": "}", "[": "]"}


class JsonScanner:
    """Checks strings and brackets only; a text it calls complete may still not be JSON."""

    def __init__(self) -> None:
        self._closers: list[str] = []
        self._in_string = False
        self._escaped = False
        self.complete = False

    @property
    def depth(self) -> int:
        """How many brackets are open."""
        return len(self._closers)

    def feed(self, char: str) -> bool:
        """Take the next character; False if no JSON object goes on like this."""
        if self._in_string:
            return self._feed_string(char)
        if char in _CLOSERS and (self._closers or char == "{") and len(self._closers) < MAX_DEPTH:
            self._closers.append(_CLOSERS[char])
            return True
        if not self._closers:
            return char in " \t\r\n"
        if char == self._closers[-1]:
            self._closers.pop()
            self.complete = not self._closers
            return True
        self._in_string = char == '"'
        return self._in_string or char in _OUTSIDE_STRINGS

    def _feed_string(self, char: str) -> bool:
        if char < " ":
            return False
        if self._escaped:
            self._escaped = False
        elif char == "\\":
            self._escaped = True
        elif char == '"':
            self._in_string = False
        return True
