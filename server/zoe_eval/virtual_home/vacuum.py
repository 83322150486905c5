"""Virtual vacuum cleaners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from homeassistant.components.vacuum import StateVacuumEntity, VacuumActivity, VacuumEntityFeature

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the vacuum entities of the inventory."""
    async_add_entities(VirtualVacuum(device) for device in entry.runtime_data.of_domain("vacuum"))


class VirtualVacuum(VirtualEntity, StateVacuumEntity):
    """A vacuum cleaner: docked, cleaning, returning, paused."""

    _attr_supported_features = (
        VacuumEntityFeature.STATE
        | VacuumEntityFeature.START
        | VacuumEntityFeature.PAUSE
        | VacuumEntityFeature.STOP
        | VacuumEntityFeature.RETURN_HOME
    )

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._attr_activity = VacuumActivity(device.state or "docked")

    def _become(self, activity: VacuumActivity) -> None:
        self._attr_activity = activity
        self.async_write_ha_state()

    @override
    async def async_start(self) -> None:
        """Start cleaning."""
        self._become(VacuumActivity.CLEANING)

    @override
    async def async_pause(self) -> None:
        """Pause."""
        self._become(VacuumActivity.PAUSED)

    @override
    async def async_stop(self, **kwargs: Any) -> None:
        """Stop where it stands."""
        self._become(VacuumActivity.IDLE)

    @override
    async def async_return_to_base(self, **kwargs: Any) -> None:
        """Go home."""
        self._become(VacuumActivity.RETURNING)
