"""Virtual binary sensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeassistant.components.binary_sensor import BinarySensorDeviceClass, BinarySensorEntity

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the binary_sensor entities of the inventory."""
    async_add_entities(VirtualBinarySensor(device) for device in entry.runtime_data.of_domain("binary_sensor"))


class VirtualBinarySensor(VirtualEntity, BinarySensorEntity):
    """A sensor that stays as the inventory says."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._attr_is_on = device.state == "on"
        if device_class := device.options.get("device_class"):
            self._attr_device_class = BinarySensorDeviceClass(device_class)
