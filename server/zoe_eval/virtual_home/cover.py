"""Virtual covers: open, closed, and a position where the inventory gives one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from homeassistant.components.cover import ATTR_POSITION, CoverDeviceClass, CoverEntity, CoverEntityFeature

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the cover entities of the inventory."""
    async_add_entities(VirtualCover(device) for device in entry.runtime_data.of_domain("cover"))


class VirtualCover(VirtualEntity, CoverEntity):
    """A cover that moves at once; the position is 0 (closed) to 100 (open)."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._position = int(device.options.get("position", 100 if device.state == "open" else 0))
        self._attr_supported_features = CoverEntityFeature.OPEN | CoverEntityFeature.CLOSE
        if "position" in device.features:
            self._attr_supported_features |= CoverEntityFeature.SET_POSITION
        if device_class := device.options.get("device_class"):
            self._attr_device_class = CoverDeviceClass(device_class)

    @property
    @override
    def current_cover_position(self) -> int | None:
        """The position, where the cover knows it."""
        return self._position if "position" in self.device.features else None

    @property
    @override
    def is_closed(self) -> bool:
        """Whether it is closed."""
        return self._position == 0

    def _move(self, position: int) -> None:
        self._position = position
        self.async_write_ha_state()

    @override
    async def async_open_cover(self, **kwargs: Any) -> None:
        """Open it."""
        self._move(100)

    @override
    async def async_close_cover(self, **kwargs: Any) -> None:
        """Close it."""
        self._move(0)

    @override
    async def async_set_cover_position(self, **kwargs: Any) -> None:
        """Move it to a position."""
        self._move(int(kwargs[ATTR_POSITION]))
