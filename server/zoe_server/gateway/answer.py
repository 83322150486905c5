"""From engine events to the OpenAI form of an answer: whole, or as the chunks of a stream.

Pure: it knows no HTTP and no clock; ids and times are given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoe_server import protocol
from zoe_server.routing.said import Said, SaidClassifier


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What is the same in every part of one answer: its id, its moment (seconds since 1970), the model that answers."""

    id: str
    created: int
    model: str

    def wire(self, kind: str) -> dict[str, Any]:
        """Return the members that every object of kind `kind` begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True, slots=True)
class Judge:
    """What a client that sends the member `zoe` is told: what was `said`, None if nothing was, and if answers deny."""

    said: Said | None
    classifier: SaidClassifier

    def before(self) -> dict[str, Any]:
        """Return what is known before anything is answered."""
        return {} if self.said is None else {"said": self.said.wire()}

    def after(self, text: str) -> dict[str, Any]:
        """Return what is known of the `text` of an answer."""
        return {"answered": {"denies": round(self.classifier.denies(text), 3)}} if text.strip() else {}


@dataclass(slots=True)
class Choice:
    """One choice of a whole answer, collected from its events."""

    index: int
    text: list[str] = field(default_factory=list)
    tokens: list[protocol.DrawnToken] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: protocol.Finish | None = None

    def add(self, event: protocol.ChatEvent) -> None:
        """Take in the next event; a `Failure` is not for here."""
        match event:
            case protocol.Text(text, tokens):
                self.text.append(text)
                self.tokens += tokens
            case protocol.Reasoning(text):
                self.reasoning.append(text)
            case protocol.ToolCallStart(_, call_id, name):
                self.calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}})
            case protocol.ToolCallArguments(index, text):
                self.calls[index]["function"]["arguments"] += text
            case protocol.Finish():
                self.finish = event

    def wire(self) -> dict[str, Any]:
        """Return the choice as a member of `choices`."""
        text = "".join(self.text)
        reason = self.finish.reason if self.finish else None
        calls = self.calls if reason != "length" else [call for call in self.calls if _is_whole(call)]
        message: dict[str, Any] = {"role": "assistant", "content": None if calls and not text else text}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if calls:
            message["tool_calls"] = calls
        return {"index": self.index, "message": message, "logprobs": logprobs(self.tokens), "finish_reason": reason}


def _is_whole(call: dict[str, Any]) -> bool:
    """Return whether the arguments of a call are all there; the token limit may have cut them."""
    try:
        json.loads(call["function"]["arguments"])
    except ValueError:
        return False
    return True


def completion(head: AnswerHead, choices: Sequence[Choice], judge: Judge | None = None) -> dict[str, Any]:
    """Return the whole answer; of several choices, the first is judged."""
    finishes = [choice.finish for choice in choices if choice.finish]
    judged = {} if judge is None else {**judge.before(), **judge.after("".join(choices[0].text))}
    return {
        **head.wire("chat.completion"),
        "choices": [choice.wire() for choice in choices],
        "usage": usage(finishes),
        "timings": timings(finishes),
        **({"zoe": judged} if judged else {}),
    }


class ChunkWriter:
    """The chunks of a stream, in order: role, pieces, one finish per choice; at the end usage, if it was asked for.

    With a `judge`, the first of all chunks tells what was said, and that of each finish whether its choice denies.
    """

    def __init__(self, head: AnswerHead, n_choices: int, *, include_usage: bool, judge: Judge | None = None) -> None:
        self._head = head
        self._judge = judge
        self._texts: list[list[str]] = [[] for _ in range(n_choices)]
        self._n_choices = n_choices
        self._include_usage = include_usage
        self._begun: set[int] = set()
        self._finishes: list[protocol.Finish] = []

    def chunks(self, index: int, event: protocol.ChatEvent) -> Iterator[dict[str, Any]]:
        """Return the chunks for the next event of choice `index`; the first brings the role, and only that one does."""
        delta = _delta(event)
        if delta is None and not isinstance(event, protocol.Finish):
            return
        if index not in self._begun:
            first = not self._begun
            self._begun.add(index)
            known = self._judge.before() if self._judge is not None and first else {}
            yield self._chunk(index, {"role": "assistant", "content": ""}) | ({"zoe": known} if known else {})
        if delta is not None:
            chunk = self._chunk(index, delta)
            if isinstance(event, protocol.Text):
                chunk["choices"][0]["logprobs"] = logprobs(event.tokens)
                self._texts[index].append(event.text)
            yield chunk
        if isinstance(event, protocol.Finish):
            yield from self._finish(index, event)

    def _finish(self, index: int, event: protocol.Finish) -> Iterator[dict[str, Any]]:
        self._finishes.append(event)
        last = len(self._finishes) == self._n_choices
        chunk = self._chunk(index, {}, event.reason)
        if last:
            chunk["timings"] = timings(self._finishes)
        if self._judge is not None and (known := self._judge.after("".join(self._texts[index]))):
            chunk["zoe"] = known
        yield chunk
        if last and self._include_usage:
            yield {**self._head.wire("chat.completion.chunk"), "choices": [], "usage": usage(self._finishes)} | {
                "timings": timings(self._finishes)
            }

    def _chunk(self, index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        chunk = {**self._head.wire("chat.completion.chunk"), "choices": [choice]}
        return {**chunk, "usage": None} if self._include_usage else chunk


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


def _delta(event: protocol.ChatEvent) -> dict[str, Any] | None:
    match event:
        case protocol.Text(text):
            return {"content": text}
        case protocol.Reasoning(text):
            return {"reasoning_content": text}
        case protocol.ToolCallStart(index, call_id, name):
            function = {"name": name, "arguments": ""}
            return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
        case protocol.ToolCallArguments(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
    return None
