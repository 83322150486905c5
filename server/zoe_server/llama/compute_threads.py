"""The threads in which the C library computes: how long they wait for a core, and with which priority they run.

Linux tells both for each thread. Elsewhere everything stays as it is configured.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from zoe_server.llama.scheduling.team_policy import TeamPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

_TASKS: Final = "/proc/self/task"
_WINDOW_S: Final = 0.1
"""So much computing is looked at together: some turns of the kernel's scheduler."""
_REST_S: Final = 0.5
"""What threads waited during a longer rest says nothing about computing."""
_RAISED_NICENESS: Final = -10
"""Nine tenths of a core that one process of ordinary priority wants, too."""


class ComputeThreads:
    """A team of at most `n_threads`; used by the thread that computes, before and after each step."""

    def __init__(self, n_threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._n_threads = n_threads
        self._clock = clock
        self._policy = TeamPolicy(n_threads, may_raise=_may_raise()) if _run_delays_s() else None
        self._is_raised = False
        self._counts = True
        self._delays_s: dict[int, float] = {}
        self._idle = (float("inf"), 0.0)  # seconds of all cores together, and when they were read
        self._computed_s = 0.0
        self._began_s = 0.0
        self._ended_s = float("-inf")

    @property
    def n_threads(self) -> int:
        """How many threads the next step is to have."""
        return self._n_threads if self._policy is None else self._policy.team.n_threads

    def begin(self, *, urgent: bool) -> None:
        """Note that a step begins; only one that is `urgent`, since somebody waits for it, gets a higher priority."""
        if self._policy is None:
            return
        self._began_s = self._clock()
        if self._began_s - self._ended_s > _REST_S:
            self._open_window()
        self._counts = urgent or not self._policy.team.raised
        self._set_priority(raised=self._policy.team.raised and urgent)

    def end(self) -> None:
        """Note that the step has ended."""
        if self._policy is None:
            return
        if not self._counts:
            self._ended_s = float("-inf")  # it did not have the priority that is judged: the next step opens a window
            return
        self._ended_s = self._clock()
        self._computed_s += self._ended_s - self._began_s
        if self._computed_s >= _WINDOW_S:
            before, computed_s = self._delays_s, self._computed_s
            self._open_window()
            waited_s = max(delay_s - before.get(thread, 0.0) for thread, delay_s in self._delays_s.items())
            self._policy.note(computed_s, waited_s, self._ended_s, has_idle_core=self._has_idle_core())

    def _open_window(self) -> None:
        self._delays_s = _run_delays_s()
        self._computed_s = 0.0

    def _has_idle_core(self) -> bool:
        """Return whether a core could have computed, too, for half of the time since the last call."""
        if self._policy is None or self._policy.team.n_threads == self._n_threads:
            return False  # nobody asks
        (idle_s, at_s), self._idle = self._idle, (_idle_s(), self._ended_s)
        return self._idle[0] - idle_s > (self._ended_s - at_s) / 2

    def _set_priority(self, *, raised: bool) -> None:
        if raised == self._is_raised:
            return
        self._is_raised = raised
        # Of all threads of the process: one of Python's that holds its lock and has to wait stops the others, too.
        for thread in _threads():
            try:
                os.setpriority(os.PRIO_PROCESS, thread, _RAISED_NICENESS if raised else 0)
            except ProcessLookupError:
                continue  # it has ended since


def _run_delays_s() -> dict[int, float]:
    """Return how long each of the library's threads, and this one, has been ready without a core; empty if unknown.

    The library's are those that Python knows nothing of.
    """
    pythons = {thread.native_id for thread in threading.enumerate()} - {threading.get_native_id()}
    delays_s = {}
    for thread in _threads():
        if thread in pythons:
            continue
        try:
            # Called some times per second while a model writes: a `Path` would take as long as the reading.
            with open(f"{_TASKS}/{thread}/schedstat", "rb") as file:  # noqa: PTH123
                delays_s[thread] = int(file.read().split()[1]) / 1e9
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended, before the opening or after it, or this kernel does not count
    return delays_s


def _idle_s() -> float:
    """Return for how many seconds the cores that this process may use have been idle, all of them together."""
    cores = {f"cpu{core}".encode() for core in os.sched_getaffinity(0)}
    with open("/proc/stat", "rb") as file:  # noqa: PTH123
        fields = [line.split() for line in file if line.startswith(b"cpu")]
    return sum(int(field[4]) for field in fields if field[0] in cores) / os.sysconf("SC_CLK_TCK")


def _threads() -> list[int]:
    """Return the ids of all threads of this process; empty where there is no list of them."""
    return [int(name) for name in os.listdir(_TASKS)] if os.path.isdir(_TASKS) else []  # noqa: PTH112, PTH208


def _may_raise() -> bool:
    """Return whether threads of this process may have a higher priority; never where somebody has set one for all."""
    if sys.platform != "linux" or os.getpriority(os.PRIO_PROCESS, 0) != 0:
        return False
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _RAISED_NICENESS)
    except PermissionError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    return True
