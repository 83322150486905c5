"""What the answers of OpenAI's APIs have in common: their head, token counts, durations, probabilities. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoe_server import protocol


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What is the same in every part of one answer: its id, its moment (seconds since 1970), the model that answers."""

    id: str
    created: int
    model: str = ""

    def wire(self, kind: str) -> dict[str, Any]:
        """Return the members that every object of kind `kind` begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def logprobs(tokens: Sequence[protocol.DrawnToken]) -> dict[str, Any] | None:
    """Return the probabilities of tokens as OpenAI's `logprobs`; None where there are none."""
    if not tokens:
        return None
    content = [{**_token(one.token), "top_logprobs": [_token(other) for other in one.top]} for one in tokens]
    return {"content": content, "refusal": None}


def _token(one: protocol.TokenProbability) -> dict[str, Any]:
    return {"token": token_text(one), "logprob": one.logprob, "bytes": list(one.data)}


def token_text(one: protocol.TokenProbability) -> str:
    """Return a token as text; bytes that are no whole character are replaced."""
    return bytes(one.data).decode(errors="replace")


def usage(finishes: Sequence[protocol.Finish]) -> dict[str, Any]:
    """Return the token counts of all choices together; the prompt, which they share, counts once."""
    prompt_tokens = max((finish.usage.prompt_tokens for finish in finishes), default=0)
    completion_tokens = sum(finish.usage.completion_tokens for finish in finishes)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": min((f.usage.cached_tokens for f in finishes), default=0)},
    }


def timings(finishes: Sequence[protocol.Finish]) -> dict[str, float]:
    """Return the engine's durations in milliseconds; of several choices, the slowest counts."""
    every = [finish.timings for finish in finishes]
    return {
        "queue_ms": _ms(max((t.queue_s for t in every), default=0.0)),
        "first_token_ms": _ms(max((t.first_token_s for t in every), default=0.0)),
        "total_ms": _ms(max((t.total_s for t in every), default=0.0)),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
