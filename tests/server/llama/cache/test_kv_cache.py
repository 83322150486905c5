"""Cells, holders and who has to go; the scheduler's tests check the rest against a simulated library."""

from __future__ import annotations

import pytest

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
