"""Cells, holders and who has to go; the scheduler's tests check the rest against a simulated library."""

from __future__ import annotations

import itertools
from typing import SupportsIndex

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zoe_server.llama.cache.kv_cache import NO_DONOR, CellLedger, Donor, KvMemory, MemoryOperation
from zoe_server.llama.cache.radix_tree import Prefix, RadixTree


def test_shared_cells_are_free_only_when_nobody_owns_them() -> None:
    ledger = CellLedger(3, 100)
    ledger.allocate(0, 60)
    ledger.share(0, 1, 50)
    ledger.allocate(1, 10)
    assert ledger.n_free == 30
    ledger.keep(0, 0)
    assert ledger.n_free == 40
    assert ledger.length(1) == 60
    ledger.keep(1, 50)
    assert ledger.n_free == 50
    with pytest.raises(ValueError, match="51 KV cells wanted, 50 free"):
        ledger.allocate(2, 51)


SLOTS = st.integers(0, 3)
N_CELLS = 40


class LedgerAgainstSets(RuleBasedStateMachine):
    """What the ledger counts as it goes, against sets of all cells."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = CellLedger(4, N_CELLS)
        self.held: list[list[int]] = [[] for _ in range(4)]
        self.pinned: set[int] = set()
        self.cells = itertools.count()

    @rule(slot=SLOTS, count=st.integers(1, 8))
    def allocate(self, slot: int, count: int) -> None:
        count = min(count, self.ledger.n_free)
        self.ledger.allocate(slot, count)
        self.held[slot] += itertools.islice(self.cells, count)

    @rule(source=SLOTS, slot=SLOTS, length=st.integers(0, 8))
    def share(self, source: int, slot: int, length: int) -> None:
        if not self.held[slot] and slot not in self.pinned:
            self.ledger.share(source, slot, length)
            self.held[slot] = self.held[source][:length]

    @rule(slot=SLOTS, length=st.integers(0, 8))
    def keep(self, slot: int, length: int) -> None:
        if slot not in self.pinned:
            self.ledger.keep(slot, length)
            del self.held[slot][length:]

    @rule(slot=SLOTS)
    def pin_or_unpin(self, slot: int) -> None:
        (self.ledger.unpin if slot in self.pinned else self.ledger.pin)(slot)
        self.pinned ^= {slot}

    @invariant()
    def counts_agree(self) -> None:
        assert self.ledger.n_free == N_CELLS - len(set(itertools.chain(*self.held)))
        pinned = {cell for slot in self.pinned for cell in self.held[slot]}
        assert self.ledger.n_pinned_cells == len(pinned)
        for slot, cells in enumerate(self.held):
            for length in (len(cells) // 2, len(cells)):
                assert self.ledger.n_unpinned(slot, length) == len(set(cells[:length]) - pinned)


TestLedgerAgainstSets = LedgerAgainstSets.TestCase


class CountedCells(list[int]):
    """The cells of a slot; `n_read` of them were looked at."""

    n_read = 0

    def __getitem__(self, index: SupportsIndex | slice) -> int | list[int]:
        found = super().__getitem__(index)
        self.n_read += len(found) if isinstance(found, list) else 1
        return found


def test_whether_there_is_room_costs_the_same_however_many_cells_are_in_use() -> None:
    memory = KvMemory(3, 10_000, RadixTree())
    cached = holder(memory, list(range(4000)), 0.0)
    running = memory.admit(Prefix([5] * 4000), NO_DONOR, 4000, 1.0)
    assert running is not None
    memory.computed(running, [5] * 4000, 4000)
    cells = memory.ledger._cells = [CountedCells(owned) for owned in memory.ledger._cells]
    assert memory.admit(Prefix(list(range(9000))), Donor(cached, 3000), 3001, 2.0) is None
    assert sum(owned.n_read for owned in cells) < 20
    assert memory.admit(Prefix(list(range(9000))), Donor(cached, 3000), 3000, 2.0) is not None


def holder(memory: KvMemory, tokens: list[int], now: float) -> int:
    """Compute `tokens` in a slot of their own, and leave them cached."""
    slot = memory.admit(Prefix(tokens), NO_DONOR, len(tokens), now)
    assert slot is not None
    memory.computed(slot, tokens, len(tokens))
    memory.release(slot, now)
    return slot


def test_without_room_nothing_is_evicted() -> None:
    memory = KvMemory(4, 100, RadixTree())
    running = memory.admit(Prefix(list(range(60))), NO_DONOR, 60, 0.0)
    assert running is not None
    memory.computed(running, list(range(60)), 60)
    holder(memory, [100] * 30, 1.0)
    assert memory.admit(Prefix([200] * 50), NO_DONOR, 50, 2.0) is None
    assert memory.n_cached == 1
    assert memory.admit(Prefix([200] * 40), NO_DONOR, 40, 2.0) is not None
    assert memory.n_cached == 0


def test_holder_that_is_continued_whole_is_taken_over() -> None:
    memory = KvMemory(2, 100, RadixTree())
    slot = holder(memory, list(range(20)), 0.0)
    longer = list(range(25))
    assert memory.admit(Prefix(longer), memory.find_donor(memory.cache.match(longer)), 5, 1.0) == slot
    assert memory.take_operations() == ()


def test_holder_used_in_part_is_copied_while_there_is_a_free_slot_and_cut_when_there_is_none() -> None:
    memory = KvMemory(2, 100, RadixTree())
    first = holder(memory, list(range(20)), 0.0)
    branch = [*range(10), 99]
    second = memory.admit(Prefix(branch), Donor(first, 10), 1, 1.0)
    assert second != first
    assert memory.take_operations() == (MemoryOperation("copy", second, 10, first),)
    another = [*range(12), 98]
    assert memory.admit(Prefix(another), Donor(first, 12), 1, 2.0) == first
    assert memory.take_operations() == (MemoryOperation("keep", first, 12),)


def test_a_slot_belongs_to_the_adapter_that_computed_it() -> None:
    memory = KvMemory(3, 100, RadixTree())
    tokens = list(range(20))
    slot = memory.adopt(Prefix(tokens, "jokes"))
    assert memory.cache.match(tokens) == memory.cache.match(tokens, "rhymes") == {}
    assert memory.cache.match(tokens, "jokes") == {slot: 20}
    other = memory.admit(Prefix(tokens), NO_DONOR, 20, 0.0)
    assert memory.cache.match(tokens) == {other: 20}
