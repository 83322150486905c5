"""What of the home voice assistants may use, by domain and by area, and how to take some of it from them.

Home Assistant keeps one list for all agents, and makes their prompts of it.
"""

from collections import Counter
from collections.abc import Collection

from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity, async_should_expose
from homeassistant.core import HomeAssistant, callback, split_entity_id
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er

from .grounding import area_of


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
