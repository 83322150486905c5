"""The messages of a chat request: their OpenAI form, and the plain form that engines get."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from zoe_server import errors
from zoe_server.gateway import pictures
from zoe_server.gateway.body import Items, RequestModel

_THOUGHTS: Final = ("thinking", "redacted_thinking", "reasoning")


class ImageUrl(RequestModel):
    """`messages[i].content[j].image_url`; how closely a model looks is its own affair, whatever `detail` says."""

    url: str
    detail: str | None = None


class Part(RequestModel):
    """`messages[i].content[j]`; an assistant's old thoughts are not given to a model again."""

    type: Literal["text", "image_url", "refusal", "thinking", "redacted_thinking", "reasoning"]
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None


class CalledFunction(RequestModel):
    """`messages[i].tool_calls[j].function`; some clients send the arguments as an object instead of a string."""

    name: str = Field(min_length=1, max_length=256)
    arguments: str | dict[str, Any] | None = None


class ToolCall(RequestModel):
    """`messages[i].tool_calls[j]`."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(RequestModel):
    """`messages[i]`; `reasoning` is another name for `reasoning_content`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Items[Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Items[ToolCall] | None = None
    tool_call_id: str | None = None


def to_messages(messages: Sequence[Message], paths: Sequence[str] | None = None) -> tuple[Mapping[str, Any], ...]:
    """Return the messages as `protocol.ChatRequest` wants them; `paths` are where the client wrote their contents.

    Raises:
        errors.InvalidRequestError: a user or system message has no content, or a part is not what its type says.
    """
    paths = paths or [f"messages[{index}].content" for index in range(len(messages))]
    return tuple(_message(message, at) for message, at in zip(messages, paths, strict=True))


def _message(message: Message, at: str) -> dict[str, Any]:
    role = "system" if message.role == "developer" else message.role
    if message.content is None and role in ("system", "user"):
        raise errors.InvalidRequestError(f"{at}: a {message.role} message needs content", param=at)
    plain: dict[str, Any] = {"role": role, "content": _content(_said(message), at)}
    if role == "assistant" and message.tool_calls:
        plain["content"] = plain["content"] or None
        plain["tool_calls"] = [_tool_call(call, number) for number, call in enumerate(message.tool_calls)]
    if role == "assistant" and (reasoning := message.reasoning_content or message.reasoning):
        plain["reasoning_content"] = reasoning
    if role == "tool":
        plain["tool_call_id"] = message.tool_call_id or ""
    return plain


def _said(message: Message) -> str | list[Part] | None:
    """Return the content without thoughts, which only an assistant has."""
    if message.role != "assistant" or not isinstance(message.content, list):
        return message.content
    return [part for part in message.content if part.type not in _THOUGHTS]


def _content(content: str | list[Part] | None, at: str) -> str | list[dict[str, Any]]:
    """Return text, or the parts of it if there are pictures among them."""
    if not isinstance(content, list):
        return content or ""
    parts = [_part(part, f"{at}[{number}]") for number, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Part, at: str) -> dict[str, Any]:
    if part.type in _THOUGHTS:
        raise errors.InvalidRequestError(f"{at}.type: only an assistant's message has such a part", param=f"{at}.type")
    value = getattr(part, part.type)
    if value is None:
        raise errors.InvalidRequestError(f"{at}.{part.type}: missing", param=f"{at}.{part.type}")
    if isinstance(value, ImageUrl):
        return pictures.from_url(value.url, f"{at}.image_url.url")
    if part.type == "image_url":
        return pictures.from_url(value, f"{at}.image_url")
    return {"type": "text", "text": value}


def _tool_call(call: ToolCall, number: int) -> dict[str, Any]:
    arguments = call.function.arguments
    text = json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else arguments or "{}"
    function = {"name": call.function.name, "arguments": text}
    return {"id": call.id or f"call_{number}", "type": "function", "function": function}
