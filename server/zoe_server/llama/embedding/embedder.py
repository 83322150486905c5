"""What the process of an embedding model does: one step takes the next texts, computes them, and sends their vectors.

Like the loop of a model that writes (`loop.py`), it runs in a thread of its own, owns its runner and its queue, takes
requests and cancellations from any thread, and says once a second that it is alive. It knows no sockets.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from zoe_server.codec import decode_embed_request
from zoe_server.errors import EngineCrashedError, EngineError, ModelKindError, ZoeError
from zoe_server.llama.embedding.intake import EmbeddingIntake
from zoe_server.llama.embedding.queue import EmbeddingQueue, EmbedJob
from zoe_server.llama.embedding.runner import EmbeddingRunner
from zoe_server.protocol import Embedding, Event, Failure, Finish

if TYPE_CHECKING:
    from zoe_server.llama.config import EngineConfig
    from zoe_server.llama.worker import Emit, Progress

PROGRESS_S: Final = 0.8
ABILITY: Final = "embeddings"


class Embedder:
    """A `worker.Worker` for embeddings: each job ends in exactly one `Finish` or `Failure`."""

    op = "embed"

    def __init__(
        self,
        config: EngineConfig,
        model: int,
        emit: Emit,
        progress: Progress,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runner = EmbeddingRunner(config, model)
        self.intake = EmbeddingIntake(self.runner.vocab, self.runner.n_ctx_tokens)
        self._queue = EmbeddingQueue(self.runner.n_batch_tokens, self.runner.n_texts, config.queue_limit)
        self._emit = emit
        self._progress = progress
        self._clock = clock
        self._wakeup = threading.Condition()
        self._inbox: list[EmbedJob | str] = []  # jobs to start, and ids of requests to cancel
        self._stopping = False
        self._jobs: dict[str, EmbedJob] = {}
        self._steps = 0
        self._computed_tokens = 0
        self._reported_s = float("-inf")

    def info(self) -> dict[str, Any]:
        """Return what is told of the model."""
        return {**self.runner.info(), "abilities": [ABILITY]}

    def header(self) -> dict[str, str]:
        """Return the header of the model file."""
        return self.runner.header()

    def refusal(self) -> ZoeError:
        """Return the error of a request that is not for embeddings."""
        return ModelKindError.only_embeddings()

    def warm_up(self) -> None:
        """Compute a text for real."""
        self.runner.warm_up()

    def prepare(self, data: Mapping[str, Any], arrived_s: float) -> EmbedJob:
        """Return the job of a request. See `EmbeddingIntake.prepare`."""
        return self.intake.prepare(decode_embed_request(data), arrived_s)

    def slow_part(self, job: EmbedJob) -> None:
        """Return nothing: a job is ready when it is prepared."""

    def submit(self, job: EmbedJob) -> None:
        """Queue `job`."""
        self._post(job)

    def give_up(self, job: EmbedJob) -> Finish:
        """Return the end of a job that was cancelled before it was submitted."""
        return Finish("cancelled", job.usage(), job.timings(self._clock()))

    def cancel(self, request_id: str) -> None:
        """End the request with `Finish("cancelled")` before the next step, if it still runs."""
        self._post(request_id)

    def stop(self) -> None:
        """Let `run` return after the current step."""
        with self._wakeup:
            self._stopping = True
            self._wakeup.notify()

    def close(self) -> None:
        """Nothing is left to be written: an embedding model keeps nothing on disk."""

    def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            FatalDecodeError: the library failed. Every open request has got its `Failure`.
        """
        try:
            while not self._stopping:
                self.take_inbox()
                if not self.step():
                    self._rest()
                self._report()
        except Exception:
            self._fail_all(EngineCrashedError("the engine failed and is being restarted; try again"))
            raise

    def take_inbox(self) -> None:
        """Begin the jobs and do the cancellations that have come since the last step."""
        with self._wakeup:
            inbox, self._inbox = self._inbox, []
        for message in inbox:
            if isinstance(message, str):
                self._cancel(message)
            else:
                self._start(message)

    def step(self) -> bool:
        """Compute one batch of texts; return False if there was nothing to do."""
        parts = self._queue.next_batch()
        if not parts:
            return False
        now = self._clock()
        for part in parts:
            part.job.started_s = now if part.job.started_s is None else part.job.started_s
        vectors = self.runner.embed([part.tokens for part in parts])
        for part, vector in zip(parts, vectors.tolist(), strict=True):
            self._deliver(part.job, Embedding(part.index, tuple(vector)))
        self._steps += 1
        self._computed_tokens += sum(len(part.tokens) for part in parts)
        return True

    def stats(self) -> dict[str, Any]:
        """Return counters and gauges; safe to call from any thread."""
        n_waiting = len(self._queue)
        return {
            "step": self._steps,
            "running": max(0, len(self._jobs) - n_waiting),
            "waiting": n_waiting,
            "computed_tokens": self._computed_tokens,
        }

    def _deliver(self, job: EmbedJob, embedding: Embedding) -> None:
        if job.request_id not in self._jobs:  # it failed with one of its texts before this one
            return
        if not all(map(math.isfinite, embedding.vector)):
            self._fail(job, EngineError("the model computed a text's embedding to what is no vector"))
            return
        now = self._clock()
        events: list[Event] = [embedding]
        job.first_vector_s = now if job.first_vector_s is None else job.first_vector_s
        job.n_done += 1
        if job.n_done == len(job.texts):
            del self._jobs[job.request_id]
            events.append(Finish("stop", job.usage(), job.timings(now)))
        self._emit(job.request_id, events)

    def _post(self, message: EmbedJob | str) -> None:
        with self._wakeup:
            self._inbox.append(message)
            self._wakeup.notify()

    def _start(self, job: EmbedJob) -> None:
        try:
            self._queue.submit(job)
        except ZoeError as error:
            self._emit(job.request_id, [Failure(error)])
            return
        self._jobs[job.request_id] = job

    def _cancel(self, request_id: str) -> None:
        job = self._jobs.pop(request_id, None)
        if job is not None:
            self._queue.remove(job)
            self._emit(request_id, [self.give_up(job)])

    def _fail(self, job: EmbedJob, error: ZoeError) -> None:
        del self._jobs[job.request_id]
        self._queue.remove(job)
        self._emit(job.request_id, [Failure(error)])

    def _fail_all(self, error: ZoeError) -> None:
        with self._wakeup:
            inbox, self._inbox = self._inbox, []
        waiting = [message.request_id for message in inbox if isinstance(message, EmbedJob)]
        for request_id in (*self._jobs, *waiting):
            self._emit(request_id, [Failure(error)])
        self._jobs.clear()

    def _rest(self) -> None:
        """Wait for a message, at most until the next report is due."""
        with self._wakeup:
            if not self._inbox and not self._stopping:
                self._wakeup.wait(max(0.0, self._reported_s + PROGRESS_S - self._clock()))

    def _report(self) -> None:
        now = self._clock()
        if now - self._reported_s >= PROGRESS_S / 2:
            self._reported_s = now
            self._progress(self.stats())
