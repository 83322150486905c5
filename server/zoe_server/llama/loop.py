"""The engine loop: one step is three verbs, schedule, decode and sample, and emit.

It owns scheduler, runner and sampler, and knows no sockets.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from zoe_server.errors import EngineError, InvalidRequestError, ZoeError
from zoe_server.llama.event_batcher import EventBatcher
from zoe_server.llama.runner import FatalDecodeError, NoFreeCellError
from zoe_server.llama.work_loop import WorkLoop
from zoe_server.protocol import Failure, Finish, Started

if TYPE_CHECKING:
    from zoe_server.llama.cache.parked_sequences import ParkedSequences
    from zoe_server.llama.cache.saved_prefixes import SavedPrefixes
    from zoe_server.llama.event_batcher import Emit
    from zoe_server.llama.output import OutputStream
    from zoe_server.llama.probabilities import TokenLedger
    from zoe_server.llama.runner import Runner
    from zoe_server.llama.sampler import Sampler, TokenSampler
    from zoe_server.llama.scheduling.batch import Update
    from zoe_server.llama.scheduling.scheduler import Scheduler
    from zoe_server.llama.scheduling.sequence import Sequence
    from zoe_server.protocol import ChatEvent, FinishReason

_LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Job:
    """A request that is ready to run: its tokens, how to draw its answer, and how to read it.

    `ledger` is there if the answer is to tell the probabilities of its tokens. Tokens are read when their text may
    leave, which is cheaper than one by one; until then they are `unread`.
    """

    sequence: Sequence
    sampler: TokenSampler
    output: OutputStream
    ledger: TokenLedger | None = None
    unread: list[int] = field(default_factory=list)

    @property
    def reads_each_token(self) -> bool:
        """Whether reading cannot wait: a stop string ends the answer, and a ledger wants to know whose text it is."""
        return self.ledger is not None or self.output.may_stop


class EngineLoop(WorkLoop[Job]):
    """Runs jobs until it is stopped; each of them ends in exactly one `Finish` or `Failure`."""

    def __init__(
        self,
        runner: Runner,
        sampler: Sampler,
        scheduler: Scheduler,
        *,
        emit: Emit,
        progress: Callable[[dict[str, Any]], None],
        saved_prefixes: SavedPrefixes | None = None,
        parked: ParkedSequences | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(progress, clock)
        self.runner = runner
        self.sampler = sampler
        self.scheduler = scheduler
        self._emit = emit
        self._outbox = EventBatcher(emit)
        self._saved_prefixes = saved_prefixes
        self._parked = parked
        self._jobs: dict[str, Job] = {}
        self._steps = 0
        self._audit_mismatches = 0
        self._audited_step = 0

    def step(self) -> bool:
        """Compute one batch; return False if there was nothing to do."""
        if self._parked is not None and (alone := self.scheduler.next_alone) is not None:
            self._parked.prepare(alone, self.scheduler.prefill_token_s)
        batch = self.scheduler.schedule(self._clock())
        if not batch:
            return False
        self._announce(batch.started)
        if batch.has_prompts:
            self._put_unread()
            self._outbox.flush()
        try:
            drawn = self.sampler.sample(self.runner.decode(batch))
        except NoFreeCellError:
            self._relieve()
            return True
        now = self._clock()
        self.emit(self.scheduler.commit(batch, drawn, now), now)
        self._steps += 1
        return True

    def emit(self, updates: list[Update], now: float) -> None:
        """Send what the new tokens mean, and end the requests that are done."""
        for update in updates:
            sequence = update.sequence
            job = self._jobs[sequence.request_id]
            ended: FinishReason | None = update.finished
            said = update.tokens[:-1] if ended == "stop" else update.tokens
            job.unread += said
            if job.ledger is not None:
                drawn = zip(said, self.sampler.take_drawn(sequence.request_id), strict=False)
                control = self.runner.vocab.control_tokens
                job.ledger.add(one for token, one in drawn if token not in control)
            if job.reads_each_token and not self._put(job):
                continue
            if job.output.stopped and ended is None:
                self.scheduler.finish(sequence, now)
                ended = "stop"
            if (reason := self.sampler.why_stuck(sequence.request_id)) is not None:
                text = f"the answer cannot go on within the schemas or the grammar of its request: {reason}"
                self._fail(job, InvalidRequestError(text))
            elif ended is not None:
                self._finish(job, "stop" if job.output.stopped else ended)
        self._put_unread(now)
        self._outbox.release(now)

    def _put_unread(self, now: float = float("inf")) -> None:
        """Read what may leave at `now`; of a preempted request, too, which gets no tokens for a while."""
        for request_id, job in list(self._jobs.items()):
            if job.unread and self._outbox.is_due(request_id, now):
                self._put(job)

    def _put(self, job: Job) -> bool:
        """Put what the unread tokens of a job say; return False if reading them failed, which ends this job alone."""
        tokens, job.unread = job.unread, []
        try:
            events = self._read(job, tokens) if tokens else []
        except Exception:  # noqa: BLE001 -- whatever it is, the other answers go on
            _LOG.exception("the answer to request %s cannot be read", job.sequence.request_id)
            self._give_up(job)
            return False
        self._outbox.put(job.sequence.request_id, events)
        return True

    def _read(self, job: Job, tokens: list[int]) -> list[ChatEvent]:
        vocab = self.runner.vocab
        events: list[ChatEvent] = []
        for is_control, run in itertools.groupby(tokens, vocab.control_tokens.__contains__):
            if is_control:
                events += [event for token in run for event in job.output.feed_control(vocab.piece(token))]
            else:
                events += job.output.feed(vocab.detokenize(run))
        return events if job.ledger is None else job.ledger.annotate(events)

    def stats(self) -> dict[str, Any]:
        """Return counters and gauges of the loop; called by `progress` and safe to call from any thread."""
        scheduler, memory = self.scheduler, self.scheduler.memory
        return {
            "step": self._steps,
            "running": scheduler.n_running,
            "waiting": scheduler.n_waiting,
            "cached_holders": memory.n_cached,
            "free_cells": memory.n_free_cells,
            "total_cells": memory.ledger.n_cells,
            "computed_tokens": scheduler.computed_tokens,
            "reused_tokens": scheduler.reused_tokens,
            "forced_tokens": scheduler.drafts.accepted_from_grammar,
            "guessed_tokens": scheduler.drafts.proposed_by_lookup,
            "right_guesses": scheduler.drafts.accepted_from_lookup,
            "evictions": memory.evictions,
            "preemptions": scheduler.preemptions,
            "audit_mismatches": self._audit_mismatches,
        }

    def _start(self, job: Job) -> None:
        request_id = job.sequence.request_id
        try:
            self.scheduler.submit(job.sequence)
        except ZoeError as error:
            job.sampler.close()
            self._emit(request_id, [Failure(error)])
            return
        self._jobs[request_id] = job
        self.sampler.add(request_id, job.sampler)

    def _cancel(self, request_id: str) -> None:
        job = self._jobs.get(request_id)
        if job is not None:
            self.scheduler.finish(job.sequence, self._clock())
            self._finish(job, "cancelled")

    def _announce(self, started: tuple[Sequence, ...]) -> None:
        for sequence in started:
            self._emit(sequence.request_id, [Started(sequence.n_prompt, sequence.cached_tokens)])

    def _finish(self, job: Job, reason: FinishReason) -> None:
        if not self._put(job):
            return
        sequence = job.sequence
        try:
            events, reason = job.output.close(reason)
            if job.ledger is not None:
                events = job.ledger.annotate(events)
        except Exception:  # noqa: BLE001 -- whatever it is, the other answers go on
            _LOG.exception("the end of the answer to request %s cannot be read", sequence.request_id)
            self._give_up(job)
            return
        self._forget(job)
        timings = sequence.timings(self._clock())
        finish = Finish(reason, sequence.usage(), timings, job.output.repaired_calls)
        self._outbox.end(sequence.request_id, [*events, finish])

    def _give_up(self, job: Job) -> None:
        """End a job whose answer cannot be read."""
        self.scheduler.finish(job.sequence, self._clock())
        self._fail(job, EngineError("the engine failed to read this answer; its log has the details"))

    def _fail(self, job: Job, error: ZoeError) -> None:
        if self._put(job):
            self._forget(job)
            self._outbox.end(job.sequence.request_id, [Failure(error)])

    def _forget(self, job: Job) -> None:
        del self._jobs[job.sequence.request_id]
        self.sampler.remove(job.sequence.request_id)

    def _fail_all(self, error: ZoeError, pending: list[Job]) -> None:
        for job in list(self._jobs.values()):
            self._fail(job, error)
        for job in pending:
            self._emit(job.sequence.request_id, [Failure(error)])

    def _relieve(self) -> None:
        """The library has fewer free cells than our books say: make room, or give up."""
        if not self.scheduler.relieve():
            raise FatalDecodeError("llama.cpp finds no KV cell for the only sequence there is")

    def _prepare_rest(self) -> None:
        """Audit once after work, and keep what requests share."""
        if self._audited_step != self._steps:
            self._audit()
            if self._saved_prefixes is not None:
                self._saved_prefixes.keep(self.scheduler.shared_prefix)

    def _audit(self) -> None:
        """Compare our books with the library's; if they differ, trust neither and start with an empty cache."""
        self._audited_step = self._steps
        memory = self.scheduler.memory
        self.runner.apply(memory.take_operations())
        wrong = self.runner.audit(memory.expected_tops())
        if wrong:
            _LOG.error("the KV cache of slots %s is not what it should be; the prefix cache is cleared", wrong)
            self._audit_mismatches += 1
            memory.clear_cached()
            memory.take_operations()
            self.runner.clear()
