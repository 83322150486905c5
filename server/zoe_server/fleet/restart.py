"""When an engine that is gone is started again: a pure function of when it failed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
