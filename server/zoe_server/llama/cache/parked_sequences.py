"""Cached sequences that step aside for a long prompt: their state waits in the machine's memory, and comes back.

llama.cpp's attention looks at all cells up to the last one that is in use, whoever they belong to, so that a prompt
pays for the ones of strangers at every token. Copying them away and back costs little beside that, but not nothing:
it is done where nobody else is computing, and the prompt takes so long that the copies do not count.

Used by the thread of the engine loop only. llama-server does the same with its idle slots.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from zoe_server.llama.cache.radix_tree import Prefix, common_length

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoe_server.llama.cache.kv_cache import KvMemory
    from zoe_server.llama.runner import Runner
    from zoe_server.llama.scheduling.sequence import Sequence

_LOG: Final = logging.getLogger(__name__)
LEAST_TOKENS: Final = 256
"""Fewer are in nobody's way, and not worth being brought back."""
_COVERED: Final = 0.9
_LEAST_PREFILL_S: Final = 1.0
LIMIT_BYTES: Final = 256 << 20


class ParkedSequences:
    """At most `limit_bytes` of sequences; those that were parked first are lost first."""

    def __init__(
        self,
        runner: Runner,
        memory: KvMemory,
        limit_bytes: int = LIMIT_BYTES,
        least_prefill_s: float = _LEAST_PREFILL_S,
    ) -> None:
        self._runner = runner
        self._memory = memory
        self._limit_bytes = limit_bytes
        self._least_prefill_s = least_prefill_s
        self._parked: OrderedDict[int, tuple[Prefix, NDArray[np.uint8]]] = OrderedDict()
        self._n_parked = 0

    @property
    def n_bytes(self) -> int:
        """What the parked sequences take."""
        return sum(state.nbytes for _, state in self._parked.values())

    def prepare(self, sequence: Sequence, token_s: float | None) -> None:
        """Make the cells ready for the prompt of `sequence`, which is next, while nothing runs.

        What it begins with is brought back; strangers are parked if what is left to compute takes long, at `token_s`
        seconds per token, None if nobody knows.
        """
        if sequence.layout.spans:
            return
        prompt = Prefix(sequence.tokens[:-1], sequence.adapter)
        self._runner.apply(self._memory.take_operations())
        n_known = self._bring_back(prompt, self._n_shared(prompt))
        if token_s is not None and (len(prompt.tokens) - n_known) * token_s >= self._least_prefill_s:
            self._park_strangers(prompt)

    def _n_shared(self, prompt: Prefix) -> int:
        return self._memory.find_donor(self._memory.cache.match(*prompt)).length

    def _bring_back(self, prompt: Prefix, n_known: int) -> int:
        """Return how many of the prompt's tokens are known, after the parked sequence that has most is back."""
        key, n_common = self._best(prompt)
        if n_common < n_known + LEAST_TOKENS:
            return n_known
        parked, state = self._parked.pop(key)
        slot = self._memory.adopt(parked)
        while slot is None and self._memory.evict_one():
            self._runner.apply(self._memory.take_operations())
            slot = self._memory.adopt(parked)
        if slot is None:
            return self._n_shared(prompt)
        if not self._runner.write_state(slot, state, len(parked.tokens)):
            _LOG.warning("llama.cpp does not take a parked sequence of %d tokens; it is lost", len(parked.tokens))
            self._memory.disown(slot)
        return self._n_shared(prompt)

    def _best(self, prompt: Prefix) -> tuple[int, int]:
        """Return the key of the parked sequence that shares most with the prompt, and how much."""
        shared = [
            (common_length(parked.tokens, prompt.tokens, 0), key)
            for key, (parked, _) in self._parked.items()
            if parked.adapter == prompt.adapter
        ]
        n_common, key = max(shared, default=(0, -1))
        return key, n_common

    def _park_strangers(self, prompt: Prefix) -> None:
        """Park every cached sequence that shares nothing worth its cells with the prompt."""
        shared = self._memory.cache.match(*prompt)
        strangers = [slot for slot in self._memory.parkable if shared.get(slot, 0) < LEAST_TOKENS]
        for slot in sorted(strangers, key=self._memory.ledger.length, reverse=True):
            length = self._memory.ledger.length(slot)
            if length < LEAST_TOKENS:
                continue
            prefix = self._memory.cache.prefix(slot)
            if not self._is_covered(prefix) and not self._keep(prefix, slot, length):
                continue
            self._memory.let_go(slot)
            self._runner.apply(self._memory.take_operations())

    def _keep(self, prefix: Prefix, slot: int, length: int) -> bool:
        """Copy a sequence away; return False if that cannot be."""
        try:
            state = self._runner.read_state(slot, length, self._limit_bytes)
        except MemoryError:
            _LOG.debug("there is no memory for the state of %d tokens", length)
            return False
        if state is None:
            return False
        self._parked[self._n_parked] = prefix, state
        self._n_parked += 1
        while self.n_bytes > self._limit_bytes:
            self._parked.popitem(last=False)
        return True

    def _is_covered(self, prefix: Prefix) -> bool:
        """Whether most of it is parked already: conversations of one home begin alike."""
        return any(
            parked.adapter == prefix.adapter
            and common_length(parked.tokens, prefix.tokens, 0) >= _COVERED * len(prefix.tokens)
            for parked, _ in self._parked.values()
        )
