"""The values that exist in a home for the arguments of tools.

They travel beside the prompt, and the server's grammar admits only them, so a model cannot name a device that does not
exist, nor one that the tool cannot act on. The names are the very ones of Home Assistant's own prompt
(`homeassistant.components.homeassistant.llm`). What a tool can act on, Home Assistant tells: an intent by the handler
behind it, and whatever turns things on by the actions that there are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import probatio
from homeassistant.components import conversation
from homeassistant.components.homeassistant import DOMAIN as HOMEASSISTANT
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers import intent, llm

from .cache import home_cache
from .exposure import exposed_entities, exposed_things


@dataclass(frozen=True, slots=True)
class PromptedHome:
    """The ids of exposed entities, and of the devices, areas and floors that they, and those who speak, are in."""

    entities: frozenset[str]
    devices: frozenset[str]
    areas: frozenset[str]
    floors: frozenset[str]

    @classmethod
    @callback
    def of(cls, hass: HomeAssistant, speakers: Iterable[str]) -> Self:
        """Return what prompts reach now; `speakers` are the ids of devices that sentences come from."""
        kept = tuple(sorted(speakers))
        return home_cache(hass).get(conversation.DOMAIN, ("reach", kept), lambda: cls._of(hass, kept))

    @classmethod
    def _of(cls, hass: HomeAssistant, speakers: Iterable[str]) -> Self:
        entities = exposed_entities(hass)
        registry = er.async_get(hass)
        entries = [entry for entity_id in entities if (entry := registry.async_get(entity_id))]
        device_ids = {*speakers, *(entry.device_id for entry in entries if entry.device_id)}
        devices = [device for one in device_ids if (device := dr.async_get(hass).async_get(one))]
        parents = {device.parent_device_id for device in devices if isinstance(device, dr.ChildDeviceEntry)}
        areas = {entry.area_id for entry in entries if entry.area_id}
        areas |= {area_id for device in devices if (area_id := dr.async_get_effective_area_id(hass, device))}
        found = [area for area_id in areas if (area := ar.async_get(hass).async_get_area(area_id))]
        floors = {area.floor_id for area in found if area.floor_id}
        return cls(frozenset(entities), frozenset(device_ids | parents), frozenset(areas), frozenset(floors))


# What turning on and off is for things that have no such action (`components/intent`, OnOffIntentHandler).
_IN_PLACE_OF: Final = {
    "button": {"turn_on": "press"},
    "cover": {"turn_on": "open_cover", "turn_off": "close_cover"},
    "input_button": {"turn_on": "press"},
    "lock": {"turn_on": "lock", "turn_off": "unlock"},
    "valve": {"turn_on": "open_valve", "turn_off": "close_valve"},
}
_PLATFORMS: Final = frozenset(Platform)
# Generic tools whose `name`, `area`, `floor` and `domain` mean any exposed entity.
_GENERIC_INTEGRATIONS: Final = frozenset({"homeassistant", "intent"})
_TIMER: Final = "Timer"
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


@callback
def acting_domains(hass: HomeAssistant, tool: llm.Tool) -> frozenset[str] | None:
    """Return the domains of entities that a tool can act on; empty means all of them, None that it names no entities.

    They are those that could be there, whether or not they are exposed.
    """
    handler = _handler(hass, tool)
    if isinstance(handler, intent.DynamicServiceIntentHandler) and (found := _domains_of(hass, handler)):
        return found
    if tool.integration in _PLATFORMS:
        return frozenset({tool.integration})
    if (
        tool.integration in _GENERIC_INTEGRATIONS
        and _TIMER not in action_of(tool)
        and not varies_by_satellite(tool.name)
    ):
        return frozenset()
    return None


def _handler(hass: HomeAssistant, tool: llm.Tool) -> intent.IntentHandler | None:
    while isinstance(tool, llm.NamespacedTool):
        tool = tool.tool
    if not isinstance(tool, llm.IntentTool):
        return None
    return next((one for one in intent.async_get(hass) if one.intent_type == tool.intent_type), None)


def _domains_of(hass: HomeAssistant, handler: intent.DynamicServiceIntentHandler) -> frozenset[str]:
    if handler.required_domains:
        return frozenset(handler.required_domains)
    if isinstance(handler, intent.ServiceIntentHandler) and handler.domain == HOMEASSISTANT:
        return _domains_with(hass, handler.service)
    return frozenset(handler.platforms or ())


def _domains_with(hass: HomeAssistant, action: str) -> frozenset[str]:
    """Return the domains whose entities can be turned on, or whatever `action` is."""
    actions = hass.services.async_services_internal()
    return frozenset(
        domain for domain in actions if _IN_PLACE_OF.get(domain, {action: action}).get(action) in actions[domain]
    )


def action_of(tool: llm.Tool) -> str:
    """Return the name of a tool without its prefix, which for an intent is the intent's type."""
    return tool.name.rpartition("__")[2]


def varies_by_satellite(tool_name: str) -> bool:
    """Return whether Home Assistant offers this tool to some voice satellites and not to others."""
    return tool_name.rpartition("__")[2] in _VARYING_INTENTS


type ArgumentValues = dict[str, list[str]]

# Domains that Home Assistant's prompt leaves out of its overview; they have tools of their own.
_UNLISTED_DOMAINS: Final = frozenset({"calendar", "script"})

# Arguments that name something of the home, and what they name.
GROUNDED_ARGUMENTS: Final = {
    "name": "name",
    "area": "area",
    "floor": "floor",
    "domain": "domain",
    "player_name": "name",
    "player_area": "area",
    "player_floor": "floor",
}

