"""The scheduler without a model: a simulated library that knows the rules of llama.cpp's unified KV cache."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.errors import ContextSizeError, QueueFullError
from zoe_server.llama.cache.radix_tree import NullPrefixCache, PrefixCache, RadixTree
from zoe_server.llama.scheduling.adapter_turns import TURN_STEPS
from zoe_server.llama.scheduling.batch import Batch, Drawn, Limits, Update
from zoe_server.llama.scheduling.prompt_lookup import PromptLookup
from zoe_server.llama.scheduling.scheduler import Scheduler
from zoe_server.llama.scheduling.sequence import Sequence
from zoe_server.protocol import FinishReason, Priority

EOG = 0


def next_token(tokens: list[int]) -> int:
    """A 'model': the next token depends on every token before it."""
    return random.Random(hash(tuple(tokens))).randrange(1, 50)


def repeating(tokens: list[int]) -> int:
    """A 'model' that mostly says again what followed the same token before."""
    chance = random.Random(hash(tuple(tokens)))
    followers = [after for before, after in pairwise(tokens) if before == tokens[-1]]
    return followers[-1] if followers and chance.random() < 0.8 else chance.randrange(1, 50)


@dataclass(eq=False)
class Cell:
    """What one token takes."""

    adapter: str | None


@dataclass
class Library:
    """What llama.cpp would hold: per slot the tokens and the cells, each with the adapter that computed it.

    It refuses what the real one refuses, and to go on with what another adapter began.
    """

    n_cells: int
    n_forced: int = 0  # tokens that a grammar says must follow a drawn one
    model: Callable[[list[int]], int] = next_token
    tokens: dict[int, list[int]] = field(default_factory=dict)
    cells: dict[int, list[Cell]] = field(default_factory=dict)

    def run(self, batch: Batch) -> list[Drawn]:
        for operation in batch.operations:
            if operation.kind == "copy":
                assert not self.tokens.get(operation.slot)
                assert len(self.tokens[operation.source]) >= operation.end > 0
                self.tokens[operation.slot] = self.tokens[operation.source][: operation.end]
                self.cells[operation.slot] = self.cells[operation.source][: operation.end]
            else:
                self.tokens[operation.slot] = self.tokens[operation.slot][: operation.end]
                self.cells[operation.slot] = self.cells[operation.slot][: operation.end]
        drawn = []
        for chunk in batch.chunks:
            held = self.tokens.setdefault(chunk.slot, [])
            assert held == chunk.sequence.tokens[: chunk.start], "the slot does not hold what comes before the chunk"
            cells = self.cells.setdefault(chunk.slot, [])
            cells.extend(Cell(batch.adapter) for _ in range(chunk.n_tokens))
            assert {cell.adapter for cell in cells} == {chunk.sequence.adapter}, "another adapter was at work"
            held.extend(chunk.tokens)
            if chunk.samples:
                drawn.append(self.draw(held, chunk.draft))
            held.extend(chunk.draft)
        assert self.n_used <= self.n_cells, "more cells than there are"
        return drawn

    def draw(self, held: list[int], draft: tuple[int, ...]) -> Drawn:
        """Draw as the sampler does: on and on while what was drawn is the draft."""
        drawn: tuple[int, ...] = ()
        while drawn == draft[: len(drawn)] and len(drawn) <= len(draft):
            so_far = [*held, *drawn]
            drawn += tuple(expected(so_far, 1, self.model)[len(so_far) :])
        so_far = [*held, *drawn]
        forced = expected(so_far, self.n_forced, self.model)[len(so_far) :]
        if self.n_forced > 5:  # a draft need not be what the model would say
            forced[3] = 0
        return Drawn(drawn, tuple(forced))

    @property
    def n_used(self) -> int:
        return len({id(cell) for cells in self.cells.values() for cell in cells})


class Harness:
    def __init__(self, *, cells: int = 4096, slots: int = 8, batch: int = 512, queue: int = 64, ctx: int | None = None,
                 cache: PrefixCache | None = None, forced: int = 0,
                 model: Callable[[list[int]], int] = next_token) -> None:  # fmt: skip
        self.limits = Limits(ctx or cells, cells, slots, batch, queue)
        self.scheduler = Scheduler(self.limits, cache or RadixTree(), frozenset({EOG}))
        self.library = Library(cells, forced, model)
        self.now = 0.0
        self.finished: dict[str, tuple[Sequence, FinishReason]] = {}
        self.batches: list[Batch] = []

    def submit(self, name: str, tokens: list[int], limit: int = 4, priority: Priority = "interactive",
               adapter: str | None = None) -> Sequence:  # fmt: skip
        lookup = PromptLookup() if self.library.model is repeating else None
        sequence = Sequence(name, list(tokens), len(tokens), limit, priority, self.now, adapter, lookup=lookup)
        self.scheduler.submit(sequence)
        return sequence

    def step(self, duration_s: float = 0.0) -> list[Update]:
        self.now += 0.01
        batch = self.scheduler.schedule(self.now)
        assert all(s.n_uncomputed == 1 for s in self.scheduler._running if not s.is_prefilling)
        if not batch:
            return []
        self.batches.append(batch)
        updates = self.scheduler.commit(batch, self.library.run(batch), self.now + duration_s)
        for update in updates:
            if update.finished:
                assert update.sequence.request_id not in self.finished
                self.finished[update.sequence.request_id] = update.sequence, update.finished
        return updates

    def run(self, max_steps: int = 2000) -> None:
        for _ in range(max_steps):
            self.step()
            if not self.scheduler.n_running and not self.scheduler.n_waiting:
                return
        pytest.fail("somebody waits forever")

    def in_batch(self) -> dict[str, int]:
        """Tokens of each request in the last batch."""
        return {chunk.sequence.request_id: len(chunk.tokens) for chunk in self.batches[-1].chunks}


def expected(tokens: list[int], count: int, model: Callable[[list[int]], int] = next_token) -> list[int]:
    tokens = list(tokens)
    for _ in range(count):
        tokens.append(model(tokens))
    return tokens


def prompt(seed: int, length: int) -> list[int]:
    return random.Random(seed).choices(range(1, 50), k=length)


SHARED = prompt(1, 300)


def test_cold_burst_computes_the_shared_prefix_once() -> None:
    h = Harness(batch=128)
    sequences = [h.submit(f"r{i}", SHARED + prompt(10 + i, 20)) for i in range(8)]
    h.run()
    uncached = sum(s.n_prompt - s.cached_tokens for s in sequences)
    assert uncached == 300 + 8 * 20
    for i, sequence in enumerate(sequences):
        assert sequence.tokens == expected(SHARED + prompt(10 + i, 20), 4)


def test_second_identical_prompt_reuses_all_but_one_token() -> None:
    h = Harness()
    h.submit("a", SHARED)
    h.run()
    again = h.submit("b", SHARED)
    h.run()
    assert again.cached_tokens == len(SHARED) - 1


def test_priming_generates_nothing_and_leaves_the_prefix() -> None:
    h = Harness()
    prime = h.submit("prime", SHARED, limit=0, priority="background")
    h.run()
    assert h.finished["prime"][1] == "length"
    assert prime.n_generated == 0
    later = h.submit("later", SHARED + prompt(2, 10))
    h.run()
    assert later.cached_tokens == 300


def test_null_cache_computes_everything_and_keeps_nothing() -> None:
    h = Harness(cache=NullPrefixCache())
    first, second = h.submit("a", SHARED), h.submit("b", SHARED)
    h.run()
    assert (first.cached_tokens, second.cached_tokens) == (0, 0)
    assert second.tokens == expected(SHARED, 4)
    assert h.scheduler.memory.n_free_cells == 4096


def test_decode_comes_before_prompt_chunks_in_every_step() -> None:
    h = Harness(batch=64)
    h.submit("voice", prompt(3, 10), limit=50)
    h.step()
    h.submit("long", prompt(4, 1000))
    for _ in range(5):
        h.step()
        assert h.batches[-1].chunks[0].sequence.request_id == "voice"
        assert h.in_batch()["voice"] == 1
        assert h.in_batch()["long"] > 0


def test_drafts_are_computed_together_and_first() -> None:
    h = Harness(batch=64, slots=2, forced=3)
    voice = h.submit("voice", prompt(3, 10), limit=50)
    h.step()
    h.submit("long", prompt(4, 1000))
    h.step()
    chunk = h.batches[-1].chunks[0]
    assert (chunk.sequence, len(chunk.tokens), len(chunk.draft), chunk.is_from_grammar) == (voice, 1, 3, True)
    assert h.batches[-1].chunks[1].n_tokens <= 60
    assert voice.n_generated == 5
    h.run()
    assert voice.tokens == expected(prompt(3, 10), 50)
    assert h.scheduler.drafts.accepted_from_grammar > 30


def test_long_drafts_leave_room_for_every_sequence() -> None:
    h = Harness(batch=16, slots=8, forced=20)
    sequences = [h.submit(f"r{i}", prompt(i, 5), limit=50) for i in range(8)]
    h.run()
    assert all(sum(chunk.n_tokens for chunk in batch.chunks) <= 16 for batch in h.batches)
    assert [sequence.tokens for sequence in sequences] == [expected(prompt(i, 5), 50) for i in range(8)]


def test_accepted_drafts_save_steps_and_change_nothing() -> None:
    names = prompt(5, 60)
    h = Harness(model=repeating)
    sequence = h.submit("again", names * 3, limit=100)
    h.run()
    assert sequence.tokens == expected(names * 3, 100, repeating)
    assert h.scheduler.drafts.accepted_from_lookup > 10
    assert len(h.batches) <= 102 - h.scheduler.drafts.accepted_from_lookup


def test_nothing_is_looked_up_while_a_prompt_waits() -> None:
    h = Harness(batch=64, model=repeating)
    h.submit("voice", prompt(5, 20) * 3, limit=50)
    h.step()
    h.submit("long", prompt(4, 1000))
    for _ in range(5):
        h.step()
        assert not any(chunk.draft for chunk in h.batches[-1].chunks)


def test_a_step_beside_a_voice_stream_stays_short() -> None:
    h = Harness(batch=512)
    h.submit("voice", prompt(3, 10), limit=50)
    h.step()
    h.submit("long", prompt(4, 3000))
    h.step(duration_s=2.0)  # 128 tokens: 15 ms for each
    h.step()
    assert h.in_batch() == {"voice": 1, "long": 32}


def test_background_prompt_yields_to_interactive_ones() -> None:
    h = Harness(batch=64)
    h.submit("background", prompt(5, 500), priority="background")
    h.step()
    h.submit("interactive", prompt(6, 500))
    h.step()
    assert h.in_batch() == {"interactive": 64}


def test_background_prefill_is_urgent_when_somebody_waits_for_it() -> None:
    h = Harness(batch=64)
    h.submit("prime", SHARED + prompt(7, 5), limit=0, priority="background")
    h.step()
    h.submit("question", SHARED + prompt(8, 20))
    h.submit("other", prompt(9, 2000))
    h.step()
    assert h.in_batch()["prime"] == 64
    h.run()
    assert h.finished["question"][0].cached_tokens == 300


def test_interactive_request_takes_the_slot_of_a_background_one() -> None:
    h = Harness(slots=1)
    h.submit("background", prompt(5, 100), limit=50, priority="background")
    h.step()
    h.step()
    h.submit("interactive", prompt(6, 50), limit=3)
    h.step()
    assert "interactive" in h.in_batch()
    h.run()
    assert h.finished["background"][0].tokens == expected(prompt(5, 100), 50)
    assert h.scheduler.preemptions == 1


def test_prompt_longer_than_the_context_is_refused_before_queueing() -> None:
    h = Harness(cells=512)
    with pytest.raises(ContextSizeError) as caught:
        h.submit("long", prompt(1, 512))
    assert caught.value.details == {"n_prompt_tokens": 512, "n_ctx": 512}
    assert h.scheduler.n_waiting == 0


def test_context_fills_while_generating() -> None:
    h = Harness(cells=128)
    sequence = h.submit("a", prompt(1, 100), limit=1000)
    h.run()
    assert h.finished["a"][1] == "length"
    assert len(sequence.tokens) == 128


def test_queue_bound() -> None:
    h = Harness(slots=1, queue=2)
    for i in range(3):
        h.submit(f"r{i}", prompt(i, 10))
    with pytest.raises(QueueFullError) as caught:
        h.submit("one too many", prompt(9, 10))
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1


def test_short_of_cells_the_youngest_is_preempted_and_finishes_later() -> None:
    h = Harness(cells=400, ctx=400)
    sequences = [h.submit(f"r{i}", prompt(20 + i, 30), limit=300) for i in range(2)]
    h.run()
    assert [s.tokens for s in sequences] == [expected(prompt(20 + i, 30), 300) for i in range(2)]


def test_optimistic_reservation_is_paid_for_by_preemption() -> None:
    h = Harness(cells=800)
    sequences = [h.submit(f"r{i}", prompt(20 + i, 30), limit=500) for i in range(2)]
    h.run()
    assert h.scheduler.preemptions >= 1
    assert sequences[0].preemptions == 0
    assert [s.tokens for s in sequences] == [expected(prompt(20 + i, 30), 500) for i in range(2)]


def test_least_recently_used_holder_is_evicted_first() -> None:
    h = Harness(slots=2, cells=4096)
    for name in ("old", "young"):
        h.submit(name, prompt(len(name), 50))
        h.run()
    h.submit("old again", [*prompt(3, 50), 7])
    h.run()
    h.submit("new", prompt(99, 50))
    h.run()
    kept = h.scheduler.memory.cache.match(prompt(3, 50))
    assert max(kept.values()) == 50
    assert max(h.scheduler.memory.cache.match(prompt(5, 50)).values(), default=0) < 50


def test_cancelled_prefill_leaves_what_it_computed() -> None:
    h = Harness(batch=64)
    sequence = h.submit("a", SHARED)
    h.step()
    h.scheduler.finish(sequence, h.now)
    again = h.submit("b", SHARED)
    h.run()
    assert again.cached_tokens == 64


def test_waiting_for_a_flight_survives_its_cancellation() -> None:
    h = Harness(batch=64)
    first = h.submit("first", SHARED + prompt(2, 9))
    second = h.submit("second", SHARED + prompt(3, 9))
    h.step()
    assert h.scheduler.n_waiting == 1
    h.scheduler.finish(first, h.now)
    h.run()
    assert second.tokens == expected(SHARED + prompt(3, 9), 4)
    assert second.cached_tokens == 64


class CountingTree(RadixTree):
    """Counts how often somebody asks who has a prompt's beginning, which takes as long as the prompt is."""

    n_matches = 0

    def match(self, tokens: list[int], adapter: str | None = None) -> dict[int, int]:
        self.n_matches += 1
        return super().match(tokens, adapter)


