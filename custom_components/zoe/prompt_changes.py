"""When the prompts of a home change: what is exposed, how it is called, where it is, and which tools there are.

A state alone changes no prompt. What this cannot see: what a user's own prompt template reads.
"""

from collections.abc import Callable
from typing import Any, Final

from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_listen_entity_updates
from homeassistant.const import (
    EVENT_COMPONENT_LOADED,
    EVENT_CORE_CONFIG_UPDATE,
    EVENT_STATE_CHANGED,
    STATE_UNAVAILABLE,
)
from homeassistant.core import CALLBACK_TYPE, Event, EventStateChangedData, HomeAssistant, State, callback
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr

_EVENTS: Final = (
    EVENT_COMPONENT_LOADED,
    EVENT_CORE_CONFIG_UPDATE,
    ar.EVENT_AREA_REGISTRY_UPDATED,
    dr.EVENT_DEVICE_REGISTRY_UPDATED,
    er.EVENT_ENTITY_REGISTRY_UPDATED,
    fr.EVENT_FLOOR_REGISTRY_UPDATED,
)
_SATELLITES: Final = "assist_satellite"


@callback
def async_listen_prompt_changes(hass: HomeAssistant, listener: Callable[[], None]) -> CALLBACK_TYPE:
    """Call `listener` whenever a prompt may have changed, often in vain; returns what ends that."""

    @callback
    def changed(event: Event[Any]) -> None:
        del event
        listener()

    ends = [hass.bus.async_listen(event_type, changed) for event_type in _EVENTS]
    ends.append(hass.bus.async_listen(EVENT_STATE_CHANGED, changed, event_filter=_matters))
    ends.append(async_listen_entity_updates(hass, conversation.DOMAIN, listener))

    @callback
    def end() -> None:
        for one in ends:
            one()

    return end


@callback
def _matters(data: EventStateChangedData) -> bool:
    """Return whether a state came, went or has another name; or a satellite came, and with it perhaps its timers."""
    old, new = data["old_state"], data["new_state"]
    if old is None or new is None or old.name != new.name:
        return True
    return new.domain == _SATELLITES and _is_away(old) != _is_away(new)


def _is_away(state: State) -> bool:
    return state.state == STATE_UNAVAILABLE
