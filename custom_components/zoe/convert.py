"""Home Assistant's chat log and tools as OpenAI chat completion messages and tools.

Pure conversions. The result is the beginning of every prompt, so equal input gives equal bytes: across turns,
satellites and restarts of Home Assistant (whose sets of choices change their order with `PYTHONHASHSEED`).
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import probatio
from homeassistant.components import conversation
from homeassistant.helpers import intent, llm
from homeassistant.helpers.json import json_dumps

_VARYING_INTENTS: Final = frozenset(
    {
        intent.INTENT_BROADCAST,
        intent.INTENT_START_TIMER,
        intent.INTENT_CANCEL_TIMER,
        intent.INTENT_INCREASE_TIMER,
        intent.INTENT_DECREASE_TIMER,
        intent.INTENT_PAUSE_TIMER,
        intent.INTENT_UNPAUSE_TIMER,
        intent.INTENT_TIMER_STATUS,
    }
)


def varies_by_satellite(tool_name: str) -> bool:
    """Return whether Home Assistant offers this tool to some voice satellites and not to others."""
    return tool_name.rpartition("__")[2] in _VARYING_INTENTS


def tools_to_openai(
    tools: Iterable[llm.Tool], custom_serializer: Callable[[Any], Any] | None = None
) -> list[dict[str, Any]]:
    """Return `tools` as OpenAI function tools.

    The order is Home Assistant's, but the tools that only some satellites have come last, so that all satellites of a
    home share the longest prefix.
    """
    ordered = sorted(tools, key=lambda tool: varies_by_satellite(tool.name))
    return [_tool_to_openai(tool, custom_serializer or llm.selector_serializer) for tool in ordered]


def _tool_to_openai(tool: llm.Tool, serializer: Callable[[Any], Any]) -> dict[str, Any]:
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


def content_to_message(content: conversation.Content, pictures: Mapping[Path, str] | None = None) -> dict[str, Any]:
    """Return one entry of the chat log as an OpenAI message; `pictures` are its attachments, as data URLs."""
    if isinstance(content, conversation.ToolResultContent):
        return {
            "role": "tool",
            "tool_call_id": content.tool_call_id,
            "content": json_dumps({"data": content.result.data, "error": content.result.error}),
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
        "function": {"name": call.tool_name, "arguments": json_dumps(call.tool_args)},
    }
