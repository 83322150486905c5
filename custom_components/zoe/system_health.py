"""Zoe's part of the page Settings > System > Repairs > System information: its servers, and what they run."""

from typing import Any

from homeassistant.components import system_health
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant, callback

from .api.status import READY
from .const import DOMAIN
from .coordinator import ZoeConfigEntry


@callback
def async_register(hass: HomeAssistant, register: system_health.SystemHealthRegistration) -> None:
    """Register what is told."""
    register.async_register_info(_async_info)


async def _async_info(hass: HomeAssistant) -> dict[str, Any]:
    entries: list[ZoeConfigEntry] = hass.config_entries.async_entries(DOMAIN)
    loaded = [entry for entry in entries if entry.state is ConfigEntryState.LOADED]
    coordinators = [entry.runtime_data for entry in loaded]
    healths = [coordinator.data.health for coordinator in coordinators]
    models = [model.name for one in coordinators for model in one.data.models if model.state == READY]
    return {
        "servers_connected": f"{sum(one.last_update_success for one in coordinators)} of {len(entries)}",
        "servers_ready": sum(health.ready for health in healths),
        "server_versions": ", ".join(sorted({health.version or "?" for health in healths})),
        "models_loaded": ", ".join(models),
    }
