"""zoe-nano's vocabulary (byte-level BPE) and its training sequences.

Digits stand alone, as in SmolLM's pre-tokenizer, which llama.cpp knows by the name `smollm`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from zoe_train.rendering import ASSISTANT, BOS, EOS, SYSTEM, TOOL, USER, HomeText
from zoe_train.scaffold import SCAFFOLD_TOKENS

PRE_TOKENIZER: Final = "smollm"
CONTROL_TOKENS: Final = (BOS, EOS, SYSTEM, USER, ASSISTANT, TOOL)


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Learn a vocabulary of `size` tokens (Sennrich et al. 2016, on bytes) besides those that are given."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*CONTROL_TOKENS, *SCAFFOLD_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # What has a token of its own must not also spend learned ones.
    given = re.compile(
        "|".join(re.escape(token) for token in sorted((*CONTROL_TOKENS, *SCAFFOLD_TOKENS), key=len)[::-1])
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in given.split(text)), trainer)
    return tokenizer


@dataclass(frozen=True)
class HomeTokens:
    """One home's prefix and exchanges as token ids; `learned` marks what the assistant says, for each exchange."""

    prefix: NDArray[np.int64]
    exchanges: tuple[NDArray[np.int64], ...]
    learned: tuple[NDArray[np.bool_], ...]


def encode(tokenizer: Tokenizer, home: HomeText) -> HomeTokens:
    """Return the token ids of a home's text."""
    prefix = np.array(tokenizer.encode(home.prefix).ids, dtype=np.int64)
    pairs = [_encode_exchange(tokenizer, exchange) for exchange in home.exchanges]
    return HomeTokens(prefix, tuple(ids for ids, _ in pairs), tuple(learned for _, learned in pairs))


def _encode_exchange(tokenizer: Tokenizer, text: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    ids: list[int] = []
    learned: list[bool] = []
    for piece, says in _turns(text):
        piece_ids = tokenizer.encode(piece).ids
        ids += piece_ids
        learned += [says] * len(piece_ids)
    return np.array(ids, dtype=np.int64), np.array(learned, dtype=bool)


def _turns(text: str) -> Iterator[tuple[str, bool]]:
    """Cut before and after what the assistant says; it ends with the token that ends its turn.

    A cut never falls inside a token, for every turn begins with one of its own.
    """
    rest = text
    while ASSISTANT in rest:
        before, _, rest = rest.partition(ASSISTANT)
        said, end, rest = rest.partition(EOS)
        yield before + ASSISTANT, False
        yield said + end, True
    if rest:
        yield rest, False


def save(path: Path, homes: Iterable[HomeTokens]) -> None:
    """Write encoded homes to one `.npz`; it appears only when it is whole."""
    tokens: list[NDArray[np.int64]] = []
    learned: list[NDArray[np.bool_]] = []
    lengths: list[int] = []
    counts: list[int] = []
    for home in homes:
        counts.append(len(home.exchanges))
        for ids, mask in zip(
            (home.prefix, *home.exchanges), (np.zeros(len(home.prefix), bool), *home.learned), strict=True
        ):
            tokens.append(ids.astype(np.uint16))
            learned.append(mask)
            lengths.append(len(ids))
    part = path.with_suffix(".part.npz")
    np.savez(part, tokens=np.concatenate(tokens), learned=np.concatenate(learned), lengths=lengths, counts=counts)
    part.replace(path)


def load(path: Path) -> list[HomeTokens]:
    """Read what `save` wrote."""
    with np.load(path) as file:
        tokens, learned, lengths, counts = (file[key] for key in ("tokens", "learned", "lengths", "counts"))
    ends = np.cumsum(lengths)[:-1]
    pieces, masks = np.split(tokens.astype(np.int64), ends), np.split(learned, ends)
    homes, at = [], 0
    for count in counts:
        homes.append(
            HomeTokens(pieces[at], tuple(pieces[at + 1 : at + 1 + count]), tuple(masks[at + 1 : at + 1 + count]))
        )
        at += count + 1
    return homes
