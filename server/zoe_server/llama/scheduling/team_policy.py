"""How many threads compute together, and with which priority, while other processes want the same cores. Pure.

The threads of a team wait for each other some hundred times per token, so that one that has to wait for its core stops
all of them: two threads on two cores, one of them busy, are slower than one thread. The evidence is how long a thread
of the team was ready to run and did not. Where that is more than a smaller team would lose, the next measure is
taken: first a higher priority, if the system allows it, then fewer threads. After a pause, the one before is tried
again, more threads only where a core is idle; the pause grows as long as that fails.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MIN_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 8.0
_JUDGED_S: Final = 0.3
_JUDGED_TRIAL_S: Final = 0.1
"""So much computing is judged together: a trial ends soon, and what has proved good outlasts a bad moment.

A note of less after a change does not count, since the system moves the threads meanwhile.
"""
_MIN_DELAY: Final = 0.1
"""Shares of the time that are less come from the team's own barriers and from what everybody does now and then."""


class Team(NamedTuple):
    """`n_threads` that compute, with a higher priority than others if `raised`."""

    n_threads: int
    raised: bool = False


def tolerable_delay(n_threads: int) -> float:
    """Return which share of the time a thread of such a team may wait for its core before a thread less is better.

    One thread less costs one in `n_threads`; a delay costs all of the team about twice its share, as measured.
    """
    return max(_MIN_DELAY, 0.5 / n_threads)


class TeamPolicy:
    """Decides for a team of at most `n_threads`; times are in seconds of a clock that never goes back."""

    def __init__(self, n_threads: int, *, may_raise: bool) -> None:
        raised = [Team(n_threads, raised=True)] if may_raise else []
        fewer = [Team(count, raised=may_raise) for count in range(n_threads - 1, 0, -1)]
        self._teams = [Team(n_threads), *raised, *fewer]
        self._index = 0
        self._is_trial = False
        self._computed_s = self._waited_s = 0.0
        self._is_settling = True
        self._pause_s = MIN_PAUSE_S
        self._next_trial_s = 0.0

    @property
    def team(self) -> Team:
        """Who is to compute now."""
        return self._teams[self._index]

    def note(self, computed_s: float, waited_s: float, now_s: float, *, has_idle_core: bool = True) -> None:
        """Take note of `computed_s` of computing, in which the most delayed thread waited for a core for `waited_s`."""
        is_settling, self._is_settling = self._is_settling, False
        if is_settling and computed_s < _JUDGED_S:
            return
        self._computed_s += computed_s
        self._waited_s += waited_s
        if self._computed_s >= (_JUDGED_TRIAL_S if self._is_trial else _JUDGED_S):
            self._judge(self._waited_s / self._computed_s, now_s, has_idle_core=has_idle_core)
            self._computed_s = self._waited_s = 0.0

    def _judge(self, delay: float, now_s: float, *, has_idle_core: bool) -> None:
        if delay > tolerable_delay(self.team.n_threads):
            if self._is_trial:
                self._pause_s = min(2 * self._pause_s, MAX_PAUSE_S)
            self._next_trial_s = now_s + self._pause_s
            self._change(+1, is_trial=False)
        elif self._is_trial:
            self._pause_s = MIN_PAUSE_S
            self._next_trial_s = now_s + self._pause_s
            self._is_trial = False
        elif now_s >= self._next_trial_s and (has_idle_core or self.team.n_threads == self._teams[0].n_threads):
            self._change(-1, is_trial=True)

    def _change(self, step: int, *, is_trial: bool) -> None:
        index = min(max(self._index + step, 0), len(self._teams) - 1)
        self._is_settling = index != self._index
        self._is_trial = is_trial and index != self._index
        self._index = index
