"""Conversations with a model that only copies: what is said in each of them is known, so nothing foreign can hide.

Every prompt begins with what all have in common, the home, and goes on with words that chance gave this conversation
alone. The model looks `DELAY` tokens back, so an answer of that length has read all of the conversation's own words
from the cache. A later turn goes on after the answer, as chats do, or says the end of the prompt differently, as edited
chats do: then a cell too many that is taken over from before is in the middle of what will be read.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

DELAY = 111
N_HOME_TOKENS = 48
N_PROMPT_TOKENS = DELAY + 1
N_TURNS = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """One request: `n_answer_tokens` None is as many as fit; `leaves` says after how many steps it gives up."""

    prompt: tuple[int, ...]
    n_answer_tokens: int | None
    background: bool = False
    leaves: int | None = None


def copied(prompt: Sequence[int], n_tokens: int) -> list[int]:
    """Return what the model answers to `prompt`."""
    tokens = list(prompt)
    for _ in range(n_tokens):
        tokens.append(tokens[len(tokens) - 1 - DELAY])
    return tokens[len(prompt) :]


class Conversation:
    """Number `number` of those that speak with `words`, tokens that are one word each."""

    def __init__(self, number: int, words: Sequence[int]) -> None:
        self._random = random.Random(number)
        self._words = words
        self._home = random.Random("home").choices(words, k=N_HOME_TOKENS)
        self._said: list[int] = []

    def turns(self) -> list[Turn]:
        """Return all requests of this conversation; each can be sent when the one before has ended."""
        return [self._turn() for _ in range(N_TURNS)]

    def _turn(self) -> Turn:
        prompt = self._prompt()
        n_answer = self._answer_length()
        self._said = [*prompt, *copied(prompt, min(n_answer or 0, N_PROMPT_TOKENS))]
        leaves = self._random.randrange(40) if self._random.random() < 0.1 else None
        return Turn(tuple(prompt), n_answer, self._random.random() < 0.2, leaves)

    def _answer_length(self) -> int | None:
        """Return mostly as much as it takes to read every word of the prompt, sometimes far more, often less."""
        chance = self._random.random()
        if chance < 0.6:
            return N_PROMPT_TOKENS
        return None if chance > 0.97 else 500 if chance > 0.9 else self._random.randrange(4, N_PROMPT_TOKENS)

    def _prompt(self) -> list[int]:
        """Return the next prompt; the model never looks back so far that it would not see all of its own words."""
        if not self._said:
            return self._home + self._new(N_PROMPT_TOKENS - N_HOME_TOKENS)
        n_new = self._random.randrange(1, 24)
        if len(self._said) + n_new <= N_PROMPT_TOKENS + N_HOME_TOKENS:
            return self._said + self._new(n_new)
        kept = self._said[: self._random.randrange(N_HOME_TOKENS, N_PROMPT_TOKENS)]
        return kept + self._new(N_PROMPT_TOKENS - len(kept))

    def _new(self, count: int) -> list[int]:
        return self._random.choices(self._words, k=count)