# Cleaning an area takes the area as a place to clean, not as a filter of entities: it needs no device of ours.
_CLEAN_AREA_INTENT: Final = "HassVacuumCleanArea"


class _Asked(NamedTuple):
    """A tool, its grounded arguments, and the domains it acts on."""

    name: str
    arguments: tuple[str, ...]
    domains: frozenset[str] | None
    takes_any_area: bool


@dataclass(slots=True)
class _Home:
    """What is exposed: entity names by domain, the areas of these entities, and which domains an area has."""

    names: dict[str, set[str]] = field(default_factory=dict)
    areas: dict[str, ar.AreaEntry] = field(default_factory=dict)
    domains_in: dict[str, set[str]] = field(default_factory=dict)
    _sorted: dict[frozenset[str], list[str]] = field(default_factory=dict)

    def names_of(self, domains: Iterable[str]) -> list[str]:
        """Return the names in some domains, sorted once for all tools that are about the same."""
        there = frozenset(self.names.keys() & frozenset(domains))
        if there not in self._sorted:
            self._sorted[there] = sorted(set().union(*(self.names[domain] for domain in there)))
        return self._sorted[there]

    def areas_with(self, domains: frozenset[str]) -> list[ar.AreaEntry]:
        return [area for area_id, area in self.areas.items() if self.domains_in[area_id] & domains]


@callback
def argument_values(
    hass: HomeAssistant, assistant: str = "conversation", tools: Iterable[llm.Tool] = ()
) -> ArgumentValues:
    """Return the values that exist for tool arguments; sorted, so that equal homes give equal results.

    A key is an argument (`"name"`, `"area"`, `"floor"`, `"domain"`) or `"tool_name.argument"`, which wins. An empty
    list means: any value. Pass the `tools` of the request: keys of the second kind then narrow a tool to the entities
    that it can act on, and free the arguments of tools for which such a word means something else (the name of a timer,
    a field of a script). It is kept until the home changes; callers leave it as it is.
    """
    asked = tuple(_asked(hass, tool) for tool in tools)
    return home_cache(hass).get(assistant, ("values", asked), lambda: _values(hass, assistant, asked))


def _asked(hass: HomeAssistant, tool: llm.Tool) -> _Asked:
    arguments = tuple(sorted(argument_names(tool) & GROUNDED_ARGUMENTS.keys()))
    domains = acting_domains(hass, tool) if arguments else None
    return _Asked(tool.name, arguments, domains, action_of(tool) == _CLEAN_AREA_INTENT)


def _values(hass: HomeAssistant, assistant: str, asked: Iterable[_Asked]) -> ArgumentValues:
    home = _exposed_home(hass, assistant)
    areas = list(home.areas.values()) or list(ar.async_get(hass).async_list_areas())
    values: ArgumentValues = {
        "name": home.names_of(home.names),
        "area": _area_names(areas),
        "floor": _floor_names(hass, areas),
        "domain": sorted(home.names),
    }
    for tool in asked:
        for argument in tool.arguments:
            narrowed = _narrowed(hass, home, values, tool, argument)
            if narrowed != values.get(argument):
                values[f"{tool.name}.{argument}"] = narrowed
    return values


def _narrowed(hass: HomeAssistant, home: _Home, values: ArgumentValues, tool: _Asked, argument: str) -> list[str]:
    """Return the values of one argument of one tool."""
    kind = GROUNDED_ARGUMENTS[argument]
    if tool.takes_any_area and kind == "area":
        return _area_names(ar.async_get(hass).async_list_areas())
    if tool.domains is None:
        return []
    if tool.domains and kind == "area":
        return _area_names(home.areas_with(tool.domains)) or values[kind]
    if tool.domains and kind == "name":
        return home.names_of(tool.domains)
    if tool.domains and kind == "domain":
        return sorted(tool.domains & home.names.keys())
    return values[kind]


def argument_names(tool: llm.Tool) -> set[str]:
    """Return the names of the arguments of `tool`."""
    schema: Any = tool.parameters.schema
    if not isinstance(schema, dict):
        return set()
    return {name for key in schema for name in _names_of_key(key) if isinstance(name, str)}


def _names_of_key(key: object) -> Iterator[object]:
    """Yield the argument names one key of a schema stands for: a marker may hold `Any("name", "area")`."""
    if isinstance(key, probatio.Marker):
        yield from _names_of_key(key.schema)
    elif isinstance(key, probatio.Any):
        yield from key.validators
    else:
        yield key


def _exposed_home(hass: HomeAssistant, assistant: str) -> _Home:
    home = _Home()
    for thing in exposed_things(hass, assistant):
        if thing.domain in _UNLISTED_DOMAINS:
            continue
        home.names.setdefault(thing.domain, set()).update(thing.names)
        if thing.area:
            home.areas[thing.area.id] = thing.area
            home.domains_in.setdefault(thing.area.id, set()).add(thing.domain)
    return home


def _area_names(areas: Iterable[ar.AreaEntry]) -> list[str]:
    return sorted({name for area in areas for name in (area.name, *area.aliases)})


def _floor_names(hass: HomeAssistant, areas: Iterable[ar.AreaEntry]) -> list[str]:
    floors = fr.async_get(hass)
    entries = [floor for area in areas if area.floor_id and (floor := floors.async_get_floor(area.floor_id))]
    return sorted({name for floor in entries for name in (floor.name, *floor.aliases)})
