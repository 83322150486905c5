"""Keeps what a home's requests begin with through a restart: saves that prefix while idle, brings it back at start.

It decides what is worth a file; `prefix_store` knows the files, `runner` the library's state. Reading the state is done
by the thread that owns the library, writing the file by a thread of its own.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from zoe_server.llama.radix import common_length

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoe_server.llama.memory import KvMemory
    from zoe_server.llama.prefix_store import PrefixStore
    from zoe_server.llama.runner import Runner

_LOG: Final = logging.getLogger(__name__)
MIN_KEPT_TOKENS: Final = 128
_COVERED: Final = 0.9
"""A prefix of which so much is kept already is not worth another file: sentences often begin alike."""


class PrefixKeeper:
    """Used by the thread of the engine loop only."""

    def __init__(self, store: PrefixStore, runner: Runner, memory: KvMemory) -> None:
        self._store = store
        self._runner = runner
        self._memory = memory
        self._kept: list[list[int]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="prefixes")

    def restore(self) -> int:
        """Make saved prefixes cached holders, in at most half of the cells and slots; return how many tokens."""
        cells, slots = self._memory.ledger.n_cells // 2, max(1, self._memory.n_slots // 2)
        n_restored = 0
        for saved in self._store.load():
            if n_restored + len(saved.tokens) <= cells and self._restore_one(saved.tokens, saved.state):
                n_restored += len(saved.tokens)
                slots -= 1
            if not slots:
                break
        return n_restored

    def keep(self, tokens: list[int]) -> None:
        """Save the prefix `tokens`, if it is long enough, computed, and not kept already."""
        if len(tokens) < MIN_KEPT_TOKENS:
            return
        for kept in self._kept:
            if common_length(kept, tokens, 0) >= _COVERED * len(tokens):
                self._store.touch(kept)
                return
        donor = self._memory.find_donor(self._memory.cache.match(tokens))
        if donor.length == len(tokens):
            self._kept.append(tokens)
            self._writer.submit(self._write, tokens, self._runner.read_state(donor.slot, donor.length))

    def close(self) -> None:
        """Wait until everything is written."""
        self._writer.shutdown()

    def _restore_one(self, tokens: list[int], state: NDArray[np.uint8]) -> bool:
        slot = self._memory.adopt(tokens)
        if slot is None:
            return False
        if not self._runner.write_state(slot, state, len(tokens)):
            _LOG.warning("llama.cpp does not take a saved prefix of %d tokens; it is computed anew", len(tokens))
            self._memory.disown(slot)
            return False
        self._kept.append(tokens)
        return True

    def _write(self, tokens: list[int], state: NDArray[np.uint8]) -> None:
        try:
            if not self._store.save(tokens, state):
                _LOG.warning("a prefix of %d tokens takes %d bytes, more than may be saved", len(tokens), state.nbytes)
        except OSError as error:
            _LOG.warning("a prefix cannot be saved: %s", error)
