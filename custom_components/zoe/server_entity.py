"""The base of the entities on the server's device, which show or change how the server is."""

from collections.abc import Callable, Iterable

from homeassistant.const import EntityCategory
from homeassistant.core import callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.entity import Entity, EntityDescription
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.update_coordinator import CoordinatorEntity

from .const import DOMAIN
from .coordinator import ZoeCoordinator


def server_device(coordinator: ZoeCoordinator) -> dr.DeviceInfo:
    """Return the device of the server."""
    entry = coordinator.config_entry
    return dr.DeviceInfo(
        identifiers={(DOMAIN, entry.entry_id)},
        translation_key="server",
        translation_placeholders={"name": entry.title},
        manufacturer="Zoe",
        sw_version=coordinator.data.health.version,
        entry_type=dr.DeviceEntryType.SERVICE,
    )


class ZoeServerEntity(CoordinatorEntity[ZoeCoordinator]):
    """An entity of the server; `about` names what of it, where there are several of a kind."""

    _attr_has_entity_name = True
    _attr_entity_category = EntityCategory.DIAGNOSTIC

    def __init__(self, coordinator: ZoeCoordinator, description: EntityDescription, about: str = "") -> None:
        super().__init__(coordinator)
        self.entity_description = description
        self.about = about
        key = f"{description.key}_{about}" if about else description.key
        self._attr_unique_id = f"{coordinator.config_entry.entry_id}_{key}"
        self._attr_device_info = server_device(coordinator)
        if about:
            self._attr_translation_placeholders = {"about": about}


@callback
def async_add_as_they_appear(
    coordinator: ZoeCoordinator,
    add_entities: AddConfigEntryEntitiesCallback,
    present: Callable[[], Iterable[tuple[str, Callable[[], Entity]]]],
) -> None:
    """Add entities now, and those that appear with a later poll.

    `present` yields what there is at the moment: a name of its own, and what makes its entity.
    """
    known: set[str] = set()

    @callback
    def async_add_new() -> None:
        new = {name: make for name, make in present() if name not in known}
        known.update(new)
        if new:
            add_entities([make() for make in new.values()])

    async_add_new()
    coordinator.config_entry.async_on_unload(coordinator.async_add_listener(async_add_new))
