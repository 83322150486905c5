"""Whether a server can be used with an address and a key: what every dialog that changes one of them has to know."""

from collections.abc import Mapping
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_API_KEY, CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from .client import ZoeClient, normalised_url
from .errors import ZoeError, ZoeOtherServerError
from .models import Health

# What the forms tell apart; any other failure of the server reads "cannot connect".
FORM_ERRORS: Final = frozenset(
    {"invalid_url", "cannot_connect", "invalid_auth", "not_zoe", "other_server", "server_too_old", "loading"}
)


def client_for(hass: HomeAssistant, data: Mapping[str, Any]) -> ZoeClient:
    """Return a client of the server at the address in `data`, with the key that is there, if any."""
    return ZoeClient(async_get_clientsession(hass), data[CONF_URL], data.get(CONF_API_KEY))


async def async_reach(hass: HomeAssistant, url: str) -> Health:
    """Ask who is there, without a key, and see that it can be used.

    Raises:
        ZoeError: it cannot.
    """
    health = await client_for(hass, {CONF_URL: url}).async_health()
    health.raise_if_outdated()
    health.raise_if_not_ready()
    return health


async def async_verify(hass: HomeAssistant, entry: ConfigEntry, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of `entry` with `changes`, after the server has been reached with them.

    Raises:
        ZoeOtherServerError: another server answers; it gets no key.
        ZoeError: the server cannot be used so.
    """
    data = {**entry.data, **changes}
    data[CONF_URL] = normalised_url(data[CONF_URL])
    health = await async_reach(hass, data[CONF_URL])
    if _is_other_server(entry, health):
        raise ZoeOtherServerError(f"its id is {health.server_id}")
    await client_for(hass, data).async_models()
    return data


def form_errors(err: ZoeError) -> dict[str, str]:
    """Return `err` as the errors of a form."""
    return {"base": err.translation_key if err.translation_key in FORM_ERRORS else "cannot_connect"}


def _is_other_server(entry: ConfigEntry, health: Health) -> bool:
    """Return whether a server is surely not that of `entry`; of one that is known by its address nobody can tell."""
    if health.server_id is None or entry.unique_id == entry.data[CONF_URL]:
        return False
    return health.server_id != entry.unique_id
