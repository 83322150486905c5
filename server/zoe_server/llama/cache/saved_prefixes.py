"""Keeps what a home's requests begin with through a restart: saves that prefix while idle, brings it back at start.

What one adapter computed is of no use to another, so each has a store of its own; None is the model without one. It
decides what is worth a file; `prefix_store` knows the files, `runner` the library's state. Reading the state is done by
the thread that owns the library, everything on disk by a thread of its own, one prefix at a time: what comes meanwhile
has its turn when it is used again. A disk that fails is left alone for a while, and told of once.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from zoe_server.llama.cache.radix_tree import Prefix, common_length
from zoe_server.llama.vision.layout import is_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from zoe_server.llama.cache.kv_cache import KvMemory
    from zoe_server.llama.cache.prefix_store import PrefixStore
    from zoe_server.llama.runner import Runner

_LOG: Final = logging.getLogger(__name__)
MIN_KEPT_TOKENS: Final = 128
_COVERED: Final = 0.9
"""A prefix of which so much is kept already is not worth another file: sentences often begin alike."""


_MAX_KNOWN: Final = 64
_RETRY_S: Final = 600.0


class SavedPrefixes:
    """Used by the thread of the engine loop only."""

    def __init__(
        self,
        stores: Mapping[str | None, PrefixStore],
        runner: Runner,
        memory: KvMemory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._runner = runner
        self._memory = memory
        self._clock = clock
        self._known: deque[Prefix] = deque(maxlen=_MAX_KNOWN)  # those that have a file, as far as this thread knows
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="prefixes")
        self._pending: tuple[Prefix, Future[bool]] | None = None
        self._too_many_tokens = math.inf
        self._failed = False
        self._retry_s = -math.inf

    def restore(self) -> int:
        """Make saved prefixes cached sequences, in at most half of the cells and slots; return how many tokens."""
        cells, slots = self._memory.ledger.n_cells // 2, max(1, self._memory.n_slots // 2)
        n_restored = 0
        try:
            for prefix, state in itertools.islice(self._load(), _MAX_KNOWN):
                if n_restored + len(prefix.tokens) <= cells and self._restore_one(prefix, state):
                    n_restored += len(prefix.tokens)
                    slots -= 1
                if not slots:
                    break
        except (OSError, MemoryError) as error:
            _LOG.warning("saved prefixes cannot be read: %s", error or "there is no memory for them")
        return n_restored

    def keep(self, prefix: Prefix) -> None:
        """Save `prefix`, if it is long enough, computed, and not kept already; without what follows a picture."""
        tokens = list(itertools.takewhile(is_text, prefix.tokens))
        if not MIN_KEPT_TOKENS <= len(tokens) < self._too_many_tokens or not self._is_ready():
            return
        known = next((known for known in self._known if _covers(known, tokens, prefix.adapter)), None)
        if known is None:
            self._save(Prefix(tokens, prefix.adapter))
        else:
            self._pending = known, self._writer.submit(self._touch, known)

    def _is_ready(self) -> bool:
        """Return whether the writer has nothing to do and may try; take note of what became of the last prefix."""
        if self._pending is not None:
            prefix, is_there = self._pending
            if not is_there.done():
                return False
            if not is_there.result() and prefix in self._known:
                self._known.remove(prefix)
            self._pending = None
        return self._clock() >= self._retry_s

    def _save(self, prefix: Prefix) -> None:
        donor = self._memory.find_donor(self._memory.cache.match(prefix.tokens, prefix.adapter))
        if donor.length < len(prefix.tokens):
            return
        limit_bytes = self._stores[prefix.adapter].limit_bytes
        try:
            state = self._runner.read_state(donor.slot, donor.length, limit_bytes)
        except MemoryError:
            self._tell(f"there is no memory for the state of {donor.length} tokens")
            return
        if state is None:
            self._too_many_tokens = donor.length
            _LOG.warning(
                "a prefix of %d tokens takes more than the %d bytes that may be saved", donor.length, limit_bytes
            )
            return
        self._known.append(prefix)
        self._pending = prefix, self._writer.submit(self._write, prefix, state)

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
        self._known.append(prefix)
        return True

    def _write(self, prefix: Prefix, state: NDArray[np.uint8]) -> bool:
        """Return whether the prefix has a file; called in the writer's thread, like `_touch`."""
        try:
            self._stores[prefix.adapter].save(prefix.tokens, state)
        except (OSError, MemoryError) as error:
            self._tell(str(error) or "there is no memory")
            return False
        self._failed = False
        return True

    def _touch(self, prefix: Prefix) -> bool:
        try:
            return self._stores[prefix.adapter].touch(prefix.tokens)
        except OSError as error:
            self._tell(str(error))
            return True

    def _tell(self, reason: str) -> None:
        """Log why a prefix cannot be saved, once until one can, and try no other for a while."""
        _LOG.log(logging.DEBUG if self._failed else logging.WARNING, "a prefix cannot be saved: %s", reason)
        self._failed, self._retry_s = True, self._clock() + _RETRY_S


def _covers(known: Prefix, tokens: list[int], adapter: str | None) -> bool:
    return known.adapter == adapter and common_length(known.tokens, tokens, 0) >= _COVERED * len(tokens)
