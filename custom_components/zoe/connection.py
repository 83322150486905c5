"""Whether a server can be used, as dialogs ask it: who is there, is it the one that was meant, does it take the key?"""

from collections.abc import Mapping
from ipaddress import ip_address
from itertools import chain, count
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_URL
from homeassistant.core import HomeAssistant, callback
from yarl import URL

from .api.client import normalised_url
from .api.errors import ZoeError, ZoeOtherServerError, ZoeUnauthorizedError
from .api.openai_client import client_for
from .api.status import Health
from .const import CONF_SERVER, DOMAIN, SERVER_OPENAI

# What the forms tell apart; any other failure of the server reads "cannot connect".
FORM_ERRORS: Final = frozenset(
    {"invalid_url", "cannot_connect", "invalid_auth", "not_zoe", "other_server", "server_too_old", "loading"}
)


async def async_reach(hass: HomeAssistant, url: str) -> Health:
    """Ask who is there, without a key, and see that it can be used.

    Raises:
        ZoeError: it cannot.
    """
    health = await client_for(hass, {CONF_URL: url}).async_health()
    health.raise_if_outdated()
    health.raise_if_not_ready()
    return health


async def async_speaks_openai(hass: HomeAssistant, url: str) -> bool:
    """Return whether a server that is not Zoe's lists models as OpenAI's API has them, or wants a key for it."""
    try:
        await client_for(hass, {CONF_URL: url, CONF_SERVER: SERVER_OPENAI}).async_models()
    except ZoeUnauthorizedError:
        return True
    except ZoeError:
        return False
    return True


async def async_verify(hass: HomeAssistant, entry: ConfigEntry, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of `entry` with `changes`, after the server has been reached with them.

    Raises:
        ZoeOtherServerError: another server answers; it gets no key.
        ZoeError: the server cannot be used so.
    """
    data = {**entry.data, **changes}
    data[CONF_URL] = normalised_url(data[CONF_URL])
    if data.get(CONF_SERVER) == SERVER_OPENAI:
        await client_for(hass, data).async_models()
        return data
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


def is_loopback(url: str) -> bool:
    """Return whether the server is on this very machine."""
    host = URL(url).host or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@callback
def free_title(hass: HomeAssistant, wanted: str, where: str = "") -> str:
    """Return a title that nothing of ours has: the one that is wanted, or with its place, or with a number behind."""
    entries = hass.config_entries.async_entries(DOMAIN)
    subentries = chain.from_iterable(entry.subentries.values() for entry in entries)
    taken = {title.casefold() for title in (*(one.title for one in entries), *(one.title for one in subentries))}
    placed = f"{wanted} ({where})" if where else wanted
    candidates = chain((wanted, placed), (f"{placed} {number}" for number in count(2)))
    return next(title for title in candidates if title.casefold() not in taken)
