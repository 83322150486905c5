"""Makes a training batch of one home: random exchanges, alone or as a conversation of two or three."""

from __future__ import annotations

import random

import numpy as np
import torch
from numpy.typing import NDArray

from zoe_train.model import Batch
from zoe_train.tokens import HomeTokens

N_BUCKETS = 6
HEARD_WEIGHT = 0.1
PREFIX_WEIGHT = 0.05
EXCHANGES_PER_HOME = 20
FOLLOW_UP = 0.12
"""How often an exchange follows another one instead of opening its conversation."""

Piece = tuple[NDArray[np.int64], NDArray[np.bool_]]


def conversations(home: HomeTokens, rng: random.Random) -> list[Piece]:
    """Return some of the home's exchanges in random order, a few of them joined to conversations."""
    pieces = list(zip(home.exchanges, home.learned, strict=True))
    pieces = rng.sample(pieces, min(len(pieces), EXCHANGES_PER_HOME))
    joined: list[Piece] = []
    depth = 1
    for ids, learned in pieces:
        if joined and depth < 3 and rng.random() < FOLLOW_UP:
            before_ids, before_learned = joined[-1]
            joined[-1] = np.concatenate((before_ids, ids)), np.concatenate((before_learned, learned))
            depth += 1
        else:
            joined.append((ids, learned))
            depth = 1
    return joined


def make_batch(prefix: NDArray[np.int64], pieces: list[Piece], *, only_answers: bool = False) -> Batch:
    """Lay out one home for the model. A row counts if the token after it belongs to the same text.

    What the assistant says counts fully. The rest counts a little: predicting overviews and sentences full of the
    home's names teaches the model to copy them. `only_answers` leaves it out.
    """
    pieces = sorted(pieces, key=lambda piece: len(piece[0]))
    chunks = np.array_split(np.arange(len(pieces)), min(N_BUCKETS, len(pieces)))
    buckets = tuple((len(chunk), len(pieces[chunk[-1]][0])) for chunk in chunks)
    n = len(prefix)
    tokens, positions, weights = [prefix], [np.arange(n)], [_weights(np.zeros(n, bool), PREFIX_WEIGHT)]
    for chunk, (_, length) in zip(chunks, buckets, strict=True):
        for i in chunk:
            ids, learned = pieces[i]
            padding = (0, length - len(ids))
            tokens.append(np.pad(ids, padding))
            weights.append(np.pad(_weights(learned, HEARD_WEIGHT), padding))
            positions.append(np.arange(n, n + length))
    flat, weight = np.concatenate(tokens), np.concatenate(weights)
    counted = np.flatnonzero(weight == 1.0 if only_answers else weight)
    return Batch(
        torch.from_numpy(flat),
        torch.from_numpy(np.concatenate(positions)),
        n,
        buckets,
        torch.from_numpy(counted - 1),
        torch.from_numpy(flat[counted]),
        torch.from_numpy(weight[counted]),
    )


def _weights(learned: NDArray[np.bool_], rest: float) -> NDArray[np.float32]:
    """Return the weight of each token of one text; nothing in it predicts its first token."""
    weights = np.where(learned, np.float32(1.0), np.float32(rest))
    weights[0] = 0.0
    return weights
