"""When an engine that is gone is started again: by when others of its model failed before. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Exponential back-off, forgetting failures older than `window_s`.

    The first failure within the window is answered after `first_s`, each further one after twice as long as the one
    before, at most `longest_s`. An engine that crashed `quarantine_after` times within the window is left alone for
    `quarantine_s`. One that was stopped because it did not answer is started again after `unhealthy_s`, one that had
    too little memory after `no_memory_s`. All durations in seconds.
    """

    first_s: float = 0.25
    longest_s: float = 60.0
    window_s: float = 300.0
    quarantine_after: int = 3
    quarantine_s: float = 300.0
    unhealthy_s: float = 2.0
    no_memory_s: float = 60.0

    def delay_s(self, failures: Sequence[float], now: float) -> float:
        """Return the pause before the next start.

        Args:
            failures: when the engine failed, by the clock that `now` is from, the latest failure included.
            now: the present moment.
        """
        recent = sum(1 for moment in failures if now - moment <= self.window_s)
        if recent == 0:
            return 0.0
        return min(self.longest_s, self.first_s * 2.0 ** min(recent - 1, 32))

    def quarantines(self, crashes: Sequence[float], now: float) -> bool:
        """Whether an engine that crashed at these moments, the latest included, crashes too often."""
        return sum(1 for moment in crashes if now - moment <= self.window_s) >= self.quarantine_after


class Failures:
    """How often the engines of one model failed, and from when on another may be started. Moments in seconds."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._all: deque[float] = deque(maxlen=_REMEMBERED)
        self._crashes: deque[float] = deque(maxlen=_REMEMBERED)
        self.not_before_s = -math.inf
        self.n_crashes = 0

    def cannot_start(self, now_s: float, *, lacks_memory: bool) -> None:
        """Note that an engine could not be started."""
        self._all.append(now_s)
        policy = self._policy
        self.not_before_s = now_s + (policy.no_memory_s if lacks_memory else policy.delay_s(self._all, now_s))

    def crashed(self, now_s: float, *, unhealthy: bool) -> bool:
        """Note that an engine went, or was ended because it was `unhealthy`; return whether that is quarantine."""
        policy = self._policy
        self.n_crashes += 1
        self._all.append(now_s)
        self._crashes.append(now_s)
        if policy.quarantines(self._crashes, now_s):
            self._crashes.clear()
            self.not_before_s = now_s + policy.quarantine_s
            return True
        self.not_before_s = now_s + (policy.unhealthy_s if unhealthy else policy.delay_s(self._all, now_s))
        return False

    def reset_failures(self) -> None:
        """Forget them: another engine may be started at once."""
        self.not_before_s = -math.inf
        self._all.clear()
        self._crashes.clear()
