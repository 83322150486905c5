"""The messages of a chat in Ollama's form, and the plain form that engines get.

There, arguments are objects, calls have no ids, and the results follow in the order of the calls:

    {"role": "assistant", "tool_calls": [{"function": {"name": "turn_on", "arguments": {"name": "Lamp"}}}]}
    {"role": "tool", "content": "done", "tool_name": "turn_on"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zoe_server.gateway import pictures


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class CalledFunction(_Wire):
    """`messages[i].tool_calls[j].function`; some clients send the arguments as JSON text."""

    name: str = Field(min_length=1, max_length=256)
    arguments: dict[str, Any] | str | None = None


class ToolCall(_Wire):
    """`messages[i].tool_calls[j]`; newer clients send the id back that they got."""

    id: str | None = None
    function: CalledFunction


class Message(_Wire):
    """`messages[i]`; `thinking` is ignored, because no model is shown its old reasoning."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


def to_messages(messages: Sequence[Message]) -> tuple[Mapping[str, Any], ...]:
    """Return the messages as `protocol.ChatRequest` wants them, every result with the id of its call."""
    pairing = _Pairing()
    return tuple(_message(message, pairing, f"messages[{i}].images") for i, message in enumerate(messages))


def _message(message: Message, pairing: _Pairing, images_path: str) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content or ""}
    if message.images:
        shown = [pictures.from_base64(data, f"{images_path}[{i}]") for i, data in enumerate(message.images)]
        plain["content"] = [*shown, {"type": "text", "text": message.content or ""}]
    if message.role == "assistant" and message.tool_calls:
        plain["content"] = message.content or None
        plain["tool_calls"] = pairing.called(message.tool_calls)
    if message.role == "tool":
        plain["tool_call_id"] = pairing.answered(message)
    return plain


class _Pairing:
    """Gives calls their ids, and results the ids of their calls."""

    def __init__(self) -> None:
        self._n_calls = 0
        self._open: dict[str, str] = {}
        """The names of the last calls that have no result yet, by their ids, in order."""

    def called(self, calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
        self._open = {}
        return [self._call(call) for call in calls]

    def answered(self, message: Message) -> str:
        """Return the id of the call that `message` answers: by id, by name, else the next; empty if none is open."""
        wanted = message.tool_call_id or ""
        same_name = [call_id for call_id, name in self._open.items() if name == message.tool_name]
        found = wanted if wanted in self._open else next(iter([*same_name, *self._open]), wanted)
        self._open.pop(found, None)
        return found

    def _call(self, call: ToolCall) -> dict[str, Any]:
        call_id = call.id or f"call_{self._n_calls}"
        self._n_calls += 1
        self._open[call_id] = call.function.name
        given = call.function.arguments or {}
        arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        return {"id": call_id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}
