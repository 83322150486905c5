"""At how many places of a grammar a text may be at once, counted while the rules are made.

llama.cpp's matcher follows them all. Alternatives that begin alike multiply on the way inside; a rule that contains
itself in one of them doubles with every level of the text, until the engine has no memory left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from zoe_server.llama.schema_document import SchemaError

MAX_PLACES: Final = 100
"""Schemas that may leave open at more places which alternative a text is in are refused."""
_TOLD_APART: Final = "give each a first property that is required and has a const of its own"


class Places:
    """Knows the rules in work and those that are made, each by a key."""

    def __init__(self) -> None:
        self._now = self._most = 1
        self._began: dict[str, int] = {}
        self._times_inside: dict[str, int] = {}
        self._leads_to: dict[str, set[str]] = {}

    @contextmanager
    def times(self, n_alike: int) -> Iterator[None]:
        """Count what is made inside as one of so many alternatives that begin alike."""
        self._now *= n_alike
        yield
        self._now //= n_alike

    @contextmanager
    def rule(self, key: str, path: str) -> Iterator[None]:
        """Count what is made inside as the rule of `key`.

        Raises:
            SchemaError: a text may be at too many places.
        """
        most_before, self._most = self._most, self._now
        self._began[key], self._leads_to[key] = self._now, set()
        yield
        del self._began[key]
        self._times_inside[key] = self._most // self._now
        self._note(max(most_before, self._most), path)
        self._lead_to(self._leads_to[key] & self._began.keys())

    def again(self, key: str, path: str) -> None:
        """Count one more use of the rule of `key`.

        Raises:
            SchemaError: a text may be at too many places.
        """
        reached = ({key} | self._leads_to[key]) & self._began.keys()
        if any(self._now > self._began[other] for other in reached):
            raise SchemaError(path, f"leads back into one of several alternatives that begin alike; {_TOLD_APART}")
        self._lead_to(reached)
        self._note(self._now * self._times_inside.get(key, 1), path)

    def _lead_to(self, keys: set[str]) -> None:
        """Note that the innermost rule in work contains uses of these."""
        if self._began:
            self._leads_to[next(reversed(self._began))] |= keys

    def _note(self, places: int, path: str) -> None:
        if places > MAX_PLACES:
            raise SchemaError(path, f"has too many alternatives that begin alike; {_TOLD_APART}")
        self._most = max(self._most, places)
