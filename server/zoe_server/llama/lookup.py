"""Guesses an answer's next tokens from what stands before: the last tokens stood there once, what followed them then?

Names of devices, items of a list, the lines of a result: an assistant repeats much of its prompt. Guessed tokens go
through the model together with the token that is certain, and those that it would have drawn itself are kept, so that
the answer is the same, in fewer steps. (Prompt lookup decoding, Saxena 2023; speculative decoding, Leviathan et al.
2023.) This module knows tokens only.
"""

from __future__ import annotations

import itertools
from typing import Final

from zoe_server.llama.layout import is_text

MAX_GUESSED_TOKENS: Final = 8
_N_GRAM: Final = 3
_FIRST_GUESS_TOKENS: Final = 4
_LONGEST_PAUSE_TOKENS: Final = 64


class Lookup:
    """The guesses for one sequence: longer while they are right, rarer while they are wrong."""

    def __init__(self) -> None:
        self._followers: dict[tuple[int, ...], int] = {}  # n-gram -> where the token after its last occurrence stands
        self._n_indexed = 0
        self._n_guess = _FIRST_GUESS_TOKENS
        self._pause_tokens = 1
        self._next_guess_at = 0

    def guess(self, tokens: list[int], limit: int) -> list[int]:
        """Return at most `limit` tokens that may follow `tokens`, often none; `tokens` only ever grows."""
        for end in range(max(_N_GRAM, self._n_indexed), len(tokens)):
            self._followers[tuple(tokens[end - _N_GRAM : end])] = end
        self._n_indexed = max(self._n_indexed, len(tokens))
        if len(tokens) < self._next_guess_at:
            return []
        start = self._followers.get(tuple(tokens[-_N_GRAM:]))
        found = [] if start is None else tokens[start : start + max(0, min(limit, self._n_guess))]
        return list(itertools.takewhile(is_text, found))

    def judge(self, n_guessed: int, n_right: int, n_tokens: int) -> None:
        """Learn how many of the guessed tokens were right; the sequence has `n_tokens` now."""
        if n_right == n_guessed:
            self._n_guess = min(2 * self._n_guess, MAX_GUESSED_TOKENS)
        if n_right:
            self._pause_tokens = 1
        else:
            self._n_guess = _FIRST_GUESS_TOKENS
            self._next_guess_at = n_tokens + self._pause_tokens
            self._pause_tokens = min(2 * self._pause_tokens, _LONGEST_PAUSE_TOKENS)
