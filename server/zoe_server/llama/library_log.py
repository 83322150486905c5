"""What llama.cpp says of itself: it goes to `logging` with its levels, and the last errors explain a failure."""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from typing import Any, Final

import llama_cpp

_LOG: Final = logging.getLogger("llama.cpp")
_GGML_LEVELS: Final = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
_CONTINUES_LAST: Final = 5


class _LibraryLog:
    """Takes the library's messages; one that has no end of line yet is continued by the next."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=8)
        self._level = logging.DEBUG
        self._begun = ""
        self.callback = llama_cpp.llama_log_callback(self._take)

    def install(self) -> None:
        llama_cpp.llama_log_set(self.callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes, _user_data: object) -> None:
        if level != _CONTINUES_LAST:
            self.flush()
            self._level = _GGML_LEVELS.get(level, logging.DEBUG)
        self._begun += text.decode("utf-8", errors="replace")
        if self._begun.endswith("\n"):
            self.flush()

    def flush(self) -> None:
        message, self._begun = self._begun.strip(), ""
        if message and self._level >= logging.ERROR:
            self.errors.append(message)
        if message:
            _LOG.log(self._level, "%s", message)


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
    _library_log.flush()
    return "; ".join(dict.fromkeys(_library_log.errors)) or "llama.cpp gives no reason"
