"""Virtual locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from homeassistant.components.lock import LockEntity

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the lock entities of the inventory."""
    async_add_entities(VirtualLock(device) for device in entry.runtime_data.of_domain("lock"))


class VirtualLock(VirtualEntity, LockEntity):
    """A lock that turns at once."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._attr_is_locked = device.state == "locked"

    @override
    async def async_lock(self, **kwargs: Any) -> None:
        """Lock it."""
        self._attr_is_locked = True
        self.async_write_ha_state()

    @override
    async def async_unlock(self, **kwargs: Any) -> None:
        """Unlock it."""
        self._attr_is_locked = False
        self.async_write_ha_state()
