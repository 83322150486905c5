"""What the answers of OpenAI's APIs have in common: head, stream, token counts, probabilities. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from zoe_server import errors, protocol
from zoe_server.gateway import driver
from zoe_server.gateway.middleware import error_body

_DONE: Final = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What is the same in every part of one answer: its id, its moment (seconds since 1970), the model that answers."""

    id: str
    created: int
    model: str = ""

    def to_json(self, kind: str) -> dict[str, Any]:
        """Return the members that every object of kind `kind` begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


class ChunkWriter(ABC):
    """What the writers of chats and of plain completions share: a stream of chunks, which ends with `[DONE]`."""

    media_type = driver.EVENTS

    def __init__(self, head: AnswerHead, n_choices: int, *, include_usage: bool) -> None:
        self.head = head
        self.n_choices = n_choices
        self.include_usage = include_usage
        self.finishes: dict[int, protocol.Finish] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every choice of the stream has ended."""
        return len(self.finishes) == self.n_choices

    @abstractmethod
    def chunks(self, index: int, event: protocol.ChatEvent) -> Iterator[dict[str, Any]]:
        """Return the chunks for the next event of choice `index`."""

    def begin(self, model: str) -> None:
        """See `driver.Writer`."""
        self.head = replace(self.head, model=model)

    def chunk(self, index: int, event: protocol.ChatEvent) -> str:
        """See `driver.Writer`."""
        text = "".join(map(driver.sse, self.chunks(index, event)))
        return text + _DONE if self.is_complete else text

    def idle(self) -> str:
        """See `driver.Writer`."""
        return driver.KEEP_ALIVE

    def failure(self, error: errors.ZoeError) -> str:
        """Return the error as the last event, without `[DONE]`."""
        return driver.sse(error_body(error))


def logprobs(tokens: Sequence[protocol.DrawnToken]) -> dict[str, Any] | None:
    """Return the probabilities of tokens as OpenAI's `logprobs`; None where there are none."""
    if not tokens:
        return None
    return {"content": token_list(tokens), "refusal": None}


def token_list(tokens: Sequence[protocol.DrawnToken]) -> list[dict[str, Any]]:
    """Return tokens, each with its probability and those of the others in its place."""
    return [{**_token(one.token), "top_logprobs": [_token(other) for other in one.top]} for one in tokens]


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
