"""Home Assistant's chat log and tools as OpenAI's messages and tools.

Equal input gives equal bytes: across turns, satellites and restarts of Home Assistant (whose sets of choices change
their order with `PYTHONHASHSEED`). Converting the tools of a home takes milliseconds, so what came of it is kept for
the very same tools: their names, descriptions, and the objects that their schemas are made of.
"""

import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, Final, NamedTuple

import probatio
from homeassistant.components import conversation
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import llm
from homeassistant.helpers.json import json_dumps
from homeassistant.util import dt as dt_util

from ..home import home_cache, varies_by_satellite
from ..pictures import Pictures

type Message = dict[str, Any]

_DEEPEST: Final = 50
_LARGEST: Final = 2**63


def messages_of(content: Sequence[conversation.Content], timed: bool, pictures: Pictures) -> list[Message]:
    """Return the messages of all that was said, `timed` if each sentence is to tell its time."""
    messages: list[Message] = []
    for item in content:
        message = content_to_message(item, pictures)
        if timed and isinstance(item, conversation.UserContent):
            _stamp(message, item)
        messages.append(message)
    return messages


def _stamp(message: Message, item: conversation.UserContent) -> None:
    """Put the time at which something was said behind it."""
    text = with_time(item.content, item.created)
    if isinstance(message["content"], str):
        message["content"] = text
    else:
        message["content"][0]["text"] = text


def length_of(message: Message) -> int:
    """Return the characters of a message; pictures have none that a tokenizer reads."""
    content = message["content"]
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())
    return len(text) + sum(len(call["function"]["arguments"]) for call in message.get("tool_calls", ()))


def content_to_message(content: conversation.Content, pictures: Mapping[Path, str] | None = None) -> dict[str, Any]:
    """Return one entry of the chat log as an OpenAI message; `pictures` are its attachments, as data URLs."""
    if isinstance(content, conversation.ToolResultContent):
        return {
            "role": "tool",
            "tool_call_id": content.tool_call_id,
            "content": _json({"data": content.result.data, "error": content.result.error}),
        }
    if isinstance(content, conversation.AssistantContent) and content.tool_calls:
        return {
            "role": "assistant",
            "content": content.content or None,
            "tool_calls": [_tool_call_to_openai(call) for call in content.tool_calls],
        }
    if isinstance(content, conversation.UserContent) and content.attachments and pictures:
        shown = [pictures[attachment.path] for attachment in content.attachments]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in shown]
        return {"role": "user", "content": [{"type": "text", "text": content.content}, *parts]}
    return {"role": content.role, "content": content.content or ""}


def _tool_call_to_openai(call: llm.ToolInput) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.tool_name, "arguments": _json(call.tool_args)},
    }


def _json(value: object) -> str:
    """Return a value as JSON; what is none, as the nearest that is."""
    try:
        return json_dumps(value)
    except TypeError, ValueError, RecursionError:
        return json_dumps(_plain(value, _DEEPEST))


def _plain(value: object, depth: int) -> object:
    """Return what of a value JSON can hold; equal values give equal results."""
    if not isinstance(value, Mapping | Sequence | set | frozenset) or isinstance(value, str | bytes | bytearray):
        return _plain_scalar(value)
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item, depth - 1) for key, item in value.items()}
    items = [_plain(item, depth - 1) for item in value]
    return items if isinstance(value, Sequence) else sorted(items, key=json_dumps)


