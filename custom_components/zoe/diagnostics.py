"""What a report of an error should have with it, and no word of the household in it.

Only what is named here is told: no key, no address, no title, no name of a device or an area, nothing that anybody said
or wrote, and no text of an error, which may quote any of these.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import CONF_API_KEY, CONF_LLM_HASS_API, CONF_PROMPT, CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm
from yarl import URL

from .api.errors import ZoeError
from .coordinator import ZoeConfigEntry, ZoeCoordinator
from .home import exposed_areas, exposed_domains
from .options import AgentOptions

_MOST_REQUESTS: Final = 20
_REQUEST_FIELDS: Final = (
    *("began_at", "age_s", "phase", "method", "path", "asked", "rule", "model", "adapter", "fallback"),
    *("prompt_tokens", "cached_tokens", "completion_tokens", "first_token_s", "finish", "status", "error"),
)
"""What is told of a request; the server knows its client as well, and its prompt if it was told to keep that."""


async def async_get_config_entry_diagnostics(hass: HomeAssistant, entry: ZoeConfigEntry) -> dict[str, Any]:
    """Return what is known of a server and its agents."""
    coordinator = entry.runtime_data
    return {
        "entry": {
            "scheme": URL(entry.data[CONF_URL]).scheme,
            "has_api_key": bool(entry.data.get(CONF_API_KEY)),
            "known_by_id": entry.unique_id not in (None, entry.data[CONF_URL]),
        },
        "agents": [_agent(subentry) for subentry in entry.subentries.values()],
        "last_poll": {"succeeded": coordinator.last_update_success, "error": _kind(coordinator.last_exception)},
        "status": _status(coordinator),
        "last_route": None if coordinator.route is None else asdict(coordinator.route),
        "exposed_entities": dict(exposed_domains(hass)),
        "exposed_areas": len(exposed_areas(hass)),
        "requests": await _async_requests(coordinator),
    }


def _agent(subentry: ConfigSubentry) -> dict[str, Any]:
    """Return the choices of an agent; of its instructions and additional fields only that there are some."""
    options = asdict(AgentOptions.from_data(subentry.data))
    apis = subentry.data.get(CONF_LLM_HASS_API, ())
    return {
        **options,
        "type": subentry.subentry_type,
        "request_fields": len(options["request_fields"]),
        "has_instructions": bool(subentry.data.get(CONF_PROMPT)),
        "controls_home": llm.LLM_API_ASSIST in apis,
        "other_apis": len(set(apis) - {llm.LLM_API_ASSIST}),
    }


def _status(coordinator: ZoeCoordinator) -> dict[str, Any]:
    status = coordinator.data
    health = status.health
    return {
        "health": {
            "ready": health.ready,
            "will_change": health.will_change,
            "version": health.version,
            "api_version": health.api_version,
        },
        "models": [{"name": one.name, "state": one.state, "roles": one.roles} for one in status.models],
        "model_names": coordinator.model_names,
        "metrics": asdict(status.metrics),
        "speed": asdict(status.speed),
    }


async def _async_requests(coordinator: ZoeCoordinator) -> list[dict[str, Any]] | str:
    """Return the server's accounts of its last requests, or why there are none."""
    try:
        requests = await coordinator.client.async_recent_requests()
    except ZoeError as err:
        return type(err).__name__
    return [_request(request) for request in requests[:_MOST_REQUESTS]]


def _request(request: Mapping[str, Any]) -> dict[str, Any]:
    calls = request.get("tool_calls")
    told = {key: request[key] for key in _REQUEST_FIELDS if key in request}
    return {**told, "tool_calls": len(calls) if isinstance(calls, dict) else None}


def _kind(err: BaseException | None) -> str | None:
    return None if err is None else type(err).__name__
