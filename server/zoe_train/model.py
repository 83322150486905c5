"""A small Llama in PyTorch whose training step shares one prefix among many exchanges.

All exchanges with a home begin with the same long prompt. As in serving, it is computed once: the exchanges attend to
it and to themselves, and to no other exchange (the block structure of Hydragen, Juravsky et al. 2024), which costs
a fifth of computing each exchange with a prompt of its own. Weights and rotary embedding have llama.cpp's layout (pairs
of neighbouring values are rotated), so the export copies them as they are.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the name PyTorch users know


@dataclass(frozen=True)
class Config:
    """Shape of the model; `head_size` x `heads` is `width`, and every matrix row is a multiple of 32 for Q8_0."""

    vocab: int = 3072
    width: int = 256
    layers: int = 6
    heads: int = 4
    ffn: int = 704
    context: int = 4096
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


@dataclass(frozen=True)
class Batch:
    """One home: `tokens` are its prefix and then buckets of exchanges, each padded to the longest of its bucket.

    `buckets` are (exchanges, length) pairs; `rows` say which tokens predict one that counts, `targets` which that is
    and `weights` how much it counts. Padding stands after its exchange, so that causal attention never sees it.
    """

    tokens: Tensor
    positions: Tensor
    prefix_len: int
    buckets: tuple[tuple[int, int], ...]
    rows: Tensor
    targets: Tensor
    weights: Tensor

    @property
    def starts(self) -> Tensor:
        """Where each exchange begins among the tokens."""
        lengths = torch.tensor([length for count, length in self.buckets for _ in range(count)])
        return (self.prefix_len + lengths.cumsum(0) - lengths).to(self.rows.device)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        moved = {name: getattr(self, name).to(device) for name in ("tokens", "positions", "rows", "targets", "weights")}
        return replace(self, **moved)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotary embedding (Su et al. 2021) to `x` (tokens x heads x head size), on neighbouring pairs."""
    even, odd = x[..., ::2].float(), x[..., 1::2].float()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)


class Norm(nn.Module):
    """Root-mean-square norm (Zhang and Sennrich 2019), computed in float32 as llama.cpp does."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (tokens x width) normalised, in its own type."""
        h = x.float()
        h = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + self.eps)
        return (h * self.weight).to(x.dtype)


class Attention(nn.Module):
    """Attention over prefix and own exchange."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.q = nn.Linear(config.width, config.width, bias=False)
        self.k = nn.Linear(config.width, config.width, bias=False)
        self.v = nn.Linear(config.width, config.width, bias=False)
        self.o = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, batch: Batch, cos: Tensor, sin: Tensor) -> Tensor:
        """Return the attention's output for every token of `x` (tokens x width)."""
        c = self.config
        q = rotate(self.q(x).view(-1, c.heads, c.head_size), cos, sin) * c.head_size**-0.5
        k = rotate(self.k(x).view(-1, c.heads, c.head_size), cos, sin)
        v = self.v(x).view(-1, c.heads, c.head_size)
        sizes = [batch.prefix_len, *(count * length for count, length in batch.buckets)]
        (q0, *queries), (k0, *keys), (v0, *values) = (
            part.transpose(0, 1).contiguous().split(sizes, 1) for part in (q, k, v)
        )
        parts = [_softmax(q0 @ k0.transpose(-1, -2) + _future(batch.prefix_len, x.device)) @ v0]
        parts += [_attend(queries[i], k0, v0, keys[i], values[i], *bucket) for i, bucket in enumerate(batch.buckets)]
        result: Tensor = self.o(torch.cat(parts, 1).transpose(0, 1).flatten(1))
        return result


def _attend(q: Tensor, k0: Tensor, v0: Tensor, k: Tensor, v: Tensor, count: int, length: int) -> Tensor:
    """Attend to the whole prefix (`k0`, `v0`), and causally within each of a bucket's exchanges.

    All are heads x tokens x head size. The scores over the prefix are one matrix product for all exchanges together,
    which is where the time is saved.
    """
    heads, prefix_len, size = k0.shape
    shape = (heads, count, length, size)
    own = q.reshape(shape) @ k.reshape(shape).transpose(-1, -2) + _future(length, q.device)
    scores = torch.cat((q @ k0.transpose(-1, -2), own.view(heads, -1, length)), -1)
    over_prefix, own = _softmax(scores).split([prefix_len, length], -1)
    out = own.reshape(heads, count, length, length) @ v.reshape(shape)
    return out.view(heads, -1, size) + over_prefix @ v0


@functools.lru_cache(maxsize=256)
def _future(length: int, device: torch.device) -> Tensor:
    """Return what forbids a token to see those after it: minus infinity above the diagonal."""
    ahead = torch.ones(length, length, dtype=torch.bool).triu(1)
    return torch.zeros(length, length, dtype=torch.bfloat16).masked_fill(ahead, float("-inf")).to(device)


def _softmax(scores: Tensor) -> Tensor:
    with torch.autocast(scores.device.type, enabled=False):
        return F.softmax(scores, -1)


class Block(nn.Module):
    """One layer: attention and a gated feed-forward network (SwiGLU, Shazeer 2020)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attn_norm = Norm(config.width, config.norm_eps)
        self.attn = Attention(config)
        self.ffn_norm = Norm(config.width, config.norm_eps)
        self.gate = nn.Linear(config.width, config.ffn, bias=False)
        self.up = nn.Linear(config.width, config.ffn, bias=False)
        self.down = nn.Linear(config.ffn, config.width, bias=False)

    def forward(self, x: Tensor, batch: Batch, cos: Tensor, sin: Tensor) -> Tensor:
        """Return the hidden states after this layer (tokens x width)."""
        x = x + self.attn(self.attn_norm(x), batch, cos, sin)
        h = self.ffn_norm(x)
        out: Tensor = x + self.down(F.silu(self.gate(h)) * self.up(h))
        return out


class Model(nn.Module):
    """Llama with tied embeddings."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = Norm(config.width, config.norm_eps)
        self._initialise()

    def _initialise(self) -> None:
        deep = (2 * self.config.layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02 * (deep if name.endswith(("o.weight", "down.weight")) else 1.0))

    def forward(self, batch: Batch) -> Tensor:
        """Return logits (learned rows x vocabulary)."""
        c = self.config
        frequency = c.rope_base ** (-torch.arange(0, c.head_size, 2, device=batch.tokens.device) / c.head_size)
        angle = torch.outer(batch.positions.float(), frequency)
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        x = self.embedding(batch.tokens).to(torch.bfloat16)
        for block in self.blocks:
            x = block(x, batch, cos, sin)
        return F.linear(self.norm(x[batch.rows]), self.embedding.weight)
