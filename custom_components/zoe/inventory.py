"""The things and places of a home that a tool call may name, with all their names (for `names.resolve`)."""

from homeassistant.components.homeassistant.exposed_entities import async_should_expose
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers import intent

from .grounding import area_of
from .names import Named

type Inventory = dict[str, list[Named]]


@callback
def inventory(hass: HomeAssistant, assistant: str) -> Inventory:
    """Return what is there by what names it: "name", "area", "floor" and "domain". The last three exposed or not."""
    entities = list(_entities(hass, assistant))
    domains = dict.fromkeys(named.key.partition(".")[0] for named in entities)
    areas = ar.async_get(hass).async_list_areas()
    floors = fr.async_get(hass).async_list_floors()
    return {
        "name": entities,
        "area": [Named(name, area.id) for area in areas for name in (area.name, *sorted(area.aliases))],
        "floor": [Named(name, floor.floor_id) for floor in floors for name in (floor.name, *sorted(floor.aliases))],
        "domain": [Named(domain, domain) for domain in domains],
    }


def _entities(hass: HomeAssistant, assistant: str) -> list[Named]:
    registry = er.async_get(hass)
    found: list[Named] = []
    for state in hass.states.async_all():
        if not async_should_expose(hass, assistant, state.entity_id):
            continue
        entry = registry.async_get(state.entity_id)
        area = area_of(hass, entry)
        areas = (area.name, *sorted(area.aliases)) if area else ()
        names = intent.async_get_entity_aliases(hass, entry, state=state)
        found += [Named(name, state.entity_id, areas) for name in names if name]
    return found