def test_who_waits_for_a_flight_is_looked_at_again_when_it_lands() -> None:
    tree = CountingTree()
    h = Harness(batch=32, cache=tree)
    sequences = [h.submit(f"r{i}", SHARED + prompt(10 + i, 20)) for i in range(6)]
    h.step()
    n_matches = tree.n_matches
    for _ in range(300 // 32):
        h.step()
    assert (tree.n_matches, h.scheduler.n_waiting) == (n_matches, 5)
    h.step()
    assert h.scheduler.n_waiting == 0
    h.run()
    assert [sequence.cached_tokens for sequence in sequences] == [0, *[300] * 5]


def test_who_waits_for_room_is_looked_at_again_when_somebody_ends() -> None:
    tree = CountingTree()
    h = Harness(cells=400, cache=tree)
    h.submit("voice", prompt(3, 100), limit=150)
    h.submit("long", prompt(4, 200), limit=5)
    h.step()
    n_matches = tree.n_matches
    for _ in range(100):
        h.step()
    assert (tree.n_matches, h.scheduler.n_waiting) == (n_matches, 1)
    h.submit("short", prompt(5, 10), limit=5)
    h.step()
    assert tree.n_matches == n_matches + 1  # the one before it in the queue
    h.run()
    assert h.finished["long"][0].tokens == expected(prompt(4, 200), 5)


def adapters_of(batches: list[Batch]) -> list[str | None]:
    return [batch.adapter for batch in batches]


def test_adapters_share_neither_steps_nor_prefixes() -> None:
    h = Harness(batch=64)
    sequences = [h.submit(f"r{adapter}", SHARED, limit=20, adapter=adapter) for adapter in (None, "a", "b")]
    h.run()
    assert [sequence.cached_tokens for sequence in sequences] == [0, 0, 0]
    assert all(sequence.tokens == expected(SHARED, 20) for sequence in sequences)
    again = h.submit("again", SHARED, adapter="a")
    h.run()
    assert again.cached_tokens == len(SHARED) - 1


def test_a_cold_burst_with_two_adapters_computes_the_shared_prefix_twice() -> None:
    h = Harness(batch=128)
    names = ("a", None) * 4
    sequences = [h.submit(f"r{i}", SHARED + prompt(10 + i, 20), adapter=name) for i, name in enumerate(names)]
    h.run()
    assert sum(s.n_prompt - s.cached_tokens for s in sequences) == 2 * 300 + 8 * 20


def test_streams_of_two_adapters_take_turns() -> None:
    h = Harness()
    voices = [h.submit(f"voice {adapter}", prompt(3, 10), limit=40, adapter=adapter) for adapter in ("a", "b")]
    h.run()
    assert [voice.tokens for voice in voices] == [expected(prompt(3, 10), 40)] * 2
    decoding = "".join(str(adapter) for adapter in adapters_of(h.batches[2:]))
    assert decoding.startswith(("a" * TURN_STEPS + "b" * TURN_STEPS) * 5)


def test_a_long_prompt_stalls_no_stream_of_another_adapter() -> None:
    h = Harness(batch=512)
    voice = h.submit("voice", prompt(3, 10), limit=100)
    h.step()
    h.submit("long", prompt(4, 1000), adapter="a")
    h.step(duration_s=2.0)  # 128 tokens: 15 ms for each
    for _ in range(20):
        h.step()
    assert adapters_of(h.batches[1:12]) == ["a", *[None] * TURN_STEPS] * 2 + ["a"]
    assert [sum(chunk.n_tokens for chunk in batch.chunks) for batch in h.batches if batch.adapter == "a"][1] == 32
    assert voice.n_generated == 17


def test_prompts_of_two_adapters_are_computed_one_after_the_other() -> None:
    h = Harness(batch=64)
    for adapter in ("a", "b"):
        h.submit(f"r{adapter}", prompt(4, 320), adapter=adapter)
    h.run()
    assert adapters_of(h.batches[:5]) == ["a"] * 5


def test_background_work_waits_for_interactive_work_of_any_adapter() -> None:
    h = Harness(batch=64)
    h.submit("background", prompt(5, 500), priority="background", adapter="a")
    h.step()
    h.submit("interactive", prompt(6, 100), limit=10, adapter="b")
    h.run()
    assert [batch.adapter for batch in h.batches].count("a") >= 500 // 64
    assert adapters_of(h.batches[1:12]) == ["b"] * 11


def test_background_prefill_of_another_adapter_is_urgent_when_somebody_waits_for_it() -> None:
    h = Harness(batch=64)
    h.submit("prime", SHARED, limit=0, priority="background", adapter="a")
    h.step()
    h.submit("voice", prompt(3, 10), limit=100)
    h.submit("question", SHARED + prompt(8, 20), adapter="a")
    for _ in range(30):
        h.step()
    assert h.finished["question"][0].cached_tokens == 300
    assert "voice" not in h.finished


def test_an_adapter_that_runs_alone_has_every_step() -> None:
    h, plain = Harness(batch=64), Harness(batch=64)
    for harness, adapter in ((h, "a"), (plain, None)):
        for i in range(6):
            harness.submit(f"r{i}", SHARED[: 50 * i] + prompt(10 + i, 20), limit=30, adapter=adapter)
        harness.run()
    shapes = [[[(c.slot, c.start, c.tokens) for c in batch.chunks] for batch in each.batches] for each in (h, plain)]
    assert shapes[0] == shapes[1]


PROMPTS = st.lists(st.integers(1, 3), min_size=1, max_size=90)
REQUESTS = st.lists(
    st.tuples(
        PROMPTS,
        st.integers(0, 40),
        st.sampled_from(["interactive", "background"]),
        st.integers(0, 30),
        st.sampled_from([None, None, "a", "b"]),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=60, deadline=None)
@given(
    requests=REQUESTS,
    shared=st.integers(0, 70),
    cells=st.integers(170, 400),
    slots=st.integers(1, 4),
    batch=st.integers(4, 64),
    cancels=st.sets(st.integers(0, 9)),
    keeps=st.booleans(),
    forced=st.integers(0, 9),
    model=st.sampled_from([next_token, repeating]),
)
def test_everybody_gets_the_answer_of_a_fresh_run(  # noqa: PLR0917 -- given by name
    requests: list[tuple[list[int], int, Priority, int, str | None]],
    shared: int,
    cells: int,
    slots: int,
    batch: int,
    cancels: set[int],
    keeps: bool,
    forced: int,
    model: Callable[[list[int]], int],
) -> None:
    """Whatever is shared, evicted, preempted or cancelled: no request's tokens change, and all of them end."""
    cache = RadixTree() if keeps else NullPrefixCache()
    h = Harness(cells=cells, slots=slots, batch=batch, cache=cache, forced=forced, model=model)
    open_sequences: dict[int, Sequence] = {}
    for i, (tokens, limit, priority, pause, adapter) in enumerate(requests):
        full = SHARED[:shared] + tokens
        open_sequences[i] = h.submit(f"r{i}", full, limit, priority, adapter)
        for _ in range(pause):
            h.step()
        if i in cancels:
            h.scheduler.finish(open_sequences.pop(i), h.now)
    h.run(20_000)
    for i, sequence in open_sequences.items():
        tokens, limit, *_ = requests[i]
        full = SHARED[:shared] + tokens
        assert sequence.tokens == expected(full, min(limit, cells - len(full)), model)
    memory = h.scheduler.memory
    h.library.run(Batch(memory.take_operations(), (), (), 0.0))
    held = {slot: len(tokens) for slot, tokens in h.library.tokens.items() if tokens}
    assert held == {slot: n for slot, n in enumerate(memory.expected_tops()) if n}
    assert h.library.n_used == cells - memory.n_free_cells
