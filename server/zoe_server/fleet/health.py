"""Is an engine well? `Judge` looks at what it says of itself and decides; `watch` looks now and then.

An engine's loop reports at least every second, also when it has nothing to do: that is its pulse, and it comes from
the loop itself, so nobody has to be asked. Two things count as progress: a step where there is work, a report where
there is none. A loop that spins and computes nothing is found as well as one that stands still.

    work in hand (or a request open), no progress for `stuck_s`         -> STUCK: it is killed
    nothing to do, and no progress in `n_silent` checks one after another -> SILENT: it is stopped

An engine that does not report cannot be judged, only be seen to end.

Time in which we looked at nothing (a machine that slept, a gateway that was held up) does not count: the reports of
that time may still be on their way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from zoe_server.engines.base import Health
from zoe_server.fleet.clock import Clock


class Verdict(Enum):
    """What was found in a check."""

    WELL = "well"
    UNSURE = "unsure"
    STUCK = "stuck"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """`stuck_s` has to be longer than the longest step: a picture is one, and takes its time without a GPU.

    An engine is looked at every `interval_s`, while it works more often. Durations in seconds.
    """

    stuck_s: float = 120.0
    interval_s: float = 20.0
    busy_interval_s: float = 5.0
    n_silent: int = 3

    def next_check_s(self, *, busy: bool) -> float:
        """Return how long to wait for the next check."""
        return min(self.busy_interval_s, self.stuck_s / 4) if busy else self.interval_s


class Judge:
    """Judges one engine from its start to its end."""

    def __init__(self, policy: HealthPolicy) -> None:
        self._policy = policy
        self._last: tuple[bool, int] | None = None
        self._n_unchanged = 0
        self._unchanged_s = 0.0
        self._checked_s: float | None = None

    def check(self, health: Health, *, open_requests: int, now_s: float) -> Verdict:
        """Return what is to be made of what the engine said last."""
        computes = health.running + health.waiting > 0
        if health.reports is None:
            return Verdict.WELL
        progress = (computes, health.step if computes else health.reports)
        watched_s = self._watched_s(now_s, busy=computes or open_requests > 0)
        self._checked_s = now_s
        if progress != self._last:
            self._last, self._n_unchanged, self._unchanged_s = progress, 0, 0.0
            return Verdict.WELL
        self._n_unchanged += 1
        self._unchanged_s += watched_s
        if computes or open_requests:
            return Verdict.STUCK if self._unchanged_s >= self._policy.stuck_s else Verdict.UNSURE
        return Verdict.SILENT if self._n_unchanged >= self._policy.n_silent else Verdict.UNSURE

    def _watched_s(self, now_s: float, *, busy: bool) -> float:
        """Return how much of the time since the last check counts."""
        if self._checked_s is None:
            return 0.0
        return min(now_s - self._checked_s, 2 * self._policy.next_check_s(busy=busy))


Look = Callable[[], tuple[Health, int]]
"""Returns what the engine said last, and how many requests are open."""


async def watch(look: Look, policy: HealthPolicy, clock: Clock, checked: Callable[[float], None]) -> Verdict:
    """Return what is wrong with an engine as soon as something is; `checked` is told the moment of every check."""
    judge = Judge(policy)
    while True:
        health, open_requests = look()
        now_s = clock.now_s()
        verdict = judge.check(health, open_requests=open_requests, now_s=now_s)
        checked(now_s)
        if verdict in (Verdict.STUCK, Verdict.SILENT):
            return verdict
        busy = open_requests > 0 or health.running + health.waiting > 0
        await clock.sleep_until(now_s + policy.next_check_s(busy=busy))
