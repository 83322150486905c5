"""How requests and events are written on the socket between gateway and engine process.

The transcript of one request on the socket between gateway and engine process, one JSON object per line:

    -> {"op": "chat", "id": "r1", "request": {...}}
    <- {"id": "r1", "event": "started", "prompt_tokens": 812, "cached_tokens": 790}
    <- {"id": "r1", "event": "text", "text": "One moment."}
    <- {"id": "r1", "event": "tool_call_start", "index": 0, "call_id": "call_x", "name": "intent__HassTurnOn"}
    <- {"id": "r1", "event": "tool_call_arguments", "index": 0, "text": "{\\"name\\": \\"Lamp\\"}"}
    <- {"id": "r1", "event": "finish", "reason": "tool_calls", "usage": {...}, "timings": {...}}

    -> {"op": "cancel", "id": "r1"}
        the request ends with `Finish(reason="cancelled")` within one step
    -> {"op": "embed", "id": "r2", "request": {"inputs": ["Lamp on", [43, 389]], ...}}
    <- {"id": "r2", "event": "embedding", "index": 0, "vector": "<base64 of its numbers, 32-bit, little-endian>"}
    <- {"id": "r2", "event": "embedding", "index": 1, "vector": ...}
    <- {"id": "r2", "event": "finish", "reason": "stop", "usage": {...}, "timings": {...}}
        a model makes embeddings or chats; what it does not do ends with a failure
    -> {"op": "tokenize", "id": "q1", "text": "Lamp on", "add_special": false, "parse_special": true}
    <- {"id": "q1", "event": "tokens", "tokens": [43, 1093, 389]}
    -> {"op": "detokenize", "id": "q2", "tokens": [43, 1093, 389]}
    <- {"id": "q2", "event": "detokenized", "text": "Lamp on"}
        or, for either, {"id": "q2", "event": "failure", "error": {...}}
    <- {"event": "ready", "info": {...}}
        once, after the model is loaded and warmed up; before it: "loading", or "fatal"
    <- {"event": "progress", "step": 1234, "running": 1, "waiting": 0, ...}
        at least every second, from the engine loop itself
"""

from __future__ import annotations

import base64
import dataclasses
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from zoe_server import errors
from zoe_server.protocol import (
    ChatEvent,
    ChatRequest,
    Embedding,
    EmbedRequest,
    Event,
    Failure,
    Finish,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStart,
)

MAX_LINE_BYTES: Final = 64 << 20

_EVENT_NAMES: Final[dict[type, str]] = {
    Started: "started",
    Text: "text",
    Reasoning: "reasoning",
    ToolCallStart: "tool_call_start",
    ToolCallArguments: "tool_call_arguments",
    Embedding: "embedding",
    Finish: "finish",
    Failure: "failure",
}
_EVENT_FORMS: Final[dict[str, TypeAdapter[Any]]] = {
    name: TypeAdapter(cls) for cls, name in _EVENT_NAMES.items() if cls not in (Embedding, Failure)
}
_CHAT_FORM: Final = TypeAdapter(ChatRequest)
_EMBED_FORM: Final = TypeAdapter(EmbedRequest)


def to_line(message: Mapping[str, Any]) -> bytes:
    """Return `message` as a line.

    Raises:
        errors.BodyTooLargeError: the other side would not read a line of this length.
    """
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(line) >= MAX_LINE_BYTES:
        text = f"with its pictures, this takes {len(line) // 10**6} MB on the way to the engine or back; at most"
        raise errors.BodyTooLargeError(f"{text} {MAX_LINE_BYTES // 10**6} MB are possible")
    return line


def encode_vector(vector: Sequence[float]) -> str:
    """Return the base64 form of the numbers as 32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def decode_vector(text: str) -> tuple[float, ...]:
    """Return the numbers that `encode_vector` wrote."""
    data = base64.b64decode(text)
    return struct.unpack(f"<{len(data) // 4}f", data)


def encode_event(event: Event) -> dict[str, Any]:
    """Return `event` as JSON data with its name under `event`."""
    if isinstance(event, Embedding):
        return {"event": "embedding", "index": event.index, "vector": encode_vector(event.vector)}
    if isinstance(event, Failure):
        return {"event": "failure", "error": errors.to_wire(event.error)}
    if isinstance(event, Text) and not event.tokens:
        return {"event": "text", "text": event.text}
    return {"event": _EVENT_NAMES[type(event)], **dataclasses.asdict(event)}


def decode_event(data: Mapping[str, Any]) -> Event:
    """Return the event that `encode_event` wrote.

    Raises:
        KeyError, ValueError: `data` is not such an object (the two sides are of different versions).
    """
    name = data["event"]
    if name == "failure":
        return Failure(errors.from_wire(data["error"]))
    if name == "embedding":
        return Embedding(data["index"], decode_vector(data["vector"]))
    event: ChatEvent = _EVENT_FORMS[name].validate_python(data)
    return event


def encode_request(request: ChatRequest | EmbedRequest) -> dict[str, Any]:
    """Return `request` as JSON data."""
    return dataclasses.asdict(request)


def decode_request(data: Mapping[str, Any]) -> ChatRequest:
    """Return the chat that `encode_request` wrote.

    Raises:
        ValueError: `data` is not such an object (the two sides are of different versions).
    """
    return _CHAT_FORM.validate_python(data)


def decode_embed_request(data: Mapping[str, Any]) -> EmbedRequest:
    """Return the request for embeddings that `encode_request` wrote.

    Raises:
        ValueError: `data` is not such an object (the two sides are of different versions).
    """
    return _EMBED_FORM.validate_python(data)
