"""What was computed lately, up to a number of bytes: schemas that clients send may be of any size, and ever new."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, ParamSpec, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
P = ParamSpec("P")


class Recent(Generic[K, V]):
    """Values by key, of which the most recently used are kept that take `limit_bytes` together, and always the last.

    It may be used by several threads.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return the value of `key`, None if it is not kept."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: K, value: V, n_bytes: int) -> None:
        """Keep `value`, which takes `n_bytes`; others may have to go."""
        with self._lock:
            self._forget(self._kept.pop(key, None))
            self._kept[key] = value, n_bytes
            self._n_bytes += n_bytes
            while self._n_bytes > self._limit_bytes and len(self._kept) > 1:
                self._forget(self._kept.popitem(last=False)[1])

    def _forget(self, kept: tuple[V, int] | None) -> None:
        if kept is not None:
            self._n_bytes -= kept[1]


def remembered(limit_bytes: int) -> Callable[[Callable[P, V]], Callable[P, V]]:
    """Let a function remember its results, none of which is None, with their arguments, `limit_bytes` as text."""

    def decorate(function: Callable[P, V]) -> Callable[P, V]:
        recent: Recent[Hashable, V] = Recent(limit_bytes)

        @functools.wraps(function)
        def remembering(*args: P.args, **kwargs: P.kwargs) -> V:
            key = (args, tuple(kwargs.items()))
            value = recent.get(key)
            if value is None:
                value = function(*args, **kwargs)
                recent.put(key, value, len(repr((key, value))))
            return value

        return remembering

    return decorate
