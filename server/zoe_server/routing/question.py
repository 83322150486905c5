"""What of a request decides which model answers it: `RouteQuestion`, and what it `needs` of whoever that is.

Both are made from the request alone, because the server keeps no conversations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from zoe_server import protocol
from zoe_server.catalogue.model_info import Capabilities

_DEVICES: Final = "name"
_PLACES: Final = ("area", "floor")
_PICTURE: Final = "picture"


@dataclass(frozen=True, slots=True)
class RouteQuestion:
    """One request, as routing sees it.

    `text` is what the user said last. `has_tool_results` says that the last message is the result of a tool, so the
    model that called it is in the middle of its work. `must_call` says that the client demands a tool call;
    `is_preparation`, that it wants a prompt computed and no answer. `devices` and `places` are the names that exist in
    this home, as far as the client tells (`zoe.argument_values`).
    """

    text: str = ""
    has_images: bool = False
    has_tool_results: bool = False
    must_call: bool = False
    is_preparation: bool = False
    devices: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: protocol.ChatRequest) -> RouteQuestion:
        """Return the question that `request` asks; tokens in place of a text say nothing."""
        if request.prompt is not None:
            return cls(text=request.prompt if isinstance(request.prompt, str) else "")
        said = [message for message in request.messages if message["role"] == "user"]
        return cls(
            text=_text(said[-1]) if said else "",
            has_images=_has_pictures(request),
            has_tool_results=bool(request.messages) and request.messages[-1]["role"] == "tool",
            must_call=request.tool_choice.mode == "required",
            is_preparation=request.max_tokens == 0,
            devices=_names(request.argument_values, (_DEVICES,)),
            places=_names(request.argument_values, _PLACES),
        )


def needs(request: protocol.ChatRequest) -> Capabilities:
    """Return what a model has to be capable of to answer `request`.

    A model without tools that may be called would say that it did what it cannot do.
    """
    return Capabilities(
        tools=bool(request.tools) and request.tool_choice.mode != "none",
        pictures=_has_pictures(request),
        schemas=request.answer_schema is not None,
        logprobs=request.logprobs is not None,
        raw_prompts=request.prompt is not None,
    )


def _has_pictures(request: protocol.ChatRequest) -> bool:
    return any(part.get("type") == _PICTURE for message in request.messages for part in _parts(message))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in _parts(message))


def _parts(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, list | tuple):
        yield from (part for part in content if isinstance(part, Mapping))


def _names(values: Mapping[str, tuple[str, ...] | None], arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values of `arguments`, whether for all tools (`"area"`) or for one (`"tool.area"`), each once."""
    found = [names or () for key, names in values.items() if key.rpartition(".")[2] in arguments]
    return tuple(dict.fromkeys(name for names in found for name in names))
