"""From engine events to OpenAI's plain completion: whole, or as the chunks of a stream.

Pure, like `answer`: it knows no HTTP and no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from zoe_server import protocol
from zoe_server.gateway.answer import AnswerHead, timings, token_text, usage

KIND: Final = "text_completion"


@dataclass(slots=True)
class TextChoice:
    """One choice, collected from its events; it begins with `text`."""

    index: int
    text: str = ""
    finish: protocol.Finish | None = None
    tokens: list[protocol.DrawnToken] = field(default_factory=list)

    def add(self, event: protocol.ChatEvent) -> None:
        """Take in the next event."""
        if isinstance(event, protocol.Text):
            self.text += event.text
            self.tokens += event.tokens
        elif isinstance(event, protocol.Finish):
            self.finish = event

    def wire(self) -> dict[str, Any]:
        """Return the choice as a member of `choices`."""
        return _choice(self.index, self.text, self.finish.reason if self.finish else None, self.tokens)


def text_completion(head: AnswerHead, choices: Sequence[TextChoice], n_per_prompt: int) -> dict[str, Any]:
    """Return the whole answer; every `n_per_prompt` choices share a prompt."""
    finishes = [choice.finish for choice in choices if choice.finish]
    return {
        **head.wire(KIND),
        "choices": [choice.wire() for choice in choices],
        "usage": summed_usage(finishes, n_per_prompt),
        "timings": timings(finishes),
    }


class TextChunkWriter:
    """The chunks of a stream: pieces, one finish per choice; at the end usage, if it was asked for."""

    def __init__(self, head: AnswerHead, echoes: Sequence[str], n_per_prompt: int, *, include_usage: bool) -> None:
        self._head = head
        self._echoes = dict(enumerate(echoes))
        self._n_choices = len(echoes)
        self._n_per_prompt = n_per_prompt
        self._include_usage = include_usage
        self._finishes: dict[int, protocol.Finish] = {}
        self._n_characters: Counter[int] = Counter()

    def chunks(self, index: int, event: protocol.ChatEvent) -> Iterator[dict[str, Any]]:
        """Return the chunks for the next event of choice `index`; its prompt comes first, if it is to be repeated."""
        if not isinstance(event, protocol.Text | protocol.Finish):
            return
        if echo := self._echoes.pop(index, ""):
            yield self._chunk(_choice(index, echo, None))
        if isinstance(event, protocol.Text):
            yield self._chunk(_choice(index, event.text, None, event.tokens, self._n_characters[index]))
            self._n_characters[index] += len(event.text)
            return
        self._finishes[index] = event
        yield self._chunk(_choice(index, "", event.reason))
        if len(self._finishes) == self._n_choices and self._include_usage:
            finishes = [self._finishes[at] for at in range(self._n_choices)]
            yield {**self._head.wire(KIND), "choices": [], "usage": summed_usage(finishes, self._n_per_prompt)}

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        chunk = {**self._head.wire(KIND), "choices": [choice]}
        return {**chunk, "usage": None} if self._include_usage else chunk


def summed_usage(finishes: Sequence[protocol.Finish], n_per_prompt: int) -> dict[str, Any]:
    """Return the token counts of all prompts together."""
    groups = [usage(finishes[at : at + n_per_prompt]) for at in range(0, len(finishes), n_per_prompt)]
    total = {key: sum(group[key] for group in groups) for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
    cached = sum(group["prompt_tokens_details"]["cached_tokens"] for group in groups)
    return {**total, "prompt_tokens_details": {"cached_tokens": cached}}


def _choice(
    index: int, text: str, reason: str | None, tokens: Sequence[protocol.DrawnToken] = (), start: int = 0
) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": _logprobs(tokens, start), "finish_reason": reason}


def _logprobs(tokens: Sequence[protocol.DrawnToken], start: int) -> dict[str, Any] | None:
    """Return the probabilities of tokens in the old form: parallel lists; the first stands at character `start`."""
    if not tokens:
        return None
    texts = [token_text(one.token) for one in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [one.token.logprob for one in tokens],
        "top_logprobs": [{token_text(other): other.logprob for other in one.top} for one in tokens],
        "text_offset": list(accumulate(map(len, texts[:-1]), initial=start)),
    }
