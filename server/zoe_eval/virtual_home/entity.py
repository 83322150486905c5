"""What all virtual entities share: identity, name and area come from the inventory."""

from __future__ import annotations

from typing import override

from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.entity import Entity

from .inventory import Device


class VirtualEntity(Entity):
    """An entity that keeps its state in memory and acts at once."""

    _attr_should_poll = False

    def __init__(self, device: Device) -> None:
        self.device = device
        self.entity_id = device.entity_id
        self._attr_unique_id = device.entity_id
        self._attr_name = device.name

    @override
    async def async_added_to_hass(self) -> None:
        """Put the entity into its area and give it its aliases."""
        registry = er.async_get(self.hass)
        area = ar.async_get(self.hass).async_get_area_by_name(self.device.area) if self.device.area else None
        registry.async_update_entity(
            self.entity_id,
            area_id=area.id if area else None,
            aliases=[er.COMPUTED_NAME, *self.device.aliases],
        )
