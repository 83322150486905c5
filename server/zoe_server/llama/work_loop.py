"""The loop of a worker's thread, whatever it computes: takes what came, does a step, says that it is alive, rests.

Requests and cancellations may come from any thread. An idle loop waits on a condition; it wakes every second to report.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from zoe_server.errors import EngineCrashedError, ZoeError

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRESS_S: Final = 0.8
JobT = TypeVar("JobT")


class WorkLoop(ABC, Generic[JobT]):
    """Runs jobs until it is stopped; each of them ends in exactly one `Finish` or `Failure`."""

    def __init__(self, progress: Callable[[dict[str, Any]], None], clock: Callable[[], float]) -> None:
        self._progress = progress
        self._clock = clock
        self._wakeup = threading.Condition()
        self._inbox: list[JobT | str] = []  # jobs to start, and ids of requests to cancel
        self._stopping = False
        self._reported_s = float("-inf")

    @abstractmethod
    def step(self) -> bool:
        """Compute one batch; return False if there was nothing to do."""

    @abstractmethod
    def stats(self) -> dict[str, Any]:
        """Return counters and gauges; safe to call from any thread."""

    @abstractmethod
    def _start(self, job: JobT) -> None:
        """Take a job that has come."""

    @abstractmethod
    def _cancel(self, request_id: str) -> None:
        """End a request, if it still runs."""

    @abstractmethod
    def _fail_all(self, error: ZoeError, pending: list[JobT]) -> None:
        """Fail every open job, and those that have come but were not taken."""

    def _prepare_rest(self) -> None:
        """Do what may wait until there is nothing else to do."""

    def submit(self, job: JobT) -> None:
        """Queue `job`; may be called from any thread."""
        self._post(job)

    def cancel(self, request_id: str) -> None:
        """End the request with `Finish("cancelled")` before the next step, if it still runs; from any thread."""
        self._post(request_id)

    def stop(self) -> None:
        """Let `run` return after the current step; from any thread."""
        with self._wakeup:
            self._stopping = True
            self._wakeup.notify()

    def run(self) -> None:
        """Work until `stop` is called; whatever is raised, every open request has got its `Failure`."""
        try:
            while not self._stopping:
                self.take_inbox()
                if not self.step():
                    self._rest()
                self._report()
        except Exception:
            jobs = [message for message in self._take() if not isinstance(message, str)]
            self._fail_all(EngineCrashedError("the engine failed and is being restarted; try again"), jobs)
            raise

    def take_inbox(self) -> None:
        """Begin the jobs and do the cancellations that have come since the last step."""
        for message in self._take():
            if isinstance(message, str):
                self._cancel(message)
            else:
                self._start(message)

    def _take(self) -> list[JobT | str]:
        with self._wakeup:
            inbox, self._inbox = self._inbox, []
        return inbox

    def _post(self, message: JobT | str) -> None:
        with self._wakeup:
            self._inbox.append(message)
            self._wakeup.notify()

    def _rest(self) -> None:
        """Wait for a message, at most until the next report is due."""
        self._prepare_rest()
        with self._wakeup:
            if not self._inbox and not self._stopping:
                self._wakeup.wait(max(0.0, self._reported_s + PROGRESS_S - self._clock()))

    def _report(self) -> None:
        now = self._clock()
        if now - self._reported_s >= PROGRESS_S / 2:
            self._reported_s = now
            self._progress(self.stats())
