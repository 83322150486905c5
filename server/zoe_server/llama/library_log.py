"""What llama.cpp says of itself: warnings and errors go to `logging`, the last errors explain a failure."""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from typing import Any, Final

import llama_cpp

_LOG: Final = logging.getLogger(__name__)
_GGML_LEVELS: Final = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}
_CONTINUES_LAST: Final = 5


class _LibraryLog:
    """Takes the library's messages: warnings and errors go to `logging`; the last errors explain a failure."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=8)
        self._level = logging.DEBUG
        self.callback = llama_cpp.llama_log_callback(self._take)

    def install(self) -> None:
        llama_cpp.llama_log_set(self.callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes, _user_data: object) -> None:
        if level != _CONTINUES_LAST:
            self._level = _GGML_LEVELS.get(level, logging.DEBUG)
        message = text.decode("utf-8", errors="replace").strip()
        if message and self._level >= logging.ERROR:
            self.errors.append(message)
        if message and self._level >= logging.WARNING:
            _LOG.log(self._level, "llama.cpp: %s", message)


_library_log = _LibraryLog()


def install() -> None:
    """Take the library's messages from now on, and forget the errors so far."""
    _library_log.install()
    _library_log.errors.clear()


def callback() -> Any:  # noqa: ANN401 -- a function type that ctypes builds
    """Return what takes messages, for a library beside llama.cpp that has a log of its own."""
    return _library_log.callback


def reasons() -> str:
    """Return the last errors as a reason."""
    return "; ".join(dict.fromkeys(_library_log.errors)) or "llama.cpp gives no reason"
