"""Zoe: a private voice brain for Home Assistant."""

from homeassistant.const import CONF_URL, Platform
from homeassistant.core import HomeAssistant
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.typing import ConfigType

from .api.status import Health
from .const import CONF_SERVER, DOMAIN, SERVER_OPENAI
from .coordinator import ZoeConfigEntry, ZoeCoordinator
from .entity import server_device
from .issues import async_remove_all
from .memory import async_load_memory
from .services import async_setup_services
from .speaker import async_load_satellites

CONFIG_SCHEMA = cv.config_entry_only_config_schema(DOMAIN)
PLATFORMS = (Platform.AI_TASK, Platform.CONVERSATION)
# What shows and changes how the server is.
SERVER_PLATFORMS = (Platform.BINARY_SENSOR, Platform.BUTTON, Platform.SENSOR)


async def async_setup(hass: HomeAssistant, config: ConfigType) -> bool:
    """Register the actions."""
    async_setup_services(hass)
    return True


async def async_setup_entry(hass: HomeAssistant, entry: ZoeConfigEntry) -> bool:
    """Connect to the server and set up its agents."""
    coordinator = ZoeCoordinator(hass, entry)
    await coordinator.async_config_entry_first_refresh()
    entry.runtime_data = coordinator
    _adopt_server_id(hass, entry, coordinator.data.health)
    device = server_device(coordinator)
    dr.async_get(hass).async_get_or_create(config_entry_id=entry.entry_id, **device)
    await hass.config_entries.async_forward_entry_setups(entry, _platforms(entry))
    entry.async_on_unload(entry.add_update_listener(_async_reload))
    return True


async def async_unload_entry(hass: HomeAssistant, entry: ZoeConfigEntry) -> bool:
    """Remove the agents and what belongs to the server."""
    return await hass.config_entries.async_unload_platforms(entry, _platforms(entry))


async def async_remove_entry(hass: HomeAssistant, entry: ZoeConfigEntry) -> None:
    """Forget what was wrong with the server; with the last server, also what was told to its agents, and where."""
    async_remove_all(hass, entry)
    if not [other for other in hass.config_entries.async_entries(DOMAIN) if other.entry_id != entry.entry_id]:
        await (await async_load_memory(hass)).async_clear()
        await (await async_load_satellites(hass)).async_clear()


def _platforms(entry: ZoeConfigEntry) -> tuple[Platform, ...]:
    """Return what an entry has; only Zoe's own server tells how it is, and lets itself be changed."""
    is_zoe = entry.data.get(CONF_SERVER) != SERVER_OPENAI
    return (*PLATFORMS, *(SERVER_PLATFORMS if is_zoe else (Platform.BINARY_SENSOR,)))


def _adopt_server_id(hass: HomeAssistant, entry: ZoeConfigEntry, health: Health) -> None:
    """Know a server by the id that it has now, where it had none when it was connected."""
    known_by_address = entry.unique_id in (None, entry.data[CONF_URL])
    if health.server_id is None or not known_by_address:
        return
    if hass.config_entries.async_entry_for_domain_unique_id(DOMAIN, health.server_id) is None:
        hass.config_entries.async_update_entry(entry, unique_id=health.server_id)


async def _async_reload(hass: HomeAssistant, entry: ZoeConfigEntry) -> None:
    """Apply changed data or subentries: they take effect only when the entry is set up again."""
    hass.config_entries.async_schedule_reload(entry.entry_id)
