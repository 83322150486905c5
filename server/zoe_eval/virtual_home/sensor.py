"""Virtual sensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeassistant.components.sensor import SensorDeviceClass, SensorEntity

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the sensor entities of the inventory."""
    async_add_entities(VirtualSensor(device) for device in entry.runtime_data.of_domain("sensor"))


class VirtualSensor(VirtualEntity, SensorEntity):
    """A sensor that stays as the inventory says; with a unit its state is a number."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        unit = device.options.get("unit")
        self._attr_native_unit_of_measurement = unit
        self._attr_native_value = float(device.state) if unit and device.state else device.state
        if device_class := device.options.get("device_class"):
            self._attr_device_class = SensorDeviceClass(device_class)
