"""Which devices people speak to, and in which language: those whose prompts are worth computing ahead of time.

Kept over restarts of Home Assistant, because that is when it counts.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.singleton import singleton
from homeassistant.helpers.storage import Store
from homeassistant.util.hass_dict import HassKey

from .const import DOMAIN

MAX_PER_AGENT: Final = 6
"""So many prompts are kept for one agent; a server has not many more places for them."""

_VERSION: Final = 1
_SAVE_DELAY_S: Final = 10.0


class Satellite(NamedTuple):
    """A device, None for a text field, and the tag of the language that is spoken to it."""

    device_id: str | None
    language: str


type Stored = dict[str, list[list[str | None]]]


class Satellites:
    """For each agent, by its id, the satellites that were used, the last one first."""

    def __init__(self, hass: HomeAssistant, store: Store[Stored], stored: Mapping[str, Any]) -> None:
        self._hass = hass
        self._store = store
        self._seen = {agent: [Satellite(*pair) for pair in pairs] for agent, pairs in stored.items()}

    @callback
    def seen(self, agent: str) -> list[Satellite]:
        """Return the satellites of an agent."""
        return list(self._seen.get(agent, ()))

    @callback
    def see(self, agent: str, satellite: Satellite) -> None:
        """Take note that a satellite was used; only a new one is worth a write to the disk."""
        before = self._seen.get(agent, [])
        self._seen[agent] = [satellite, *(other for other in before if other != satellite)][:MAX_PER_AGENT]
        if satellite not in before:
            self._store.async_delay_save(self._data, _SAVE_DELAY_S)

    async def async_clear(self) -> None:
        """Forget all of them, on the disk too."""
        self._seen.clear()
        await self._store.async_remove()

    @callback
    def _data(self) -> Stored:
        """Return what is stored: nothing of agents that are gone."""
        entries = self._hass.config_entries.async_entries(DOMAIN)
        agents = {agent for entry in entries for agent in entry.subentries}
        return {agent: [list(one) for one in seen] for agent, seen in self._seen.items() if agent in agents}


DATA_SATELLITES: HassKey[Satellites] = HassKey(f"{DOMAIN}_satellites")


@singleton(DATA_SATELLITES, async_=True)
async def async_load_satellites(hass: HomeAssistant) -> Satellites:
    """Return the satellites of all agents, read from the disk the first time."""
    store: Store[Stored] = Store(hass, _VERSION, f"{DOMAIN}.satellites")
    return Satellites(hass, store, await store.async_load() or {})
