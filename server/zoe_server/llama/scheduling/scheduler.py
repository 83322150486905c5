"""Which sequence computes which tokens in the next step: policy only, no model, no clock of its own.

One step, in the order in which the code decides:
1. Admission, interactive before background, oldest first. A prompt that shares `MIN_WAIT_TOKENS` more with one that
   is being prefilled than with all others waits until they are computed (single-flight), while others pass. Else it
   needs a slot and its reservation: prompt + max_tokens, but at most `MAX_RESERVED_TOKENS` of the latter, so that one
   request without a limit does not keep all others out; what that leaves uncovered, preemption pays for. No room:
   cached sequences are evicted, then running background sequences give way to an interactive one.
2. Whose turn it is, where sequences have different adapters: all that follows is about those of one (`turns`).
   Sequences that decode have a claim to a turn, and of the prompts the one that is first in the order of 5.
3. Cells for the next chunk of every decoding sequence; if they are short, one cached sequence is evicted, then the
   youngest sequence is preempted, until they suffice.
4. Decode first: the newest token of every decoding sequence and what its grammar says must follow, so that a long
   prompt never stalls a running voice stream. Where no prompt waits, drafts of prompt lookup are computed, too.
5. Prompt chunks fill the batch, oldest interactive first. Background prompts yield, unless an interactive one waits for
   them. `ChunkBudget` bounds the chunk, so that a step stays short. A picture takes a step of its own, every other one
   at most while somebody decodes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from zoe_server.errors import ContextSizeError, QueueFullError
from zoe_server.llama.cache.kv_cache import KvMemory
from zoe_server.llama.cache.radix_tree import Prefix
from zoe_server.llama.scheduling.adapter_turns import AdapterTurns
from zoe_server.llama.scheduling.batch import Batch, Chunk, Update
from zoe_server.llama.scheduling.chunk_budget import ChunkBudget
from zoe_server.llama.scheduling.drafts import Drafts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoe_server.llama.cache.radix_tree import PrefixCache
    from zoe_server.llama.scheduling.batch import Drawn, Limits
    from zoe_server.llama.scheduling.sequence import Sequence
    from zoe_server.protocol import FinishReason

MIN_WAIT_TOKENS: Final = 32
MAX_RESERVED_TOKENS: Final = 256


class Scheduler:
    """Owner of the queue and of the running sequences. Every method is called from one thread; times are in seconds."""

    def __init__(self, limits: Limits, cache: PrefixCache, eog_tokens: frozenset[int]) -> None:
        self.limits = limits
        self.memory = KvMemory(limits.n_slots, limits.n_cells, cache)
        self.preemptions = 0
        self.computed_tokens = 0
        self.reused_tokens = 0
        self.shared_prefix = Prefix([])  # what the last request shared with others of its kind, or primed for them
        self.drafts = Drafts(self.memory, limits.n_batch_tokens // limits.n_slots)
        self._eog_tokens = eog_tokens
        self._pace = ChunkBudget()
        self._turns = AdapterTurns()
        self._was_picture = False  # whether the last step was one
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._reserved: dict[int, int] = {}  # slot -> length up to which cells are set aside for it
        self._flights: dict[int, int] = {}  # slot whose prefill is waited for -> length that somebody waits for
        self._awaited: set[int] = set()  # those of them that an interactive sequence waits for
        self._may_admit = False  # whether anything has come or gone since nobody could be admitted
        self._n_submitted = 0
        self._typical_s = 1.0

    @property
    def n_running(self) -> int:
        """Sequences that have a slot."""
        return len(self._running)

    @property
    def n_waiting(self) -> int:
        """Sequences in the queue."""
        return len(self._waiting)

    def submit(self, sequence: Sequence) -> None:
        """Queue `sequence`, whose `limit_tokens` is cut to what the context leaves.

        Raises:
            ContextSizeError: the prompt leaves no room for a single token.
            QueueFullError: `queue_limit` sequences wait besides those that free slots will take.
        """
        if sequence.n_prompt >= self.limits.n_ctx_tokens:
            raise ContextSizeError(sequence.n_prompt, self.limits.n_ctx_tokens)
        if len(self._waiting) >= self.limits.queue_limit + self.limits.n_slots - len(self._running):
            raise QueueFullError(
                f"{len(self._waiting)} requests wait already; try again later",
                retry_after_s=max(1.0, self._typical_s * len(self._waiting) / self.limits.n_slots),
            )
        sequence.limit_tokens = min(sequence.limit_tokens, self.limits.n_ctx_tokens - sequence.n_prompt)
        sequence.order = self._n_submitted
        self._n_submitted += 1
        self._waiting.append(sequence)
        self._may_admit = True

    @property
    def next_alone(self) -> Sequence | None:
        """The sequence that is admitted next, if nothing runs beside it."""
        return min(self._waiting, key=_rank) if self._waiting and not self._running else None

    @property
    def prefill_token_s(self) -> float | None:
        """How long a token of a prompt takes, None before one was computed."""
        return self._pace.token_s

    def schedule(self, now: float) -> Batch:
        """Return the next step; it is empty when there is nothing to do."""
        started = self._admit_waiting(now) if self._may_admit or self._has_landed() else []
        adapter = self._choose_adapter()
        prompts = [sequence for sequence in self._prompts() if sequence.adapter == adapter]
        chunks = self._picture_chunk(adapter, prompts) or self._text_chunks(adapter, prompts)
        if not chunks and (self._running or self._waiting):
            if not self.relieve():
                raise RuntimeError("no sequence can go on, and there is nothing left to evict")
            return self.schedule(now)
        operations = self.memory.take_operations() if chunks else ()
        return Batch(operations, tuple(chunks), tuple(started), now, adapter)

    def commit(self, batch: Batch, drawn: Iterable[Drawn], now: float) -> list[Update]:
        """Record that `batch` was computed; `drawn` came of its sampling chunks, in their order."""
        self._pace.observe(sum(chunk.n_tokens for chunk in batch.chunks), now - batch.scheduled_s)
        self._turns.took(batch.adapter, has_prompts=any(chunk.sequence.is_prefilling for chunk in batch.chunks))
        self._was_picture = batch.chunks[0].picture is not None
        newest = iter(drawn)
        updates: list[Update] = []
        for chunk in batch.chunks:
            sequence = chunk.sequence
            sequence.computed += len(chunk.tokens)
            self.computed_tokens += chunk.n_tokens
            at_end = not sequence.n_uncomputed
            added = self._extend(sequence, next(newest), now) if chunk.samples else ()
            self.drafts.judge(chunk, added)
            self.memory.computed(chunk.slot, sequence.tokens, sequence.computed)
            if not at_end:
                continue
            updates.append(Update(sequence, added, self._finish_reason(sequence, added)))
        for update in updates:
            if update.finished:
                self.finish(update.sequence, now)
        return updates

    def finish(self, sequence: Sequence, now: float) -> None:
        """End `sequence`, wherever it is; what it computed stays cached."""
        sequence.finished_s = now
        self._may_admit = True
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        elif sequence in self._running:
            if sequence.limit_tokens == 0:
                self.shared_prefix = Prefix(sequence.tokens[: sequence.computed], sequence.adapter)
            self._leave_slot(sequence)
            self.memory.release(self._slot_of(sequence), now)
            self._typical_s += 0.2 * (now - (sequence.started_s or now) - self._typical_s)

    def relieve(self) -> bool:
        """Free cells: evict one cached sequence, else preempt the youngest sequence unless it is the only one."""
        self._may_admit = True
        if self.memory.evict_one():
            return True
        if len(self._running) <= 1:
            return False
        self._preempt(max(self._running, key=_rank))
        return True

    def _admit_waiting(self, now: float) -> list[Sequence]:
        """Step 1 of the module's docstring.

        Who is not admitted waits until a sequence comes or goes, or a flight lands: a step takes from what is free
        what it takes from what is set aside.
        """
        self._may_admit = False
        self._flights.clear()
        self._awaited.clear()
        started: list[Sequence] = []
        for sequence in sorted(self._waiting, key=_rank):
            prompt = sequence.tokens[:-1]
            shared = self.memory.cache.match(prompt, sequence.adapter)
            donor = self.memory.find_donor(shared)
            if (flight := self._flight(shared)) is not None:
                self._flights[flight] = min(shared[flight], self._flights.get(flight, shared[flight]))
                if sequence.priority == "interactive":
                    self._awaited.add(flight)
                continue
            branches = donor.length < min(len(prompt), self.memory.cache.length(donor.slot))
            n_new = len(sequence.tokens) - donor.length + self._reserve_tokens(sequence)
            prefix = Prefix(sequence.tokens, sequence.adapter)
            slot = self.memory.admit(prefix, donor, n_new + self._outstanding(), now, sequence.layout)
            if slot is None:
                if self._yield_background(sequence):
                    return started + self._admit_waiting(now)
                break
            self._waiting.remove(sequence)
            self._reserved[slot] = len(sequence.tokens) + self._reserve_tokens(sequence)
            if sequence.started_s is None:
                started.append(sequence)
            if branches:
                self.shared_prefix = Prefix(prompt[: donor.length], sequence.adapter)
            self.reused_tokens += donor.length
            sequence.place(slot, donor.length, now)
            self._running.append(sequence)
        return started

    def _flight(self, shared: dict[int, int]) -> int | None:
        """Return the slot to wait for: it will have `MIN_WAIT_TOKENS` more than any that has done its prefill."""
        prefilling = {sequence.slot for sequence in self._running if sequence.is_prefilling}
        settled = self.memory.find_donor({slot: n for slot, n in shared.items() if slot not in prefilling})
        promised, slot = max(((n, slot) for slot, n in shared.items() if slot in prefilling), default=(0, -1))
        if promised - settled.length < MIN_WAIT_TOKENS or self.memory.ledger.length(slot) >= promised:
            return None
        return slot

    def _has_landed(self) -> bool:
        """Whether somebody who waits for a flight need not wait any longer."""
        return any(self.memory.ledger.length(slot) >= length for slot, length in self._flights.items())

    def _reserve_tokens(self, sequence: Sequence) -> int:
        return min(sequence.limit_tokens - sequence.n_generated, MAX_RESERVED_TOKENS)

    def _outstanding(self) -> int:
        """Cells that running sequences may still take of their reservations."""
        return sum(max(0, reserved - self.memory.ledger.length(slot)) for slot, reserved in self._reserved.items())

    def _yield_background(self, sequence: Sequence) -> bool:
        """Preempt one running background sequence for an interactive one."""
        if sequence.priority == "background":
            return False
        background = [other for other in self._running if other.priority == "background"]
        if not background:
            return False
        self._preempt(max(background, key=_rank))
        return True

    def _picture_chunk(self, adapter: str | None, prompts: list[Sequence]) -> list[Chunk]:
        """Return the next picture, which takes a step of its own; between two of them, streams have theirs."""
        if self._was_picture and self._decoding(adapter):
            return []
        for sequence in prompts:
            picture = sequence.picture_at(sequence.computed)
            if picture is not None and picture.span.n_tokens <= self.memory.n_free_cells:
                return [replace(self._chunk(sequence, picture.span.n_tokens), picture=picture)]
        return []

    def _text_chunks(self, adapter: str | None, prompts: list[Sequence]) -> list[Chunk]:
        """Steps 4 and 5 of the module's docstring."""
        chunks = [self._chunk(sequence, 1) for sequence in self._decoding(adapter)]
        chunks = self.drafts.add(chunks, with_lookup=not prompts)
        return chunks + self._prefill_chunks(prompts, sum(chunk.n_tokens for chunk in chunks)) if prompts else chunks

    def _choose_adapter(self) -> str | None:
        """Steps 2 and 3 of the module's docstring; whoever is preempted may be the last that had a claim."""
        while self._running:
            adapter = self._turns.choose(self._claims())
            if self.memory.n_free_cells >= len(self._decoding(adapter)) or not self.relieve():
                return adapter
        return None

    def _claims(self) -> dict[str | None, bool]:
        """Return which adapters may have the next turn, and whether an interactive sequence has or awaits it."""
        if len(self._running) == 1:
            return {self._running[0].adapter: True}
        claims: dict[str | None, bool] = {}
        claiming = [sequence for sequence in self._running if not sequence.is_prefilling] + self._prompts()[:1]
        for sequence in sorted(claiming, key=lambda s: s.order):
            claims[sequence.adapter] = claims.get(sequence.adapter, False) or self._is_urgent(sequence)
        return claims

    def _is_urgent(self, sequence: Sequence) -> bool:
        return sequence.priority == "interactive" or sequence.slot in self._awaited

    def _decoding(self, adapter: str | None) -> list[Sequence]:
        return [s for s in self._running if s.adapter == adapter and not s.is_prefilling]

    def _prompts(self) -> list[Sequence]:
        """Return the sequences whose prompts are to be computed now, first things first."""
        prefilling = [sequence for sequence in self._running if sequence.is_prefilling]
        urgent = [sequence for sequence in prefilling if self._is_urgent(sequence)]
        return sorted(urgent or prefilling, key=lambda s: s.order)

    @staticmethod
    def _extend(sequence: Sequence, drawn: Drawn, now: float) -> tuple[int, ...]:
        sequence.grammar_draft = drawn.draft
        return sequence.extend(drawn.tokens, now)

    def _prefill_chunks(self, prompts: list[Sequence], n_decoding: int) -> list[Chunk]:
        """Step 5 of the module's docstring; streams and prompts of other adapters, too, want the step to be short."""
        waiting = self._prompts()
        budget = self._pace.budget_tokens(
            self.limits.n_batch_tokens,
            decoding=any(not sequence.is_prefilling for sequence in self._running),
            n_prompts=len(waiting),
            background=not any(map(self._is_urgent, waiting)),
        )
        budget = min(budget, self.limits.n_batch_tokens - n_decoding, self.memory.n_free_cells - n_decoding)
        chunks: list[Chunk] = []
        for sequence in prompts:
            if budget <= 0:
                break
            count = sequence.layout.n_text(sequence.computed, min(budget, sequence.n_uncomputed))
            if not count:
                continue
            chunks.append(self._chunk(sequence, count))
            budget -= count
        return chunks

    def _chunk(self, sequence: Sequence, count: int) -> Chunk:
        start = sequence.computed
        tokens = sequence.tokens[start : start + count]
        samples = count == sequence.n_uncomputed and sequence.wants_token
        return Chunk(sequence, self._slot_of(sequence), sequence.layout.position(start), tokens, samples)

    def _finish_reason(self, sequence: Sequence, tokens: tuple[int, ...]) -> FinishReason | None:
        if tokens and tokens[-1] in self._eog_tokens:
            return "stop"
        return None if sequence.wants_token else "length"

    def _preempt(self, sequence: Sequence) -> None:
        self._leave_slot(sequence)
        self.memory.drop(self._slot_of(sequence))
        sequence.displace()
        self._waiting.append(sequence)
        self.preemptions += 1

    def _leave_slot(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        del self._reserved[self._slot_of(sequence)]

    @staticmethod
    def _slot_of(sequence: Sequence) -> int:
        if sequence.slot is None:
            raise ValueError(f"request {sequence.request_id} has no slot")
        return sequence.slot


def _rank(sequence: Sequence) -> tuple[bool, int]:
    """Order of service: interactive before background, then first come, first served."""
    return sequence.priority == "background", sequence.order
