"""Keeps what a home's requests begin with through a restart: saves that prefix while idle, brings it back at start.

What one adapter computed is of no use to another, so each has a store of its own; None is the model without one. It
decides what is worth a file; `prefix_store` knows the files, `runner` the library's state. Reading the state is done by
the thread that owns the library, writing the file by a thread of its own.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from zoe_server.llama.cache.radix_tree import Prefix, common_length
from zoe_server.llama.vision.layout import is_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from zoe_server.llama.cache.kv_cache import KvMemory
    from zoe_server.llama.cache.prefix_store import PrefixStore
    from zoe_server.llama.runner import Runner

_LOG: Final = logging.getLogger(__name__)
MIN_KEPT_TOKENS: Final = 128
_COVERED: Final = 0.9
"""A prefix of which so much is kept already is not worth another file: sentences often begin alike."""


class SavedPrefixes:
    """Used by the thread of the engine loop only."""

    def __init__(self, stores: Mapping[str | None, PrefixStore], runner: Runner, memory: KvMemory) -> None:
        self._stores = stores
        self._runner = runner
        self._memory = memory
        self._kept: list[Prefix] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="prefixes")

    def restore(self) -> int:
        """Make saved prefixes cached holders, in at most half of the cells and slots; return how many tokens."""
        cells, slots = self._memory.ledger.n_cells // 2, max(1, self._memory.n_slots // 2)
        n_restored = 0
        for prefix, state in self._load():
            if n_restored + len(prefix.tokens) <= cells and self._restore_one(prefix, state):
                n_restored += len(prefix.tokens)
                slots -= 1
            if not slots:
                break
        return n_restored

    def keep(self, prefix: Prefix) -> None:
        """Save `prefix`, if it is long enough, computed, and not kept already; without what follows a picture."""
        adapter = prefix.adapter
        tokens = list(itertools.takewhile(is_text, prefix.tokens))
        if len(tokens) < MIN_KEPT_TOKENS:
            return
        for kept in self._kept:
            if kept.adapter == adapter and common_length(kept.tokens, tokens, 0) >= _COVERED * len(tokens):
                self._stores[adapter].touch(kept.tokens)
                return
        donor = self._memory.find_donor(self._memory.cache.match(tokens, adapter))
        if donor.length == len(tokens):
            self._kept.append(Prefix(tokens, adapter))
            self._writer.submit(self._write, self._kept[-1], self._runner.read_state(donor.slot, donor.length))

    def close(self) -> None:
        """Wait until everything is written."""
        self._writer.shutdown()

    def _load(self) -> Iterator[tuple[Prefix, NDArray[np.uint8]]]:
        """Yield one prefix of every store, then the next ones, so that no adapter's are left out for another's."""
        turns = deque((adapter, store.load()) for adapter, store in self._stores.items())
        while turns:
            adapter, saved = turns.popleft()
            for prefix in itertools.islice(saved, 1):
                yield Prefix(prefix.tokens, adapter), prefix.state
                turns.append((adapter, saved))

    def _restore_one(self, prefix: Prefix, state: NDArray[np.uint8]) -> bool:
        slot = self._memory.adopt(prefix)
        if slot is None:
            return False
        n_tokens = len(prefix.tokens)
        if not self._runner.write_state(slot, state, n_tokens):
            _LOG.warning("llama.cpp does not take a saved prefix of %d tokens; it is computed anew", n_tokens)
            self._memory.disown(slot)
            return False
        self._kept.append(prefix)
        return True

    def _write(self, prefix: Prefix, state: NDArray[np.uint8]) -> None:
        n_tokens = len(prefix.tokens)
        try:
            if not self._stores[prefix.adapter].save(prefix.tokens, state):
                _LOG.warning("a prefix of %d tokens takes %d bytes, more than may be saved", n_tokens, state.nbytes)
        except OSError as error:
            _LOG.warning("a prefix cannot be saved: %s", error)
