"""The values that exist in this home for the arguments of Home Assistant's tools.

They travel beside the prompt, and the server's grammar admits only them, so a model cannot name a device that does not
exist. The names are the very ones of Home Assistant's own prompt (`homeassistant.components.homeassistant.llm`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import probatio
from homeassistant.components.homeassistant.exposed_entities import async_should_expose
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers import intent, llm

from .convert import varies_by_satellite

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

# Integrations whose tools act on entities of their own domain only.
_DEVICE_INTEGRATIONS: Final = frozenset(
    {"climate", "fan", "humidifier", "lawn_mower", "light", "media_player", "todo", "vacuum"}
)
_MOVABLE: Final = frozenset({"cover", "valve"})
_MOVING_INTENTS: Final = frozenset({intent.INTENT_SET_POSITION, intent.INTENT_STOP_MOVING})
_SWITCHING_INTENTS: Final = frozenset({intent.INTENT_TURN_ON, intent.INTENT_TURN_OFF})
# Domains that tell something and do nothing.
_READ_ONLY: Final = frozenset(
    {"air_quality", "binary_sensor", "device_tracker", "event", "image", "person", "sensor", "sun", "todo"}
    | {"weather", "zone"}
)
# Generic tools whose `name`, `area`, `floor` and `domain` mean any exposed entity.
_GENERIC_INTEGRATIONS: Final = frozenset({"homeassistant", "intent"})
# Cleaning an area takes the area as a place to clean, not as a filter of entities: it needs no device of ours.
_CLEAN_AREA_INTENT: Final = "HassVacuumCleanArea"


@dataclass(slots=True)
class _Home:
    """What is exposed: entity names by domain, the areas of these entities, and which domains an area has."""

    names: dict[str, set[str]] = field(default_factory=dict)
    areas: dict[str, ar.AreaEntry] = field(default_factory=dict)
    domains_in: dict[str, set[str]] = field(default_factory=dict)

    def names_of(self, domains: Iterable[str]) -> list[str]:
        return sorted(set().union(*(self.names.get(domain, set()) for domain in domains)))

    def areas_with(self, domains: frozenset[str]) -> list[ar.AreaEntry]:
        return [area for area_id, area in self.areas.items() if self.domains_in[area_id] & domains]


@callback
def argument_values(
    hass: HomeAssistant, assistant: str = "conversation", tools: Iterable[llm.Tool] = ()
) -> ArgumentValues:
    """Return the values that exist for tool arguments; sorted, so that equal homes give equal results.

    A key is an argument (`"name"`, `"area"`, `"floor"`, `"domain"`) or `"tool_name.argument"`, which wins. An empty
    list means: any value. Pass the `tools` of the request: keys of the second kind then narrow a device tool to the
    entities of its domain, and free the arguments of tools for which such a word means something else (the name of a
    timer, a field of a script).
    """
    home = _exposed_home(hass, assistant)
    areas = list(home.areas.values()) or list(ar.async_get(hass).async_list_areas())
    values: ArgumentValues = {
        "name": home.names_of(home.names),
        "area": _area_names(areas),
        "floor": _floor_names(hass, areas),
        "domain": sorted(home.names),
    }
    for tool in tools:
        for argument in sorted(argument_names(tool) & GROUNDED_ARGUMENTS.keys()):
            narrowed = _narrowed(hass, home, values, tool, argument)
            if narrowed != values.get(argument):
                values[f"{tool.name}.{argument}"] = narrowed
    return values


def _narrowed(hass: HomeAssistant, home: _Home, values: ArgumentValues, tool: llm.Tool, argument: str) -> list[str]:
    """Return the values of one argument of one tool."""
    kind = GROUNDED_ARGUMENTS[argument]
    action = tool.name.rpartition("__")[2]
    if action == _CLEAN_AREA_INTENT and kind == "area":
        return _area_names(ar.async_get(hass).async_list_areas())
    domains = _domains_of(home, tool, action)
    if domains is None:
        return []
    if domains and kind == "area":
        return _area_names(home.areas_with(domains)) or values[kind]
    if domains and kind == "name":
        return home.names_of(domains)
    if domains and kind == "domain":
        return sorted(domains & home.names.keys())
    return values[kind]


def _domains_of(home: _Home, tool: llm.Tool, action: str) -> frozenset[str] | None:
    """Return the entity domains a tool acts on; empty means all of them, None that it is not about entities."""
    if tool.integration in _DEVICE_INTEGRATIONS:
        return frozenset({tool.integration})
    if action in _MOVING_INTENTS:
        return _MOVABLE
    if action in _SWITCHING_INTENTS:
        return frozenset(home.names) - _READ_ONLY
    if tool.integration in _GENERIC_INTEGRATIONS and "Timer" not in action and not varies_by_satellite(tool.name):
        return frozenset()
    return None


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
    entities = er.async_get(hass)
    for state in hass.states.async_all():
        if state.domain in _UNLISTED_DOMAINS or not async_should_expose(hass, assistant, state.entity_id):
            continue
        entry = entities.async_get(state.entity_id)
        names = intent.async_get_entity_aliases(hass, entry, state=state)
        home.names.setdefault(state.domain, set()).update(name for name in names if name)
        if area := area_of(hass, entry):
            home.areas[area.id] = area
            home.domains_in.setdefault(area.id, set()).add(state.domain)
    return home


def area_of(hass: HomeAssistant, entry: er.RegistryEntry | None) -> ar.AreaEntry | None:
    """Return the area of an entity, which is its own or that of its device."""
    if entry is None:
        return None
    area_id = entry.area_id
    if area_id is None and entry.device_id and (device := dr.async_get(hass).async_get(entry.device_id)):
        area_id = dr.async_get_effective_area_id(hass, device)
    return ar.async_get(hass).async_get_area(area_id) if area_id else None


def _area_names(areas: Iterable[ar.AreaEntry]) -> list[str]:
    return sorted({name for area in areas for name in (area.name, *area.aliases)})


def _floor_names(hass: HomeAssistant, areas: Iterable[ar.AreaEntry]) -> list[str]:
    floors = fr.async_get(hass)
    entries = [floor for area in areas if area.floor_id and (floor := floors.async_get_floor(area.floor_id))]
    return sorted({name for floor in entries for name in (floor.name, *floor.aliases)})
