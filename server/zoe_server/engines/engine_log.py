"""`EngineLog`: the last lines that an engine's process wrote, with their levels; what is bad goes to our own log, too.

A line begins with its level as systemd's journal has it, `<3>` for an error to `<7>`. One without a level was written
by a library that has no log, or by a process that falls, and counts as a warning.
Source: systemd, `sd-daemon(3)`.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from zoe_server.errors import in_one_line

N_LINES: Final = 500
"""How many lines are kept of a model."""
_LINE_CHARS: Final = 2000
_NEWS_S: Final = 60.0
_LEVEL: Final = re.compile(r"<([0-7])>")
_LEVELS: Final = {4: logging.WARNING, 5: logging.INFO, 6: logging.INFO, 7: logging.DEBUG}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line; `at_s` is in seconds since 1970, `level` is one of `logging`. `text` is printable."""

    at_s: float
    level: int
    text: str


class EngineLog:
    """Takes the lines of the engine of `model`, and tells `logger` of them."""

    def __init__(self, model: str, logger: logging.Logger) -> None:
        self._model = model
        self._logger = logger
        self._lines: deque[LogLine] = deque(maxlen=N_LINES)
        self._told: dict[str, float] = {}

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """The last lines, the oldest first."""
        return tuple(self._lines)

    def take(self, written: bytes) -> None:
        """Keep a line, and tell of it; the same words are told once a minute."""
        text, level = written.decode("utf-8", "replace").rstrip(), logging.WARNING
        if (found := _LEVEL.match(text)) is not None:
            level, text = _LEVELS.get(int(found[1]), logging.ERROR), text[found.end() :]
        line = LogLine(_now_s(), level, in_one_line(text[:_LINE_CHARS]))
        self._lines.append(line)
        if level < logging.WARNING or self._is_news(line):
            self._logger.log(level, "engine of %s: %s", self._model, line.text)

    def _is_news(self, line: LogLine) -> bool:
        told_s = self._told.pop(line.text, None)
        is_news = told_s is None or line.at_s - told_s >= _NEWS_S
        self._told[line.text] = line.at_s if told_s is None or is_news else told_s
        if len(self._told) > N_LINES:
            del self._told[next(iter(self._told))]
        return is_news


def _now_s() -> float:
    return time.time()
