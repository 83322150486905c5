"""Which changes of the home may change the prompt of an agent.

In a prompt are the names, areas and domains of what is exposed, the area and floor of whoever speaks, and the tools.
What was in it when somebody last looked (`home.PromptedHome`) tells what may leave it; the change tells what gets in.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_listen_entity_updates, async_should_expose
from homeassistant.const import (
    EVENT_COMPONENT_LOADED,
    EVENT_CORE_CONFIG_UPDATE,
    EVENT_SERVICE_REGISTERED,
    EVENT_SERVICE_REMOVED,
    EVENT_STATE_CHANGED,
    STATE_UNAVAILABLE,
)
from homeassistant.core import CALLBACK_TYPE, Event, EventStateChangedData, HomeAssistant, State, callback
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr

from .home import PromptedHome, names_changed

_SATELLITES: Final = "assist_satellite"
_SCRIPTS: Final = "script"
_CREATED: Final = "create"
_UPDATED: Final = "update"
# What of an entry is in a prompt, directly or as a part of the full name.
_ENTITY_FIELDS: Final = frozenset(
    {"aliases", "area_id", "device_id", "disabled_by", "entity_id", "has_entity_name", "name", "next_name_part"}
    | {"original_name", "original_name_unprefixed"}
)
_DEVICE_FIELDS: Final = frozenset({"area_id", "disabled_by", "name", "name_by_user", "next_name_part"})


class PromptChanges:
    """Calls `listener` for each change that may be one of a prompt; `speakers` are the devices that people speak to."""

    def __init__(
        self, hass: HomeAssistant, listener: Callable[[], None], speakers: Callable[[], Collection[str]]
    ) -> None:
        self._hass = hass
        self._listener = listener
        self._speakers = speakers
        self._told: PromptedHome | None = None

    @callback
    def async_look(self) -> None:
        """Take note of what is in prompts now; before the first time, every change may matter."""
        self._told = PromptedHome.of(self._hass, self._speakers())

    @callback
    def async_start(self) -> CALLBACK_TYPE:
        """Begin to listen; returns what ends that."""
        hass, listen = self._hass, self._hass.bus.async_listen
        ends = [
            listen(EVENT_COMPONENT_LOADED, self._async_changed),
            listen(EVENT_CORE_CONFIG_UPDATE, self._async_changed),
            listen(EVENT_SERVICE_REGISTERED, self._async_changed, event_filter=_is_script),
            listen(EVENT_SERVICE_REMOVED, self._async_changed, event_filter=_is_script),
            listen(EVENT_STATE_CHANGED, self._async_changed, event_filter=self._state_matters),
            listen(er.EVENT_ENTITY_REGISTRY_UPDATED, self._async_changed, event_filter=self._entity_matters),
            listen(dr.EVENT_DEVICE_REGISTRY_UPDATED, self._async_changed, event_filter=self._device_matters),
            listen(ar.EVENT_AREA_REGISTRY_UPDATED, self._async_changed, event_filter=self._area_matters),
            listen(fr.EVENT_FLOOR_REGISTRY_UPDATED, self._async_changed, event_filter=self._floor_matters),
            async_listen_entity_updates(hass, conversation.DOMAIN, self._listener),
        ]

        @callback
        def end() -> None:
            for one in ends:
                one()

        return end

    @callback
    def _async_changed(self, event: Event[Any]) -> None:
        del event
        self._listener()

    @callback
    def _state_matters(self, data: EventStateChangedData) -> bool:
        """Return whether something exposed came, went or has another name; or a satellite came, perhaps with timers."""
        old, new = data["old_state"], data["new_state"]
        if old is not None and new is not None and new.domain == _SATELLITES and _is_away(old) != _is_away(new):
            return True
        return names_changed(data) and (
            self._was_told(data["entity_id"]) or (new is not None and self._is_exposed(new))
        )

    def _is_exposed(self, state: State) -> bool:
        return async_should_expose(self._hass, conversation.DOMAIN, state.entity_id)

    def _was_told(self, entity_id: str) -> bool:
        return self._told is None or entity_id in self._told.entities

    @callback
    def _entity_matters(self, data: er.EventEntityRegistryUpdatedData) -> bool:
        """Return whether something exposed was changed in a way that a prompt tells; states tell what is new."""
        if data["action"] == _CREATED:
            return False
        entity_id = data["entity_id"]
        if data["action"] == _UPDATED and not self._is_told(entity_id, data["changes"]):
            return False
        if self._was_told(entity_id) or self._was_told(str(data.get("old_entity_id"))):
            return True
        state = self._hass.states.get(entity_id) if data["action"] == _UPDATED else None
        return state is not None and self._is_exposed(state)

    def _is_told(self, entity_id: str, changes: Mapping[str, Any]) -> bool:
        """Return whether a prompt tells anything of these changes of an entry, which have the former values."""
        if _ENTITY_FIELDS & changes.keys():
            return True
        entry = er.async_get(self._hass).async_get(entity_id)
        now = entry.options.get(conversation.DOMAIN) if entry else None
        return "options" in changes and changes["options"].get(conversation.DOMAIN) != now

    @callback
    def _device_matters(self, data: dr.EventDeviceRegistryUpdatedData) -> bool:
        """Return whether the device of something exposed, or a satellite, has another name or place."""
        if data["action"] != _UPDATED or not _DEVICE_FIELDS & data["changes"].keys():
            return False
        return self._told is None or data["device_id"] in self._told.devices

    @callback
    def _area_matters(self, data: Mapping[str, Any]) -> bool:
        return self._place_matters(data, data["area_id"], None if self._told is None else self._told.areas)

    @callback
    def _floor_matters(self, data: Mapping[str, Any]) -> bool:
        return self._place_matters(data, data["floor_id"], None if self._told is None else self._told.floors)

    def _place_matters(self, data: Mapping[str, Any], place: str | None, told: Collection[str] | None) -> bool:
        """Return whether something exposed is there; where nothing is, no prompt tells of it."""
        action: str = data["action"]
        return action != _CREATED and (told is None or place in told)


@callback
def _is_script(data: Mapping[str, Any]) -> bool:
    """Return whether an action is one of those that are tools."""
    domain: str = data["domain"]
    return domain == _SCRIPTS


def _is_away(state: State) -> bool:
    return state.state == STATE_UNAVAILABLE
