"""Drafts of speculative decoding: tokens that are computed with the one before them, and kept if they are drawn, too.

A grammar says what must follow, prompt lookup what followed the last time.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from zoe_server.llama.scheduling.prompt_lookup import MAX_DRAFT_TOKENS

if TYPE_CHECKING:
    from zoe_server.llama.cache.kv_cache import KvMemory
    from zoe_server.llama.scheduling.batch import Chunk


class Drafts:
    """Gives a draft to each decode chunk, of which at most `n_chunk_tokens` are computed, and judges what was drawn."""

    def __init__(self, memory: KvMemory, n_chunk_tokens: int) -> None:
        self.accepted_from_grammar = 0
        self.proposed_by_lookup = 0
        self.accepted_from_lookup = 0
        self._memory = memory
        self._n_chunk_tokens = n_chunk_tokens

    def add(self, chunks: list[Chunk], *, with_lookup: bool) -> list[Chunk]:
        """Return the chunks with drafts, as far as cells are free that nobody else needs."""
        n_free = self._memory.n_free_cells - sum(chunk.n_tokens for chunk in chunks)
        drafted: list[Chunk] = []
        for chunk in chunks:
            limit = min(self._n_chunk_tokens - chunk.n_tokens, n_free, MAX_DRAFT_TOKENS)
            draft = chunk.sequence.propose(limit, with_lookup=with_lookup) if chunk.samples else ()
            n_free -= len(draft)
            from_grammar = bool(chunk.sequence.grammar_draft)
            drafted.append(replace(chunk, draft=draft, is_from_grammar=from_grammar) if draft else chunk)
        return drafted

    def judge(self, chunk: Chunk, added: tuple[int, ...]) -> None:
        """Keep what was computed for accepted tokens, drop what was for the others."""
        sequence, draft = chunk.sequence, chunk.draft
        if not draft:
            return
        n_accepted = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(draft, added, strict=False)))
        sequence.computed += n_accepted
        if chunk.is_from_grammar:
            self.accepted_from_grammar += n_accepted
        elif sequence.lookup is not None:
            sequence.lookup.judge(len(draft), n_accepted, len(sequence.tokens))
            self.proposed_by_lookup += len(draft)
            self.accepted_from_lookup += n_accepted
        if n_accepted < len(draft):
            self._memory.cut(chunk.slot, sequence.computed)
