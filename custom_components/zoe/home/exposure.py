"""What of the home voice assistants may use, with all names of things and places, and how to take some of it from them.

Home Assistant keeps one list of exposed entities for all agents, and makes their prompts of it.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity, async_should_expose
from homeassistant.core import HomeAssistant, callback, split_entity_id
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers import intent

from .cache import home_cache


@dataclass(frozen=True, slots=True)
class Exposed:
    """An entity that an assistant may use, with all its names and the area it is in."""

    entity_id: str
    domain: str
    names: tuple[str, ...]
    area: ar.AreaEntry | None


@callback
def exposed_things(hass: HomeAssistant, assistant: str) -> tuple[Exposed, ...]:
    """Return everything that an assistant may use; kept until the home changes."""
    return home_cache(hass).get(assistant, "exposed", lambda: _exposed_things(hass, assistant))


def _exposed_things(hass: HomeAssistant, assistant: str) -> tuple[Exposed, ...]:
    entities = er.async_get(hass)
    found: list[Exposed] = []
    for state in hass.states.async_all():
        if async_should_expose(hass, assistant, state.entity_id):
            entry = entities.async_get(state.entity_id)
            names = intent.async_get_entity_aliases(hass, entry, state=state)
            found.append(Exposed(state.entity_id, state.domain, tuple(filter(None, names)), area_of(hass, entry)))
    return tuple(found)


def area_of(hass: HomeAssistant, entry: er.RegistryEntry | None) -> ar.AreaEntry | None:
    """Return the area of an entity, which is its own or that of its device."""
    if entry is None:
        return None
    area_id = entry.area_id
    if area_id is None and entry.device_id and (device := dr.async_get(hass).async_get(entry.device_id)):
        area_id = dr.async_get_effective_area_id(hass, device)
    return ar.async_get(hass).async_get_area(area_id) if area_id else None


@callback
def exposed_entities(hass: HomeAssistant) -> list[str]:
    """Return the entities that voice assistants may use."""
    return [
        entity_id
        for entity_id in hass.states.async_entity_ids()
        if async_should_expose(hass, conversation.DOMAIN, entity_id)
    ]


@callback
def exposed_domains(hass: HomeAssistant) -> Counter[str]:
    """Return how many entities of each domain they may use."""
    return Counter(split_entity_id(entity_id)[0] for entity_id in exposed_entities(hass))


@callback
def exposed_areas(hass: HomeAssistant) -> Counter[str]:
    """Return how many entities of each area, by its id, they may use."""
    areas = (_area_of(hass, entity_id) for entity_id in exposed_entities(hass))
    return Counter(area.id for area in areas if area is not None)


@callback
def async_hide(hass: HomeAssistant, domains: Collection[str], areas: Collection[str]) -> None:
    """Take all entities of these domains and of these areas from voice assistants."""
    for entity_id in exposed_entities(hass):
        area = _area_of(hass, entity_id)
        if split_entity_id(entity_id)[0] in domains or (area is not None and area.id in areas):
            async_expose_entity(hass, conversation.DOMAIN, entity_id, should_expose=False)


def _area_of(hass: HomeAssistant, entity_id: str) -> ar.AreaEntry | None:
    return area_of(hass, er.async_get(hass).async_get(entity_id))


@dataclass(frozen=True, slots=True)
class Named:
    """One name of a thing: `key` tells which thing, `areas` are all names of the area it is in."""

    name: str
    key: str
    areas: tuple[str, ...] = ()


type Inventory = dict[str, list[Named]]


@callback
def inventory(hass: HomeAssistant, assistant: str) -> Inventory:
    """Return what is there by what names it: "name", "area", "floor" and "domain". The last three exposed or not.

    It is kept until the home changes; callers leave it as it is.
    """
    return home_cache(hass).get(assistant, "inventory", lambda: _inventory(hass, assistant))


def _inventory(hass: HomeAssistant, assistant: str) -> Inventory:
    things = exposed_things(hass, assistant)
    areas = ar.async_get(hass).async_list_areas()
    floors = fr.async_get(hass).async_list_floors()
    return {
        "name": [Named(name, thing.entity_id, _names_of(thing.area)) for thing in things for name in thing.names],
        "area": [Named(name, area.id) for area in areas for name in _names_of(area)],
        "floor": [Named(name, floor.floor_id) for floor in floors for name in (floor.name, *sorted(floor.aliases))],
        "domain": [Named(domain, domain) for domain in dict.fromkeys(thing.domain for thing in things if thing.names)],
    }


def _names_of(area: ar.AreaEntry | None) -> tuple[str, ...]:
    return (area.name, *sorted(area.aliases)) if area else ()
