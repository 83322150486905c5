"""The probabilities of drawn tokens (`logprobs`), and which part of the answer's text each of them wrote.

Probabilities are the model's own: of its logits, before temperature, penalties and grammar.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zoe_server.protocol import DrawnToken, Reasoning, Text, TokenProbability, ToolCallArguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from zoe_server.protocol import ChatEvent


class Probabilities:
    """Takes note of the tokens of one answer, each with the `n_top` most probable ones in its place."""

    def __init__(self, n_top: int, piece: Callable[[int], bytes]) -> None:
        """`piece` returns the bytes that a token adds to a text."""
        self._n_top = n_top
        self._piece = piece
        self._drawn: list[DrawnToken] = []

    def note(self, token: int, logits: NDArray[np.float32]) -> None:
        """Add `token`, drawn where the model said `logits`, shape (vocabulary,)."""
        logprobs = _log_softmax(logits)
        top = _largest(logprobs, self._n_top)
        self._drawn.append(DrawnToken(self._one(token, logprobs), tuple(self._one(i, logprobs) for i in top)))

    def take(self) -> list[DrawnToken]:
        """Return what was noted since the last call."""
        drawn, self._drawn = self._drawn, []
        return drawn

    def _one(self, token: int, logprobs: NDArray[np.float64]) -> TokenProbability:
        return TokenProbability(tuple(self._piece(token)), float(logprobs[token]))


class TokenLedger:
    """Which drawn tokens have not been shown yet; the events of an answer are annotated with those that wrote them.

    Every text, reasoning and argument of an answer stands in the bytes of its tokens, in this order; what stands
    between them (tags, white space, the rest of a stop string) was dropped on the way, and so are its tokens.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._waiting: deque[tuple[int, DrawnToken]] = deque()  # with the offset of the first byte in `_bytes`

    def add(self, drawn: Iterable[DrawnToken]) -> None:
        """Take in the tokens of the next step."""
        for one in drawn:
            self._waiting.append((len(self._bytes), one))
            self._bytes += bytes(one.token.data)

    def annotate(self, events: Iterable[ChatEvent]) -> list[ChatEvent]:
        """Return `events`, the texts among them with their tokens."""
        return [self._annotated(event) for event in events]

    def _annotated(self, event: ChatEvent) -> ChatEvent:
        if isinstance(event, Text):
            return replace(event, tokens=self._shown(event.text))
        if isinstance(event, Reasoning | ToolCallArguments):
            self._shown(event.text)
        return event

    def _shown(self, text: str) -> tuple[DrawnToken, ...]:
        """Drop the bytes up to the end of `text`, and return the tokens that wrote it and were not shown before."""
        data = text.encode()
        start = self._bytes.find(data)
        # Bytes that are no character were replaced in the text: then all that is there belongs to it.
        start, end = (0, len(self._bytes)) if start < 0 else (start, start + len(data))
        shown = tuple(one for at, one in self._waiting if at < end and at + len(one.token.data) > start)
        self._waiting = deque((at - end, one) for at, one in self._waiting if at >= end)
        del self._bytes[:end]
        return shown


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


def _largest(values: NDArray[np.float64], count: int) -> list[int]:
    """Return the indexes of the `count` largest values, the largest first."""
    if not count:
        return []
    count = min(count, len(values))
    largest: Any = np.argpartition(-values, count - 1)[:count]
    return [int(index) for index in largest[np.argsort(-values[largest], kind="stable")]]
