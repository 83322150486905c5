"""Whether the server answers and is ready."""

from typing import override

from homeassistant.components.binary_sensor import (
    BinarySensorDeviceClass,
    BinarySensorEntity,
    BinarySensorEntityDescription,
)
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .models import ZoeConfigEntry
from .server_entity import ZoeServerEntity

PARALLEL_UPDATES = 0

READY = BinarySensorEntityDescription(
    key="ready", translation_key="ready", device_class=BinarySensorDeviceClass.CONNECTIVITY
)


async def async_setup_entry(
    hass: HomeAssistant, entry: ZoeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the entity."""
    async_add_entities([ZoeReady(entry.runtime_data.coordinator, READY)])


class ZoeReady(ZoeServerEntity, BinarySensorEntity):
    """On while requests are answered; a server that cannot be reached is off, and not unknown."""

    @property
    @override
    def available(self) -> bool:
        """Return true: this is the entity that says whether the others are."""
        return True

    @property
    @override
    def is_on(self) -> bool:
        """Return whether the server is there and ready."""
        return self.coordinator.usable
