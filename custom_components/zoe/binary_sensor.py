"""Whether the server answers and is ready."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, override

from homeassistant.components.binary_sensor import (
    BinarySensorDeviceClass,
    BinarySensorEntity,
    BinarySensorEntityDescription,
)
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .coordinator import ZoeConfigEntry, ZoeCoordinator
from .entity import ZoeServerEntity

PARALLEL_UPDATES = 0


@dataclass(frozen=True, kw_only=True)
class ZoeBinarySensorDescription(BinarySensorEntityDescription):
    """Something about the server that is so or not."""

    is_on_fn: Callable[[ZoeCoordinator], bool]


BINARY_SENSORS: Final = (
    ZoeBinarySensorDescription(
        key="ready",
        translation_key="ready",
        device_class=BinarySensorDeviceClass.CONNECTIVITY,
        is_on_fn=lambda coordinator: coordinator.usable,
    ),
)


async def async_setup_entry(
    hass: HomeAssistant, entry: ZoeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the binary sensors."""
    async_add_entities(ZoeBinarySensor(entry.runtime_data, description) for description in BINARY_SENSORS)


class ZoeBinarySensor(ZoeServerEntity, BinarySensorEntity):
    """Says whether the others are available, so it always is itself: a server that cannot be reached is not ready."""

    entity_description: ZoeBinarySensorDescription

    @property
    @override
    def available(self) -> bool:
        """Return true."""
        return True

    @property
    @override
    def is_on(self) -> bool:
        """Return whether it is so."""
        return self.entity_description.is_on_fn(self.coordinator)
