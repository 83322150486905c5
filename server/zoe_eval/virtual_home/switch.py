"""Virtual switches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from homeassistant.components.switch import SwitchDeviceClass, SwitchEntity

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the switch entities of the inventory."""
    async_add_entities(VirtualSwitch(device) for device in entry.runtime_data.of_domain("switch"))


class VirtualSwitch(VirtualEntity, SwitchEntity):
    """A switch or an outlet."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._attr_is_on = device.state == "on"
        if device_class := device.options.get("device_class"):
            self._attr_device_class = SwitchDeviceClass(device_class)

    @override
    async def async_turn_on(self, **kwargs: Any) -> None:
        """Switch on."""
        self._attr_is_on = True
        self.async_write_ha_state()

    @override
    async def async_turn_off(self, **kwargs: Any) -> None:
        """Switch off."""
        self._attr_is_on = False
        self.async_write_ha_state()
