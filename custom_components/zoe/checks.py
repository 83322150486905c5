"""The real check of a server: does a model answer, does it call a tool, does this home fit into what it can read?"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeassistant.components import conversation
from homeassistant.components.conversation import ConverseError
from homeassistant.components.homeassistant.llm import async_get_exposed_entities
from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import CONF_LLM_HASS_API
from homeassistant.core import HomeAssistant
from homeassistant.helpers.json import json_dumps
from homeassistant.util import yaml

from .api.client import ZoeClient
from .api.errors import ZoeContextExceededError, ZoeEmptyAnswerError, ZoeInstructionsError
from .api.openai_client import client_for
from .const import CONF_MODEL, MODEL_AUTOMATIC, SUBENTRY_CONVERSATION
from .coordinator import ZoeConfigEntry
from .home import exposed_entities
from .issues import NO_TOOL_CALLS, PROMPT_TOO_LONG, async_raise, async_remove
from .prefill import async_upcoming_request
from .speaker import Speaker
from .turn.stats import RequestStats

_ROOM_TOKENS: Final = 256
"""What a sentence, a tool call, its result and an answer need beside the prompt, where nothing is looked up."""

_LOOKUP: Final = "GetLiveContext"
"""Home Assistant's tool that returns the states of devices, without its prefix; unasked for less, of all of them."""

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
    """How many tokens this home's prompt has, how many of them were known already, and how many can be read.

    `lookup_tokens` is about what the states of all devices have, if the model looks at them.
    """

    prompt_tokens: int
    cached_tokens: int
    context_tokens: int
    devices: int
    lookup_tokens: int = 0

    @property
    def fits(self) -> bool:
        """Whether there is room for a sentence, a look at the home, and an answer, too."""
        return self.prompt_tokens + self.lookup_tokens + _ROOM_TOKENS <= self.context_tokens

    @property
    def placeholders(self) -> dict[str, str]:
        """Return what texts about it are filled with."""
        return {
            "prompt_tokens": f"{self.prompt_tokens:,}",
            "context_tokens": f"{self.context_tokens:,}",
            "lookup_tokens": f"{self.lookup_tokens:,}",
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
    async with client.async_chat(request) as answer:
        async for chunk in answer.chunks:
            stats.read_chunk(chunk)
            for delta in (choice.get("delta") or {} for choice in chunk["choices"]):
                begins = delta.get("content") or delta.get("reasoning_content") or delta.get("tool_calls")
                if first_s is None and begins:
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
        async with client.async_chat(request) as answer:
            async for chunk in answer.chunks:
                stats.read_chunk(chunk)
    except ZoeContextExceededError as err:
        lookup_tokens = _lookup_tokens(hass, request, err.prompt_tokens)
        return PromptSize(err.prompt_tokens, 0, err.context_tokens, devices, lookup_tokens)
    listed = [contexts[name] for name in (stats.model, request["model"]) if name in contexts]
    context_tokens = listed[0] if listed else client.unknown_context_tokens
    lookup_tokens = _lookup_tokens(hass, request, stats.prompt_tokens)
    return PromptSize(stats.prompt_tokens, stats.cached_tokens, context_tokens, devices, lookup_tokens)


def _lookup_tokens(hass: HomeAssistant, request: Mapping[str, Any], prompt_tokens: int) -> int:
    """Return about how many tokens the states of all devices have, if `request` has so many and may ask for them."""
    names = {tool["function"]["name"].rpartition("__")[2] for tool in request.get("tools", ())}
    entities = async_get_exposed_entities(hass, conversation.DOMAIN)
    if _LOOKUP not in names or not entities:
        return 0
    states = yaml.dump(list(entities.values()))
    chars = len(json_dumps(request["messages"])) + len(json_dumps(request["tools"]))
    return len(json_dumps(states)) * prompt_tokens // chars


@dataclass(frozen=True, slots=True)
class AgentTest:
    """What was found out about one agent; no `trial` for one that controls nothing."""

    agent: str
    size: PromptSize
    trial: Trial | None


async def async_self_test(hass: HomeAssistant, entry: ZoeConfigEntry) -> list[AgentTest]:
    """Check the server with each agent, and raise or remove the issues that this tells of.

    Raises:
        ZoeError: the server or a model fails.
    """
    agents = entry.get_subentries_of_type(SUBENTRY_CONVERSATION)
    return [await async_test_agent(hass, entry, agent) for agent in agents]


async def async_test_agent(hass: HomeAssistant, entry: ZoeConfigEntry, agent: ConfigSubentry) -> AgentTest:
    """Check the server with one agent, see `async_self_test`."""
    client = client_for(hass, entry.data)  # an issue can be looked at when its entry is not set up
    trial: Trial | None = None
    if agent.data.get(CONF_LLM_HASS_API):
        trial = await async_try_model(client, agent.data.get(CONF_MODEL, MODEL_AUTOMATIC))
    size = await async_measure_prompt(hass, client, agent.data)
    note_trial(hass, entry, agent, trial)
    note_size(hass, entry, agent, size)
    return AgentTest(agent.title, size, trial)


def note_trial(hass: HomeAssistant, entry: ZoeConfigEntry, agent: ConfigSubentry, trial: Trial | None) -> None:
    """Raise or remove the issue that the model of `agent` calls no tools."""
    if trial is None or trial.calls_tools:
        async_remove(hass, entry, NO_TOOL_CALLS, about=agent.subentry_id)
    else:
        about = agent.subentry_id
        async_raise(hass, entry, NO_TOOL_CALLS, about=about, agent=agent.title, model=trial.model)


def note_size(hass: HomeAssistant, entry: ZoeConfigEntry, agent: ConfigSubentry, size: PromptSize) -> None:
    """Raise or remove the issue that the home does not fit into what the model of `agent` can read."""
    if size.fits:
        async_remove(hass, entry, PROMPT_TOO_LONG, about=agent.subentry_id)
    else:
        about = agent.subentry_id
        async_raise(hass, entry, PROMPT_TOO_LONG, about=about, agent=agent.title, **size.placeholders)
