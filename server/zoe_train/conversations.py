"""Conversations with a random home, as Home Assistant would have them: its own prompt, tools and tool results.

Needs Home Assistant (Python 3.14) and the integration's `convert`: training sees the very bytes of a real request.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import probatio
from homeassistant.components import conversation
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import llm

from custom_components.zoe.turn.messages import content_to_message, tools_to_openai
from zoe_eval.core import load_home, unload_home
from zoe_train import commands as c
from zoe_train.appliances import fan_speed, temperature, vacuum
from zoe_train.homes import random_home
from zoe_train.lights import brightness, color, color_temperature, everything, on_off
from zoe_train.lists import list_question, todo
from zoe_train.media import media, volume
from zoe_train.openings import cover, lock, position
from zoe_train.phrases import phrase
from zoe_train.questions import area_question, state_question, time_question, value_question
from zoe_train.references import Home, Target, area_target, device_target
from zoe_train.refusals import missing_device, small_talk, timer

AGENT: Final = "conversation.zoe"
_ACTIONS: Final[tuple[tuple[c.Maker, float], ...]] = (
    (on_off, 5), (brightness, 2.2), (color, 1.6), (color_temperature, 0.4), (cover, 2.2), (position, 1.2),
    (temperature, 2.8), (lock, 1.5), (fan_speed, 0.8), (vacuum, 1.5), (media, 2), (volume, 1.5), (todo, 2.2),
    (everything, 0.25),
)  # fmt: skip
_OTHERS: Final[tuple[tuple[c.Maker, float], ...]] = (
    (state_question, 2.5), (value_question, 1.8), (area_question, 0.8), (list_question, 0.5),
    (missing_device, 4.5), (small_talk, 0.8), (time_question, 0.25), (timer, 0.25),
)  # fmt: skip
_ON_OFF: Final = (("on", "Turned on", c.ON), ("off", "Turned off", c.OFF))
_VERBS: Final = {
    "light": _ON_OFF, "switch": _ON_OFF,
    "cover": (("open", "Opened", c.ON), ("close", "Closed", c.OFF)),
    "lock": (("lock", "Locked", c.ON), ("unlock", "Unlocked", c.OFF)),
}  # fmt: skip
_USUAL: Final = {
    "on": ("turn on", "switch on"), "off": ("turn off", "switch off", "shut off"),
    "open": ("open",), "close": ("close", "shut"), "lock": ("lock",), "unlock": ("unlock",),
}  # fmt: skip
"""The words that most people use for what `phrases.yaml` says in many ways."""


@dataclass(frozen=True)
class Dialogue:
    """One home's tools and system prompt, and exchanges with it as OpenAI messages, each begun by a user."""

    tools: list[dict[str, Any]]
    system: dict[str, Any]
    exchanges: list[list[dict[str, Any]]]


def make_command(rng: random.Random, home: Home) -> c.Command:
    """Return a random command that this home can be given."""
    while True:
        style = rng.random()
        if style < 0.16:
            command = _two_commands(rng, home)
        elif style < 0.24:
            command = _two_devices(rng, home)
        else:
            command = _draw(rng, home, _ACTIONS if style < 0.75 else _OTHERS)
        if command is not None:
            return command


def _draw(rng: random.Random, home: Home, makers: Sequence[tuple[c.Maker, float]]) -> c.Command | None:
    maker = rng.choices([maker for maker, _ in makers], [weight for _, weight in makers])[0]
    return maker(rng, home)


def _two_commands(rng: random.Random, home: Home) -> c.Command | None:
    first, second = (_draw(rng, home, _ACTIONS) for _ in range(2))
    if first is None or second is None or first.names & second.names:
        return None
    joint = rng.choice((" and ", " and ", " and ", " then ", ", then ", " and then ", ", ", " and also ", ", and "))
    return c.joined(first.text + joint + second.text, first, second)


def _two_devices(rng: random.Random, home: Home) -> c.Command | None:
    """Make one verb act on two devices or two places: turn off the lamp and the kettle."""
    domain = rng.choice(("light", "light", "switch", "cover", "lock"))
    targets = _two_targets(rng, home, domain)
    if targets is None:
        return None
    verb, done, tool = rng.choice(_VERBS[domain])
    both = f"{targets[0].words} and {targets[1].words}"
    text = phrase(rng, verb, x=both) if rng.random() < 0.6 else f"{rng.choice(_USUAL[verb])} {both}"
    parts = [c.action("", tool, target.arguments, f"{done} {target.spoken}.") for target in targets]
    return c.joined(c.lead(rng, text), *parts)


