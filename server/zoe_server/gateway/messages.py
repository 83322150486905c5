"""The messages of a chat request: their OpenAI form, and the plain form that engines get."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zoe_server import errors


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class TextPart(_Wire):
    """`messages[i].content[j]`; other kinds of part need models that are not served."""

    type: Literal["text"]
    text: str


class CalledFunction(_Wire):
    """`messages[i].tool_calls[j].function`; some clients send the arguments as an object instead of a string."""

    name: str = Field(min_length=1, max_length=256)
    arguments: str | dict[str, Any] | None = None


class ToolCall(_Wire):
    """`messages[i].tool_calls[j]`."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(_Wire):
    """`messages[i]`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


def to_messages(messages: Sequence[Message]) -> tuple[Mapping[str, Any], ...]:
    """Return the messages as `protocol.ChatRequest` wants them.

    Raises:
        errors.InvalidRequestError: a user or system message has no content.
    """
    return tuple(_message(message, index) for index, message in enumerate(messages))


def _message(message: Message, index: int) -> dict[str, Any]:
    role = "system" if message.role == "developer" else message.role
    if message.content is None and role in ("system", "user"):
        raise errors.InvalidRequestError(
            f"messages[{index}].content: a {message.role} message needs content", param=f"messages[{index}].content"
        )
    plain: dict[str, Any] = {"role": role, "content": _text(message.content)}
    if role == "assistant" and message.tool_calls:
        plain["content"] = plain["content"] or None
        plain["tool_calls"] = [_tool_call(call, number) for number, call in enumerate(message.tool_calls)]
    if role == "tool":
        plain["tool_call_id"] = message.tool_call_id or ""
    return plain


def _text(content: str | list[TextPart] | None) -> str:
    return "".join(part.text for part in content) if isinstance(content, list) else content or ""


def _tool_call(call: ToolCall, number: int) -> dict[str, Any]:
    arguments = call.function.arguments
    text = json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else arguments or "{}"
    function = {"name": call.function.name, "arguments": text}
    return {"id": call.id or f"call_{number}", "type": "function", "function": function}
