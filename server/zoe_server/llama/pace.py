"""How many prompt tokens fit into one step, so that neither a running voice stream nor a cancellation waits long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SMOOTHING: Final = 0.3
_FIRST_CHUNK_TOKENS: Final = 128
_SMALLEST_CHUNK_TOKENS: Final = 32


@dataclass(slots=True)
class Pace:
    """Learns the time per prompt token from the steps themselves.

    A step with decoding sequences should last `shared_step_s` at most, one without `lone_step_s`: a fast GPU then
    always takes whole batches, a small computer takes pieces.
    """

    shared_step_s: float = 0.25
    lone_step_s: float = 1.0
    token_s: float | None = None

    def budget_tokens(self, n_batch_tokens: int, *, decoding: bool) -> int:
        """Return how many prompt tokens the next step may compute, at most `n_batch_tokens`."""
        if self.token_s is None:
            return min(n_batch_tokens, _FIRST_CHUNK_TOKENS)
        step_s = self.shared_step_s if decoding else self.lone_step_s
        wanted = int(min(step_s / self.token_s, n_batch_tokens)) if self.token_s > 0 else n_batch_tokens
        return min(n_batch_tokens, max(_SMALLEST_CHUNK_TOKENS, wanted))

    def observe(self, n_tokens: int, duration_s: float) -> None:
        """Learn from a step of `n_tokens`; steps with few tokens say little about long ones."""
        if n_tokens < _SMALLEST_CHUNK_TOKENS:
            return
        seen = duration_s / n_tokens
        self.token_s = seen if self.token_s is None else self.token_s + _SMOOTHING * (seen - self.token_s)
