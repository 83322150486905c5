"""Which texts are computed together: one of every waiting request in turn, as many as fit.

So a request with one text does not wait for all of another with thousands. Pure: no I/O, no clock, no model.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from zoe_server.errors import QueueFullError
from zoe_server.protocol import Timings, Usage


@dataclass(slots=True, eq=False)
class EmbedJob:
    """A request that is ready to run: the tokens of its texts (at least one text, each at least one token).

    Moments are in seconds of one clock; None has not come yet. `n_taken` texts have left the queue.
    """

    request_id: str
    texts: Sequence[list[int] | array[int]]
    arrived_s: float
    n_taken: int = 0
    n_done: int = 0
    started_s: float | None = None
    first_vector_s: float | None = None

    def usage(self) -> Usage:
        """Return how many tokens its texts have."""
        return Usage(prompt_tokens=sum(len(text) for text in self.texts))

    def timings(self, now: float) -> Timings:
        """Return the durations; a request that ended in the queue waited all its time there."""
        started = now if self.started_s is None else self.started_s
        first = now if self.first_vector_s is None else self.first_vector_s
        return Timings(started - self.arrived_s, first - self.arrived_s, now - self.arrived_s)


@dataclass(frozen=True, slots=True)
class Part:
    """One text of one request, to be computed."""

    job: EmbedJob
    index: int

    @property
    def tokens(self) -> list[int] | array[int]:
        """The text."""
        return self.job.texts[self.index]


class EmbeddingQueue:
    """The requests that have texts left. A batch has at most `n_texts` texts and, if more than one, `n_tokens` tokens.

    At most `limit` requests wait.
    """

    def __init__(self, n_tokens: int, n_texts: int, limit: int) -> None:
        self._n_tokens = n_tokens
        self._n_texts = n_texts
        self._limit = limit
        self._jobs: deque[EmbedJob] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def submit(self, job: EmbedJob) -> None:
        """Let `job` wait for its turn.

        Raises:
            QueueFullError: too many requests wait already.
        """
        if len(self._jobs) >= self._limit:
            raise QueueFullError(
                f"{len(self._jobs)} requests wait for this model already; try again in a moment", retry_after_s=1.0
            )
        self._jobs.append(job)

    def remove(self, job: EmbedJob) -> None:
        """Forget what is left of `job`, if anything is."""
        if job in self._jobs:
            self._jobs.remove(job)

    def next_batch(self) -> list[Part]:
        """Take the next texts to compute together; none are left when it is empty."""
        parts: list[Part] = []
        n_tokens = 0
        while self._jobs and len(parts) < self._n_texts:
            part = Part(self._jobs[0], self._jobs[0].n_taken)
            n_tokens += len(part.tokens)
            if parts and n_tokens > self._n_tokens:
                break
            parts.append(part)
            self._take_turn()
        return parts

    def _take_turn(self) -> None:
        job = self._jobs.popleft()
        job.n_taken += 1
        if job.n_taken < len(job.texts):
            self._jobs.append(job)
