"""From engine events to Ollama's form of an answer: whole, or as the records of a stream.

    {"model": "zoe", "created_at": "...", "message": {"role": "assistant", "content": "On"}, "done": false}
    {"model": "zoe", "created_at": "...", "message": {"role": "assistant", "content": "", "tool_calls": [...]},
     "done": false}
    {"model": "zoe", "created_at": "...", "message": {"role": "assistant", "content": ""}, "done": true,
     "done_reason": "stop", "total_duration": 41000000, ...}

Pure: it knows no HTTP and no clock; moments are given.
Source: Ollama, `docs/api.md` and `api/types.go`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from zoe_server import protocol

EmptyReason = Literal["load", "unload"]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of an answer, or all of it; every call is complete."""

    text: str = ""
    thinking: str = ""
    calls: tuple[dict[str, Any], ...] = ()

    def __add__(self, other: Part) -> Part:
        return Part(self.text + other.text, self.thinking + other.thinking, self.calls + other.calls)


Form = Callable[[Part], dict[str, Any]]


def chat_form(part: Part) -> dict[str, Any]:
    """Return `part` as /api/chat says it."""
    message: dict[str, Any] = {"role": "assistant", "content": part.text}
    if part.thinking:
        message["thinking"] = part.thinking
    if part.calls:
        message["tool_calls"] = list(part.calls)
    return {"message": message}


def generate_form(part: Part) -> dict[str, Any]:
    """Return `part` as /api/generate says it."""
    return {"response": part.text, "thinking": part.thinking} if part.thinking else {"response": part.text}


class PartReader:
    """Makes parts of the events of one answer; a tool call waits until its arguments are complete."""

    def __init__(self, *, shows_thinking: bool) -> None:
        self._shows_thinking = shows_thinking
        self._starts: dict[int, protocol.ToolCallStart] = {}
        self._arguments: dict[int, str] = {}

    def read(self, event: protocol.ChatEvent) -> Part | None:
        """Return what the next event makes certain, None if that is nothing.

        A call whose arguments never become an object was cut off, and is no call.
        """
        match event:
            case protocol.Text(text):
                return Part(text=text)
            case protocol.Reasoning(text) if self._shows_thinking:
                return Part(thinking=text)
            case protocol.ToolCallStart(index):
                self._starts[index], self._arguments[index] = event, ""
            case protocol.ToolCallArguments(index, text):
                self._arguments[index] += text
                return self._complete(index)
        return None

    def _complete(self, index: int) -> Part | None:
        arguments = _object(self._arguments[index])
        if arguments is None or index not in self._starts:
            return None
        start = self._starts.pop(index)
        function = {"index": index, "name": start.name, "arguments": arguments}
        return Part(calls=({"id": start.call_id, "function": function},))


class RecordWriter:
    """The records of one answer of the model that the client calls `model`, in the form of its path."""

    def __init__(self, model: str, form: Form) -> None:
        self._model = model
        self._form = form

    def record(self, part: Part, now: datetime) -> dict[str, Any]:
        """Return a record in the middle of a stream."""
        return {**self._head(now), **self._form(part), "done": False}

    def last(self, part: Part, finish: protocol.Finish, now: datetime) -> dict[str, Any]:
        """Return the record that ends an answer; a whole answer is this record alone."""
        reason = "length" if finish.reason == "length" else "stop"
        return {**self._head(now), **self._form(part), "done": True, "done_reason": reason, **_counts(finish)}

    def empty(self, reason: EmptyReason, now: datetime) -> dict[str, Any]:
        """Return the answer to a request that has nothing to answer."""
        return {**self._head(now), **self._form(Part()), "done": True, "done_reason": reason}

    def _head(self, now: datetime) -> dict[str, Any]:
        return {"model": self._model, "created_at": timestamp(now)}


def timestamp(moment: datetime) -> str:
    """Return `moment` in UTC, as Ollama writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _counts(finish: protocol.Finish) -> dict[str, int]:
    """Return token counts, and durations in nanoseconds; the wait in the queue takes the place of loading."""
    timings = finish.timings
    return {
        "total_duration": nanoseconds(timings.total_s),
        "load_duration": nanoseconds(timings.queue_s),
        "prompt_eval_count": finish.usage.prompt_tokens,
        "prompt_eval_duration": nanoseconds(timings.first_token_s - timings.queue_s),
        "eval_count": finish.usage.completion_tokens,
        "eval_duration": nanoseconds(timings.total_s - timings.first_token_s),
    }


def nanoseconds(seconds: float) -> int:
    """Return a duration as Ollama writes it."""
    return max(0, round(seconds * 1e9))


def _object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in `text`, None while it is none."""
    if not text.rstrip().endswith("}"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
