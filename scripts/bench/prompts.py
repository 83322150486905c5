"""Prompts of random words with a known number of tokens, for the random models."""

from __future__ import annotations

import random
from typing import Final

from tests.fixtures.random_gguf import whole_words

TEMPLATE_TOKENS_BEFORE: Final = 7  # <|im_start|>system\n ... <|im_end|>\n
TEMPLATE_TOKENS_AFTER: Final = 10  # <|im_start|>user\n ... <|im_end|>\n<|im_start|>assistant\n


def words(seed: int, count: int) -> str:
    """Return `count` tokens of text; different seeds differ from the first word on."""
    vocabulary = whole_words()
    return "".join(f" {word}" for word in random.Random(seed).choices(vocabulary, k=count))  # noqa: S311 -- no secret


def home_messages(home_seed: int, own_seed: int, shared_tokens: int, own_tokens: int) -> list[dict[str, str]]:
    """Return a chat of `shared_tokens` that depend on `home_seed` only, followed by `own_tokens` of its own."""
    system = words(home_seed, shared_tokens - TEMPLATE_TOKENS_BEFORE)
    user = words(own_seed, own_tokens - TEMPLATE_TOKENS_AFTER)
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]
