"""What a report of an error should have with it; no key, no address, and nothing that anybody said or wrote."""

from dataclasses import asdict
from typing import Any, Final

from homeassistant.components.diagnostics import async_redact_data
from homeassistant.const import CONF_API_KEY, CONF_PROMPT, CONF_URL
from homeassistant.core import HomeAssistant

from .errors import ZoeError
from .exposure import exposed_domains
from .models import ZoeConfigEntry

_TO_REDACT: Final = {CONF_API_KEY, CONF_URL, CONF_PROMPT, "unique_id", "server_id", "client"}
_MOST_REQUESTS: Final = 20


async def async_get_config_entry_diagnostics(hass: HomeAssistant, entry: ZoeConfigEntry) -> dict[str, Any]:
    """Return what is known of a server and its agents."""
    coordinator = entry.runtime_data.coordinator
    data = {
        "entry": {"data": dict(entry.data), "title": entry.title, "unique_id": entry.unique_id},
        "agents": [subentry.as_dict() for subentry in entry.subentries.values()],
        "last_poll": {"succeeded": coordinator.last_update_success, "error": _text(coordinator.last_exception)},
        "status": asdict(coordinator.data),
        "last_route": None if coordinator.route is None else asdict(coordinator.route),
        "exposed_entities": dict(exposed_domains(hass)),
        "requests": await _async_requests(entry),
    }
    return async_redact_data(data, _TO_REDACT)


async def _async_requests(entry: ZoeConfigEntry) -> list[dict[str, Any]] | str:
    """Return the server's accounts of its last requests, or why there are none."""
    try:
        return (await entry.runtime_data.client.async_recent_requests())[:_MOST_REQUESTS]
    except ZoeError as err:
        return _text(err) or type(err).__name__


def _text(err: BaseException | None) -> str | None:
    """Return the kind of an error; its words may name addresses."""
    return None if err is None else type(err).__name__
