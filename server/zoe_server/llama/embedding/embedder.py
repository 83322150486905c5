"""What the process of an embedding model does: one step takes the next texts, computes them, and sends their vectors.

It owns its runner and its queue, and knows no sockets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zoe_server.catalogue.model_info import Capabilities
from zoe_server.codec import decode_embed_request
from zoe_server.errors import EngineError, ModelKindError, ZoeError
from zoe_server.llama.embedding.intake import EmbeddingIntake
from zoe_server.llama.embedding.queue import EmbeddingQueue, EmbedJob
from zoe_server.llama.embedding.runner import EmbeddingRunner
from zoe_server.llama.work_loop import WorkLoop
from zoe_server.protocol import Embedding, Event, Failure, Finish

if TYPE_CHECKING:
    from zoe_server.llama.config import EngineConfig
    from zoe_server.llama.model_file import HeaderValue
    from zoe_server.llama.worker import Emit, Progress


class Embedder(WorkLoop[EmbedJob]):
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
        super().__init__(progress, clock)
        self.runner = EmbeddingRunner(config, model)
        self.intake = EmbeddingIntake(self.runner.vocab, self.runner.n_ctx_tokens)
        self._queue = EmbeddingQueue(self.runner.n_batch_tokens, self.runner.n_texts, config.queue_limit)
        self._emit = emit
        self._jobs: dict[str, EmbedJob] = {}
        self._steps = 0
        self._computed_tokens = 0

    @property
    def loop(self) -> WorkLoop[EmbedJob]:
        """The loop that it is itself."""
        return self

    def info(self) -> dict[str, Any]:
        """Return what is told of the model."""
        return {**self.runner.info(), "capabilities": Capabilities(embeddings=True, tokenizer=True)}

    def header(self) -> dict[str, HeaderValue]:
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

    def give_up(self, job: EmbedJob) -> Finish:
        """Return the end of a job that was cancelled before it was submitted."""
        return Finish("cancelled", job.usage(), job.timings(self._clock()))

    def close(self) -> None:
        """Nothing is left to be written: an embedding model keeps nothing on disk."""

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

    def _fail_all(self, error: ZoeError, pending: list[EmbedJob]) -> None:
        for request_id in (*self._jobs, *(job.request_id for job in pending)):
            self._emit(request_id, [Failure(error)])
        self._jobs.clear()
