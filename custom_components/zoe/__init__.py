"""Zoe: a private voice brain for Home Assistant."""

from typing import NoReturn

from homeassistant.const import CONF_API_KEY, CONF_URL, Platform
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ConfigEntryAuthFailed, ConfigEntryNotReady
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from .client import ZoeClient
from .const import DOMAIN
from .errors import ZoeError, ZoeUnauthorizedError
from .memory import async_load_memory
from .models import ZoeConfigEntry, ZoeData

PLATFORMS = (Platform.AI_TASK, Platform.CONVERSATION)


async def async_setup_entry(hass: HomeAssistant, entry: ZoeConfigEntry) -> bool:
    """Connect to the server and set up its agents."""
    try:
        entry.runtime_data = await _async_connect(hass, entry)
    except ZoeError as err:
        _raise_setup_error(err)
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    entry.async_on_unload(entry.add_update_listener(_async_reload))
    return True


async def async_unload_entry(hass: HomeAssistant, entry: ZoeConfigEntry) -> bool:
    """Remove the agents."""
    return await hass.config_entries.async_unload_platforms(entry, PLATFORMS)


async def async_remove_entry(hass: HomeAssistant, entry: ZoeConfigEntry) -> None:
    """Forget what the household told its agents, with the last server that there was."""
    if not [other for other in hass.config_entries.async_entries(DOMAIN) if other.entry_id != entry.entry_id]:
        await (await async_load_memory(hass)).async_clear()


async def _async_connect(hass: HomeAssistant, entry: ZoeConfigEntry) -> ZoeData:
    client = ZoeClient(async_get_clientsession(hass), entry.data[CONF_URL], entry.data.get(CONF_API_KEY))
    health = await client.async_health()
    health.raise_if_not_ready()
    return ZoeData(client=client, health=health, models=await client.async_models())


def _raise_setup_error(err: ZoeError) -> NoReturn:
    """Raise what makes Home Assistant ask for a new key, or try again later."""
    kind = ConfigEntryAuthFailed if isinstance(err, ZoeUnauthorizedError) else ConfigEntryNotReady
    raise kind(
        translation_domain=DOMAIN,
        translation_key=err.translation_key,
        translation_placeholders=err.placeholders,
    ) from err


async def _async_reload(hass: HomeAssistant, entry: ZoeConfigEntry) -> None:
    """Apply changed data or subentries: they take effect only when the entry is set up again."""
    hass.config_entries.async_schedule_reload(entry.entry_id)
