"""The KV cache's books: which slot holds which tokens in which cells, what is free, and what may be evicted.

With `kv_unified` all sequences of llama.cpp share one pool of cells; copying a prefix to another sequence adds that
sequence to the cells' owners and takes no new ones. `CellLedger` mirrors this cell by cell, so that the number of free
cells is exact. `KvMemory` adds the prefix cache and the cached sequences, which are finished and keep their cells until
somebody needs them. It decides nothing about queues and calls no C library: what the library has to do is collected as
`MemoryOperation`s, in order.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zoe_server.llama.vision.layout import TEXT_ONLY

if TYPE_CHECKING:
    from zoe_server.llama.cache.radix_tree import Prefix, PrefixCache
    from zoe_server.llama.vision.layout import Layout


@dataclass(frozen=True, slots=True)
class MemoryOperation:
    """`copy`: let `slot` share what `source` has at positions below `end`; `keep`: drop all but that of `slot`."""

    kind: Literal["copy", "keep"]
    slot: int
    end: int
    source: int = -1


class CellLedger:
    """Which virtual cells each slot owns; a cell is free when no slot owns it.

    The slots in `pinned` keep their cells, `n_pinned_cells` together, until they are unpinned. Slots that own a cell
    own the same cells before it, too, since only beginnings are shared.
    """

    def __init__(self, n_slots: int, n_cells: int) -> None:
        self.n_slots = n_slots
        self.n_cells = n_cells
        self.n_pinned_cells = 0
        self._cells: list[list[int]] = [[] for _ in range(n_slots)]
        self._owners = [0] * n_cells
        self._pins = [0] * n_cells  # how many of the owners are pinned
        self._pinned: set[int] = set()
        self._free = list(range(n_cells - 1, -1, -1))

    @property
    def n_free(self) -> int:
        """Cells that no slot owns."""
        return len(self._free)

    def length(self, slot: int) -> int:
        """Return how many tokens of `slot` have cells."""
        return len(self._cells[slot])

    def allocate(self, slot: int, count: int) -> None:
        """Give `slot` `count` more cells.

        Raises:
            ValueError: so many are not free.
        """
        if count > len(self._free):
            raise ValueError(f"{count} KV cells wanted, {len(self._free)} free")
        is_pinned = slot in self._pinned
        for _ in range(count):
            cell = self._free.pop()
            self._owners[cell] = 1
            self._pins[cell] = int(is_pinned)
            self._cells[slot].append(cell)
        self.n_pinned_cells += count * is_pinned

    def share(self, source: int, slot: int, length: int) -> None:
        """Let the empty `slot`, which is not pinned, own the first `length` cells of `source` too."""
        cells = self._cells[source][:length]
        for cell in cells:
            self._owners[cell] += 1
        self._cells[slot] = cells

    def keep(self, slot: int, length: int) -> None:
        """Take all but the first `length` cells from `slot`, which is not pinned."""
        for cell in self._cells[slot][length:]:
            self._owners[cell] -= 1
            if not self._owners[cell]:
                self._free.append(cell)
        del self._cells[slot][length:]

    def pin(self, slot: int) -> None:
        """Count the cells of `slot`, which is not pinned, among those that are."""
        self._pinned.add(slot)
        for cell in self._cells[slot]:
            self.n_pinned_cells += not self._pins[cell]
            self._pins[cell] += 1

    def unpin(self, slot: int) -> None:
        """Count the cells of the pinned `slot` no more."""
        self._pinned.remove(slot)
        for cell in self._cells[slot]:
            self._pins[cell] -= 1
            self.n_pinned_cells -= not self._pins[cell]

    def n_unpinned(self, slot: int, length: int) -> int:
        """Return how many of the first `length` cells of `slot` no pinned slot owns."""
        return length - bisect_left(self._cells[slot], True, hi=length, key=lambda cell: not self._pins[cell])


@dataclass(frozen=True, slots=True)
class Donor:
    """A slot whose first `length` tokens a new sequence can have; `length` 0 means nobody has any."""

    slot: int
    length: int


NO_DONOR = Donor(-1, 0)


class KvMemory:
    """Owner of slots and cells. A slot is free, running (a sequence works in it) or cached (its sequence has ended).

    The cells of running slots are pinned: they are not to be had by evicting anybody.
    """

    def __init__(self, n_slots: int, n_cells: int, cache: PrefixCache) -> None:
        self.cache = cache
        self.ledger = CellLedger(n_slots, n_cells)
        self.evictions = 0
        self._free = list(range(n_slots - 1, -1, -1))
        self._cached: dict[int, float] = {}  # slot -> when it was last of use, in seconds
        self._layouts: dict[int, Layout] = {}  # of slots with pictures
        self._operations: list[MemoryOperation] = []

    @property
    def n_slots(self) -> int:
        """All slots."""
        return self.ledger.n_slots

    @property
    def n_cached(self) -> int:
        """Slots that hold tokens for nobody in particular."""
        return len(self._cached)

    @property
    def n_free_cells(self) -> int:
        """Cells that can be written without evicting anybody."""
        return self.ledger.n_free

    def take_operations(self) -> tuple[MemoryOperation, ...]:
        """Return what the C library has to do, oldest first, and forget it."""
        operations, self._operations = tuple(self._operations), []
        return operations

    def find_donor(self, shared: dict[int, int]) -> Donor:
        """Return who has computed most of the tokens that `PrefixCache.match` says are shared; who is cached first."""
        ready = [(min(n, self.ledger.length(slot)), slot in self._cached, slot) for slot, n in shared.items()]
        length, _, slot = max(ready, default=(0, False, -1))
        return Donor(slot, length) if length else NO_DONOR

    def admit(self, prefix: Prefix, donor: Donor, n_wanted: int, now: float, layout: Layout = TEXT_ONLY) -> int | None:
        """Return a slot that has the donor's tokens and will hold all of the `prefix`, or None if there is no room.

        `layout` is that of the prefix.

        There is room if `n_wanted` cells beside the reused ones are free after evicting cached sequences; `n_wanted` is
        what this sequence and all running ones may still write. Without room nothing is evicted. A donor that is cached
        and used up wholly, or in the way, is taken over; else its tokens are copied, which costs no cells.
        """
        if not self._fits_after_evictions(donor, n_wanted):
            return None
        used_up = donor.slot in self._cached and self.ledger.length(donor.slot) == donor.length
        while not ((self._free or used_up) and self.n_free_cells >= n_wanted):
            if not self._evict(except_slot=donor.slot):
                break
        if used_up or not self._free or self.n_free_cells < n_wanted:
            slot = self._take_over(donor)
        else:
            slot = self._copy(donor, now, layout)
        self.ledger.pin(slot)
        self._layouts.pop(slot, None)
        if layout.spans:
            self._layouts[slot] = layout
        self.cache.extend(slot, prefix.tokens[self.cache.length(slot) :], prefix.adapter)
        return slot

    def computed(self, slot: int, tokens: list[int], length: int) -> None:
        """Record that `slot` now has cells for `tokens[:length]`."""
        self.ledger.allocate(slot, length - self.ledger.length(slot))
        if length > self.cache.length(slot):
            self.cache.extend(slot, tokens[self.cache.length(slot) : length])

    def cut(self, slot: int, length: int) -> None:
        """Let the library drop what `slot` has beyond `length` tokens, none of which `computed` was told about."""
        self._operations.append(MemoryOperation("keep", slot, self._layout(slot).position(length)))

    def release(self, slot: int, now: float) -> None:
        """End the work in `slot`: what is computed stays as a cached sequence."""
        self.ledger.unpin(slot)
        length = self.ledger.length(slot) if self.cache.keeps else 0
        self.cache.truncate(slot, length)
        if length:
            self._cached[slot] = now
        else:
            self._empty(slot)

    def drop(self, slot: int) -> None:
        """End the work in `slot` and give its cells back."""
        self.ledger.unpin(slot)
        self._empty(slot)

    def adopt(self, prefix: Prefix) -> int | None:
        """Return a free slot that from now on holds `prefix` for nobody in particular, or None if there is no room.

        The library is to be given their state before the next operation; `disown` takes it back if that fails.
        """
        if not self.cache.keeps or not self._free or self.n_free_cells < len(prefix.tokens):
            return None
        slot = self._free.pop()
        self.ledger.allocate(slot, len(prefix.tokens))
        self.cache.extend(slot, prefix.tokens, prefix.adapter)
        self._cached[slot] = float("-inf")
        return slot

    def disown(self, slot: int) -> None:
        """Forget a slot that `adopt` returned, of which the library has nothing."""
        del self._cached[slot]
        self.cache.truncate(slot, 0)
        self.ledger.keep(slot, 0)
        self._free.append(slot)

    @property
    def parkable(self) -> list[int]:
        """The cached slots whose state is that of their tokens alone, those of no use for the longest first."""
        return [slot for slot in sorted(self._cached, key=self._cached.__getitem__) if slot not in self._layouts]

    def let_go(self, slot: int) -> None:
        """Empty a cached slot that is not lost: somebody else has what it held."""
        del self._cached[slot]
        self._empty(slot)

    def evict_one(self) -> bool:
        """Empty the cached sequence that was of no use for the longest time; return whether there was one."""
        return self._evict(except_slot=-1)

    def clear_cached(self) -> None:
        """Empty every cached sequence."""
        while self.evict_one():
            pass

    def expected_tops(self) -> list[int]:
        """Return by how many positions the C library should reach in every slot, once all operations are done."""
        return [self._layout(slot).top(self.ledger.length(slot)) for slot in range(self.n_slots)]

    def _fits_after_evictions(self, donor: Donor, n_wanted: int) -> bool:
        if not (self._free or self._cached):
            return False
        n_reused = self.ledger.n_unpinned(donor.slot, donor.length) if donor.slot in self._cached else 0
        return self.ledger.n_cells - self.ledger.n_pinned_cells - n_reused >= n_wanted

    def _take_over(self, donor: Donor) -> int:
        del self._cached[donor.slot]
        self._keep(donor.slot, donor.length)
        return donor.slot

    def _copy(self, donor: Donor, now: float, layout: Layout) -> int:
        slot = self._free.pop()
        if donor.length:
            self.ledger.share(donor.slot, slot, donor.length)
            self._operations.append(MemoryOperation("copy", slot, layout.position(donor.length), donor.slot))
        if donor.slot in self._cached:
            self._cached[donor.slot] = now
        return slot

    def _evict(self, *, except_slot: int) -> bool:
        victim = min((slot for slot in self._cached if slot != except_slot), key=self._cached.__getitem__, default=None)
        if victim is None:
            return False
        del self._cached[victim]
        self._empty(victim)
        self.evictions += 1
        return True

    def _empty(self, slot: int) -> None:
        self._keep(slot, 0)
        self._layouts.pop(slot, None)
        self._free.append(slot)

    def _keep(self, slot: int, length: int) -> None:
        self.cache.truncate(slot, length)
        if length < self.ledger.length(slot):
            self.ledger.keep(slot, length)
            self._operations.append(MemoryOperation("keep", slot, self._layout(slot).position(length)))

    def _layout(self, slot: int) -> Layout:
        return self._layouts.get(slot, TEXT_ONLY)
