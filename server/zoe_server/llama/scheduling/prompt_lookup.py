"""Drafts an answer's next tokens from what stands before: the last tokens stood there once, what followed them then?

Names of devices, items of a list, the lines of a result: an assistant repeats much of its prompt. Drafted tokens go
through the model together with the token that is certain, and those that it would have drawn itself are kept, so that
the answer is the same, in fewer steps. (Prompt lookup decoding, Saxena 2023; speculative decoding, Leviathan et al.
2023.) This module knows tokens only.
"""

from __future__ import annotations

import itertools
from array import array
from typing import Final

from zoe_server.llama.vision.layout import is_text

MAX_DRAFT_TOKENS: Final = 8
_N_GRAM: Final = 3
_NUMBER: Final = "i"
_WIDTH: Final = array(_NUMBER).itemsize
_PICTURE: Final = -1
"""Stands for all tokens of pictures, which are below zero and of any size; they are never proposed."""
_FIRST_DRAFT_TOKENS: Final = 4
_LONGEST_PAUSE_TOKENS: Final = 64


class PromptLookup:
    """The drafts for one sequence: longer while they are accepted, rarer while they are not."""

    def __init__(self) -> None:
        self._numbers = bytearray()  # the tokens as C integers: to search in bytes is faster than to index n-grams
        self._n_draft = _FIRST_DRAFT_TOKENS
        self._pause_tokens = 1
        self._next_draft_at = 0

    def propose(self, tokens: list[int], limit: int) -> list[int]:
        """Return at most `limit` tokens that may follow `tokens`, often none; `tokens` only ever grows."""
        newest = tokens[len(self._numbers) // _WIDTH :]
        self._numbers += array(_NUMBER, [max(_PICTURE, token) for token in newest]).tobytes()
        if len(tokens) < self._next_draft_at:
            return []
        start = self._last_follower()
        found = [] if start is None else tokens[start : start + max(0, min(limit, self._n_draft))]
        return list(itertools.takewhile(is_text, found))

    def _last_follower(self) -> int | None:
        """Return where the token stands that last followed the newest tokens, None if they are new."""
        if len(self._numbers) < _N_GRAM * _WIDTH:
            return None
        wanted = self._numbers[-_N_GRAM * _WIDTH :]
        end = len(self._numbers) - _WIDTH  # a token has to follow
        while (at := self._numbers.rfind(wanted, 0, end)) >= 0:
            if at % _WIDTH == 0:
                return at // _WIDTH + _N_GRAM
            end = at + len(wanted) - 1
        return None

    def judge(self, n_proposed: int, n_accepted: int, n_tokens: int) -> None:
        """Learn how many of the proposed tokens were accepted; the sequence has `n_tokens` now."""
        if n_accepted == n_proposed:
            self._n_draft = min(2 * self._n_draft, MAX_DRAFT_TOKENS)
        if n_accepted:
            self._pause_tokens = 1
        else:
            self._n_draft = _FIRST_DRAFT_TOKENS
            self._next_draft_at = n_tokens + self._pause_tokens
            self._pause_tokens = min(2 * self._pause_tokens, _LONGEST_PAUSE_TOKENS)
