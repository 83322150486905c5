"""The real check of a server: does a model answer, does it call a tool, does this home fit into what it can read?"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeassistant.components.conversation import ConverseError
from homeassistant.core import HomeAssistant

from .client import ZoeClient
from .errors import ZoeContextExceededError, ZoeEmptyAnswerError, ZoeInstructionsError
from .exposure import exposed_entities
from .speaker import Speaker
from .turn import RequestStats
from .upcoming import async_upcoming_request

_ROOM_TOKENS: Final = 256
"""What a sentence, a tool call, its result and an answer need beside the prompt."""

# As Home Assistant words them, since that is what the models are to understand.
_MESSAGES: Final = [
    {
        "role": "system",
        "content": (
            "You are a voice assistant for Home Assistant.\n"
            "Answer questions about the world truthfully.\n"
            "Answer in plain text. Keep it simple and to the point.\n"
            "Static Context: An overview of the areas and the devices in this smart home:\n"
            "- names: Kitchen light\n  domain: light\n  areas: Kitchen\n"
            "\n"
            "When controlling Home Assistant always call the intent tools."
        ),
    },
    {"role": "user", "content": "turn on the kitchen light"},
]
_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "intent__HassTurnOn",
        "description": "Turns on/opens/presses a device or entity. For locks, this performs a 'lock' action. "
        "Use for requests like 'turn on', 'activate', 'enable', or 'lock'.",
        "parameters": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "area": {"type": "string"},
                "domain": {"type": "array", "items": {"type": "string"}},
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What a model did with an order: who answered, how soon, and whether it called the tool that it was given."""

    model: str
    first_token_ms: float
    calls_tools: bool


@dataclass(frozen=True, slots=True)
class PromptSize:
    """How many tokens this home's prompt has, how many of them were known already, and how many can be read."""

    prompt_tokens: int
    cached_tokens: int
    context_tokens: int
    devices: int

    @property
    def fits(self) -> bool:
        """Whether there is room for a sentence and its answer, too."""
        return self.prompt_tokens + _ROOM_TOKENS <= self.context_tokens

    @property
    def placeholders(self) -> dict[str, str]:
        """Return what texts about it are filled with."""
        return {
            "prompt_tokens": f"{self.prompt_tokens:,}",
            "context_tokens": f"{self.context_tokens:,}",
            "devices": str(self.devices),
        }


async def async_try_model(client: ZoeClient, model: str) -> Trial:
    """Give an order to `model`, which is free to call the tool or not.

    Raises:
        ZoeEmptyAnswerError: it says nothing at all.
        ZoeError: the server or the model fails.
    """
    request: dict[str, Any] = {
        "model": model,
        "messages": _MESSAGES,
        "tools": [_TOOL],
        "max_tokens": 128,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    start_s = time.monotonic()
    first_s: float | None = None
    calls_tools = False
    stats = RequestStats()
    async for chunk in client.async_chat(request):
        stats.read_chunk(chunk)
        for delta in (choice.get("delta") or {} for choice in chunk["choices"]):
            if first_s is None and (delta.get("content") or delta.get("reasoning_content") or delta.get("tool_calls")):
                first_s = time.monotonic()
            calls_tools = calls_tools or bool(delta.get("tool_calls"))
    if first_s is None:
        raise ZoeEmptyAnswerError("the model gave no answer")
    return Trial(stats.model or model, 1000 * (first_s - start_s), calls_tools)


async def async_measure_prompt(hass: HomeAssistant, client: ZoeClient, options: Mapping[str, Any]) -> PromptSize:
    """Let the server count, and compute, the prompt of an agent with `options`.

    Raises:
        ZoeInstructionsError: its instructions are no template, or an API that it may use is gone.
        ZoeError: the server or the model fails.
    """
    try:
        request = await async_upcoming_request(hass, options, Speaker(hass.config.language))
    except ConverseError as err:
        raise ZoeInstructionsError(str(err)) from err
    devices = len(exposed_entities(hass)) if "tools" in request else 0
    contexts = await client.async_context_tokens()
    stats = RequestStats()
    try:
        async for chunk in client.async_chat(request):
            stats.read_chunk(chunk)
    except ZoeContextExceededError as err:
        return PromptSize(err.prompt_tokens, 0, err.context_tokens, devices)
    context_tokens = contexts.get(stats.model or request["model"], 0)
    return PromptSize(stats.prompt_tokens, stats.cached_tokens, context_tokens, devices)
