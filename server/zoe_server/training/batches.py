"""Makes a training batch of one home: random exchanges, alone or as a conversation of two or three."""

from __future__ import annotations

import random

import numpy as np
import torch
from numpy.typing import NDArray

from zoe_server.training.model import Batch
from zoe_server.training.tokens import HomeTokens

N_BUCKETS = 6
EXCHANGES_PER_HOME = 24
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


def make_batch(prefix: NDArray[np.int64], pieces: list[Piece]) -> Batch:
    """Lay out one home for the model; a row learns if the token after it is the assistant's."""
    pieces = sorted(pieces, key=lambda piece: len(piece[0]))
    chunks = np.array_split(np.arange(len(pieces)), min(N_BUCKETS, len(pieces)))
    buckets = tuple((len(chunk), len(pieces[chunk[-1]][0])) for chunk in chunks)
    n = len(prefix)
    tokens, positions, learned = [prefix], [np.arange(n)], [np.zeros(n, bool)]
    for chunk, (_, length) in zip(chunks, buckets, strict=True):
        for i in chunk:
            ids, mask = pieces[i]
            padding = (0, length - len(ids))
            tokens.append(np.pad(ids, padding))
            learned.append(np.pad(mask, padding))
            positions.append(np.arange(n, n + length))
    flat = np.concatenate(tokens)
    targets = np.flatnonzero(np.concatenate(learned))
    return Batch(
        torch.from_numpy(flat),
        torch.from_numpy(np.concatenate(positions)),
        n,
        buckets,
        torch.from_numpy(targets - 1),
        torch.from_numpy(flat[targets]),
    )