def _plain_scalar(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -_LARGEST <= value < _LARGEST else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return _text(value) if isinstance(value, str | bytes | bytearray) else _described(value)


def _text(value: str | bytes | bytearray) -> str:
    """Return text without halves of characters."""
    return (value.encode("utf-8", "replace") if isinstance(value, str) else bytes(value)).decode("utf-8", "replace")


def _described(value: object) -> str:
    """Return what an object says of itself, unless that is no more than where it is in memory."""
    kind = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return kind.__name__
    try:
        return _text(str(value))
    except Exception:  # noqa: BLE001 (objects of anybody)
        return kind.__name__


type Serializer = Callable[[Any], Any]


class OfferedTools(NamedTuple):
    """Tools in OpenAI form, and how many characters they take."""

    tools: list[dict[str, Any]]
    chars: int


@callback
def offered_tools(hass: HomeAssistant, api: llm.APIInstance) -> OfferedTools:
    """Return the tools of a request; callers leave them as they are."""
    cache = home_cache(hass)
    serializer = api.custom_serializer or llm.selector_serializer
    made_of = _made_of(serializer)

    def converted(tool: llm.Tool) -> tuple[dict[str, Any], int]:
        converted = _tool_to_openai(tool, serializer)
        return converted, len(json_dumps(converted))

    made = [cache.lasting((_identity(tool), made_of), partial(converted, tool)) for tool in _ordered(api.tools)]
    brackets_and_commas = 1 + max(1, len(made))
    return OfferedTools([tool for tool, _ in made], sum(chars for _, chars in made) + brackets_and_commas)


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """Equal to what holds the very same object, which it keeps alive, so that no other object gets its id."""

    held: object

    def __hash__(self) -> int:
        return id(self.held)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.held is self.held


def _identity(tool: llm.Tool) -> Hashable:
    """Return what two tools have in common that become the same."""
    schema: Any = tool.parameters.schema
    parts = [part for item in schema.items() for part in item] if isinstance(schema, dict) else [schema]
    choices = [part.container for part in parts if isinstance(part, probatio.In)]  # lists may grow
    return tool.name, tool.description, type(schema), tuple(map(_Same, parts)), repr(choices)


def _made_of(serializer: Serializer) -> Hashable:
    """Return what tells a serializer from others: for several APIs, Home Assistant makes a new one each time."""
    if not isinstance(serializer, FunctionType) or not serializer.__closure__:
        return serializer if isinstance(serializer, FunctionType | MethodType) else _Same(serializer)
    held = [cell.cell_contents for cell in serializer.__closure__]
    parts = [part for one in held for part in (one if isinstance(one, list) else [one])]
    return serializer.__code__, tuple(map(_Same, parts))


def _ordered(tools: Iterable[llm.Tool]) -> list[llm.Tool]:
    """Return the tools in Home Assistant's order, but those that only some satellites have last.

    All satellites of a home share the longest beginning then.
    """
    return sorted(tools, key=lambda tool: varies_by_satellite(tool.name))


def tools_to_openai(tools: Iterable[llm.Tool], custom_serializer: Serializer | None = None) -> list[dict[str, Any]]:
    """Return `tools` as OpenAI function tools, in the order of requests."""
    return [_tool_to_openai(tool, custom_serializer or llm.selector_serializer) for tool in _ordered(tools)]


def _tool_to_openai(tool: llm.Tool, serializer: Serializer) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    schema = probatio.to_openapi(tool.parameters, custom_serializer=serializer, openapi_version="3.1.0")
    function["parameters"] = _with_sorted_enums(schema)
    return {"type": "function", "function": function}


def _with_sorted_enums(schema: object) -> object:
    """Return `schema` with each list of string choices in alphabetical order."""
    if isinstance(schema, list):
        return [_with_sorted_enums(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: sorted(value) if key == "enum" and _all_strings(value) else _with_sorted_enums(value)
        for key, value in schema.items()
    }


def _all_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_LINES: Final = re.compile(
    r"^(?:You are in area .+ and all generic commands like 'turn on the lights' should target this area\."
    r"|When a user asks to turn on all devices of a specific type, ask the user to specify an area, "
    r"unless there is only one device of that type\."
    r"|This device is not able to start timers\.)(?:\n|\Z)",
    re.MULTILINE,
)


@lru_cache(maxsize=16)  # the prompt of a large home has 50,000 characters, and is the same in turn after turn
def without_speaker_lines(prompt: str) -> tuple[str, str]:
    """Return a system prompt without those lines, and the lines."""
    rest = _LINES.sub("", prompt)
    return (rest.rstrip("\n"), "".join(_LINES.findall(prompt)).rstrip("\n")) if rest != prompt else (prompt, "")


_NAMES: Final[Mapping[str, str]] = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "gl": "Galician", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian",
    "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "ko": "Korean", "lt": "Lithuanian",
    "lv": "Latvian", "nb": "Norwegian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish",
    "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_line(language: str | None) -> str:
    """Return what a system prompt says about a language tag such as "de-CH"; "" for English and for none."""
    base = (language or "").partition("-")[0].lower()
    if base in ("", "en", "*"):
        return ""
    return f"Answer in {_NAMES.get(base, f'the language with the code "{language}"')}."


_TIME: Final = "Current time is "
_LINE: Final = re.compile(r"\n?Current time is \d\d:\d\d:\d\d\. Today's date is \d{4}-\d\d-\d\d\.(?=\n|\Z)\n?")


def without_time(prompt: str) -> tuple[str, bool]:
    """Return a system prompt without the line, and whether it had one."""
    if _TIME not in prompt:
        return prompt, False
    rest, found = _LINE.subn("\n", prompt, count=1)
    return (rest.rstrip("\n"), True) if found else (prompt, False)


# Not `strftime`, whose names follow the locale of the process.
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def with_time(said: str, moment: datetime) -> str:
    """Return what the user said at `moment`, with the line behind it, in the home's time zone."""
    local = dt_util.as_local(moment)
    weekday = _WEEKDAYS[local.weekday()]
    return f"{said}\n\nCurrent time is {local:%H:%M:%S}. Today's date is {local:%Y-%m-%d}, a {weekday}."
