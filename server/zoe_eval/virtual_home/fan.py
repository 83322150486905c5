"""Virtual fans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from homeassistant.components.fan import FanEntity, FanEntityFeature

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the fan entities of the inventory."""
    async_add_entities(VirtualFan(device) for device in entry.runtime_data.of_domain("fan"))


class VirtualFan(VirtualEntity, FanEntity):
    """A fan, with a speed in percent where the inventory says so."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._on = device.state == "on"
        self._attr_percentage = int(device.options.get("percentage", 50 if self._on else 0))
        self._attr_supported_features = FanEntityFeature.TURN_ON | FanEntityFeature.TURN_OFF
        if "speed" in device.features:
            self._attr_supported_features |= FanEntityFeature.SET_SPEED

    @property
    @override
    def is_on(self) -> bool:
        """Whether it turns."""
        return self._on

    @override
    async def async_turn_on(self, percentage: int | None = None, preset_mode: str | None = None, **kwargs: Any) -> None:
        """Switch on, at a speed if one is given."""
        self._on = True
        self._attr_percentage = percentage or self._attr_percentage or 50
        self.async_write_ha_state()

    @override
    async def async_turn_off(self, **kwargs: Any) -> None:
        """Switch off."""
        self._on = False
        self._attr_percentage = 0
        self.async_write_ha_state()

    @override
    async def async_set_percentage(self, percentage: int) -> None:
        """Set the speed in percent; 0 switches off."""
        self._on = percentage > 0
        self._attr_percentage = percentage
        self.async_write_ha_state()
