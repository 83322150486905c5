"""What was found out about the home, kept until the home changes.

There is one for each Home Assistant, and it forgets everything at once: after any change of a registry, of what is
exposed, of the name of a state, of actions and of components. Home Assistant calls its listeners while it fires an
event, so nobody can ask between a change and the forgetting.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, cast

from homeassistant.components.homeassistant.exposed_entities import async_listen_entity_updates
from homeassistant.const import (
    EVENT_COMPONENT_LOADED,
    EVENT_CORE_CONFIG_UPDATE,
    EVENT_SERVICE_REGISTERED,
    EVENT_SERVICE_REMOVED,
    EVENT_STATE_CHANGED,
)
from homeassistant.core import Event, EventStateChangedData, HomeAssistant, callback
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers.singleton import singleton
from homeassistant.util.hass_dict import HassKey

from ..const import DOMAIN

MAX_KEPT: Final = 1024
"""So many lasting answers are kept; tools that are new with every request would fill the memory."""

_EVENTS: Final = (
    EVENT_COMPONENT_LOADED,
    EVENT_CORE_CONFIG_UPDATE,
    EVENT_SERVICE_REGISTERED,
    EVENT_SERVICE_REMOVED,
    ar.EVENT_AREA_REGISTRY_UPDATED,
    dr.EVENT_DEVICE_REGISTRY_UPDATED,
    er.EVENT_ENTITY_REGISTRY_UPDATED,
    fr.EVENT_FLOOR_REGISTRY_UPDATED,
)


class HomeCache:
    """Answers that hold as long as the home is as it is."""

    def __init__(self, hass: HomeAssistant) -> None:
        self._hass = hass
        self._kept: dict[Hashable, object] = {}
        self._lasting: dict[Hashable, object] = {}
        self._version = 0
        self._assistants: set[str] = set()
        for event_type in _EVENTS:
            hass.bus.async_listen(event_type, self._async_changed)
        hass.bus.async_listen(EVENT_STATE_CHANGED, self._async_changed, event_filter=names_changed)

    @callback
    def get[T](self, assistant: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned since the last change for a key, which is about what an assistant may use.

        Callers leave it as it is. What changes while it is made is not kept: asking what is exposed may decide it.
        """
        if assistant not in self._assistants:
            self._assistants.add(assistant)
            async_listen_entity_updates(self._hass, assistant, self._forget)
        whole_key = (assistant, key)
        if whole_key in self._kept:
            return cast("T", self._kept[whole_key])
        version = self._version
        value = make()
        if version == self._version:
            self._kept[whole_key] = value
        return value

    @callback
    def lasting[T](self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned the first time for a key that says all that it depends on."""
        if key not in self._lasting:
            if len(self._lasting) >= MAX_KEPT:
                self._lasting.clear()
            self._lasting[key] = make()
        return cast("T", self._lasting[key])

    @callback
    def _async_changed(self, event: Event[Any]) -> None:
        del event
        self._forget()

    @callback
    def _forget(self) -> None:
        self._version += 1
        self._kept.clear()


@callback
def names_changed(data: EventStateChangedData) -> bool:
    """Return whether a state came, went or has another name."""
    old, new = data["old_state"], data["new_state"]
    return old is None or new is None or old.name != new.name


DATA_CACHE: HassKey[HomeCache] = HassKey(f"{DOMAIN}_home")


@singleton(DATA_CACHE)
@callback
def home_cache(hass: HomeAssistant) -> HomeCache:
    """Return the cache of this Home Assistant."""
    return HomeCache(hass)