def _two_targets(rng: random.Random, home: Home, domain: str) -> tuple[Target, Target] | None:
    if domain in ("light", "cover") and rng.random() < 0.4:
        first, second = (area_target(rng, home, domain) for _ in range(2))
        same = first is None or second is None or {d["id"] for d in first.devices} & {d["id"] for d in second.devices}
        return None if first is None or second is None or same else (first, second)
    kinds = (f"{domain}.", "fan.") if domain == "switch" else (f"{domain}.",)
    pool = [device for device in home.devices if device["id"].startswith(kinds)]
    if len(pool) < 2:
        return None
    one, other = rng.sample(pool, 2)
    return device_target(rng, home, one), device_target(rng, home, other)


async def make_dialogue(hass: HomeAssistant, seed: int, n_exchanges: int) -> Dialogue:
    """Load a random home, talk to it `n_exchanges` times for real, and remove it again."""
    rng = random.Random(seed)
    inventory = random_home(rng, seed)
    entry = await load_home(hass, inventory)
    try:
        home = Home(
            inventory, rng.choice([area["name"] for area in inventory["areas"]]) if rng.random() < 0.4 else None
        )
        device_id = _satellite(hass, entry, home.here) if home.here else None
        context = llm.LLMContext("zoe", Context(), "en", conversation.DOMAIN, device_id)
        log = conversation.ChatLog(hass, f"training-{seed}")
        await log.async_provide_llm_data(context, "assist")
        api = log.llm_api
        if api is None:
            raise RuntimeError("Home Assistant gave no Assist API")
        exchanges = [await _exchange(hass, api, rng, home) for _ in range(n_exchanges)]
        return Dialogue(
            tools_to_openai(api.tools, api.custom_serializer), content_to_message(log.content[0]), exchanges
        )
    finally:
        await unload_home(hass, entry)


def _satellite(hass: HomeAssistant, entry: ConfigEntry, area: str) -> str:
    devices, areas = dr.async_get(hass), ar.async_get(hass)
    device = devices.async_get_or_create(config_entry_id=entry.entry_id, identifiers={("virtual_home", "satellite")})
    found = areas.async_get_area_by_name(area)
    devices.async_update_device(device.id, area_id=found.id if found else None)
    return device.id


async def _exchange(hass: HomeAssistant, api: llm.APIInstance, rng: random.Random, home: Home) -> list[dict[str, Any]]:
    command = make_command(rng, home)
    for domain, service, entity_id in command.prepare:
        await hass.services.async_call(domain, service, {"entity_id": entity_id}, blocking=True)
    contents: list[conversation.Content] = [conversation.UserContent(_as_heard(rng, command.text))]
    results: list[dict[str, Any]] = []
    if command.calls:
        inputs = [llm.ToolInput(tool_name=name, tool_args=_ordered(api, name, args)) for name, args in command.calls]
        contents.append(conversation.AssistantContent(AGENT, tool_calls=inputs))
        for tool_input in inputs:
            result = await _call(api, tool_input)
            results.append({"data": result.data, "error": result.error})
            contents.append(conversation.ToolResultContent(AGENT, tool_input.id, tool_input.tool_name, result))
    contents.append(conversation.AssistantContent(AGENT, command.answer(results)))
    return [content_to_message(content) for content in contents]


def _as_heard(rng: random.Random, text: str) -> str:
    """Return a sentence as speech to text writes it: with or without a capital and a full stop."""
    if rng.random() < 0.4:
        text += (
            "?"
            if text.split(" ", maxsplit=1)[0]
            in ("is", "are", "what", "what's", "how", "which", "did", "have", "can", "could")
            else "."
        )
    return text.replace("  ", " ")


def _ordered(api: llm.APIInstance, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return `arguments` in the order of the tool's schema, which is the order its grammar asks for."""
    tool = next(tool for tool in api.tools if tool.name == name)
    schema = probatio.to_openapi(tool.parameters, custom_serializer=api.custom_serializer, openapi_version="3.1.0")
    order = list(schema["properties"])
    unknown = set(arguments) - set(order)
    if unknown:
        raise ValueError(f"{name} has no arguments {unknown}")
    return dict(sorted(arguments.items(), key=lambda item: order.index(item[0])))


async def _call(api: llm.APIInstance, tool_input: llm.ToolInput) -> llm.ToolResult:
    """Call a tool; what Home Assistant's chat log turns into an error result is turned into the same one here."""
    try:
        return await api.async_call_tool(tool_input)
    except (HomeAssistantError, probatio.Invalid) as err:
        return llm.ToolResult(data={"error": type(err).__name__, "error_text": str(err)}, error=True)


def as_json(dialogue: Dialogue) -> str:
    """Return a dialogue as one line of JSON."""
    return json.dumps(
        {"tools": dialogue.tools, "system": dialogue.system, "exchanges": dialogue.exchanges}, ensure_ascii=False
    )
