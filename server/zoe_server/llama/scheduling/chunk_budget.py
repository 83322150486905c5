"""How many prompt tokens fit into one step, so that neither a running voice stream nor a cancellation waits long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SMOOTHING: Final = 0.3
_FIRST_CHUNK_TOKENS: Final = 128
_SMALLEST_CHUNK_TOKENS: Final = 32
_LEAST_SHARE: Final = 0.1
_TILE_TOKENS: Final = 128
"""The kernels of llama.cpp compute tiles of tokens: on two x86 cores, 3,000 tokens in pieces of 272 take 5 to 10 %
longer than in pieces of 256 or 384."""


@dataclass(slots=True)
class ChunkBudget:
    """Learns from the steps themselves what a step costs at all (`base_s`) and per prompt token (`token_s`).

    A step with decoding sequences should last `shared_step_s` at most for each prompt that waits, so that many who wait
    for their first word count for more than few who wait for their next; and no step longer than `lone_step_s`. Where
    nobody decodes, prompts that somebody waits for take their turns whatever the pieces are, and long pieces read the
    weights less often: they get `prompt_step_s`. Those that nobody waits for stay ready to give way. A fast GPU then
    always takes whole batches, a small computer takes pieces. Where even a step of single tokens is slow, prompt tokens
    may double it; without that the pieces would shrink to nothing on a busy computer, and gain nothing.
    """

    shared_step_s: float = 0.25
    lone_step_s: float = 1.0
    prompt_step_s: float = 2.0
    base_s: float = 0.0
    token_s: float | None = None

    def budget_tokens(
        self, n_batch_tokens: int, *, decoding: bool, n_prompts: int = 1, background: bool = False
    ) -> int:
        """Return how many tokens of the `n_prompts` that wait the next step may compute, at most `n_batch_tokens`."""
        if self.token_s is None:
            return min(n_batch_tokens, _FIRST_CHUNK_TOKENS)
        step_s = self.lone_step_s if background else self.prompt_step_s
        if decoding:
            step_s = min(self.lone_step_s, self.shared_step_s * max(1, n_prompts))
        wanted_s = max(step_s - self.base_s, self.base_s)
        wanted = n_batch_tokens if wanted_s >= self.token_s * n_batch_tokens else wanted_s / self.token_s
        return min(n_batch_tokens, max(_SMALLEST_CHUNK_TOKENS, _tiled(wanted)))

    def observe(self, n_tokens: int, duration_s: float) -> None:
        """Learn from a step of `n_tokens`: a short one tells the base, a long one what a token adds to it."""
        if n_tokens < _SMALLEST_CHUNK_TOKENS:
            self.base_s += _SMOOTHING * (duration_s - self.base_s)
            return
        added_s = max(duration_s - self.base_s, duration_s * _LEAST_SHARE)
        seen = added_s / n_tokens
        self.token_s = seen if self.token_s is None else self.token_s + _SMOOTHING * (seen - self.token_s)


def _tiled(n_tokens: float) -> int:
    """Return the nearest length that computes well: whole tiles, or, below the first, quarters of one."""
    unit = _TILE_TOKENS if n_tokens >= _TILE_TOKENS else _SMALLEST_CHUNK_TOKENS
    return round(n_tokens / unit) * unit
