"""Buttons: check the server, and load a model anew."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, override

from homeassistant.components.button import ButtonDeviceClass, ButtonEntity, ButtonEntityDescription
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity import Entity
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .coordinator import ZoeCoordinator
from .errors import translated_errors
from .models import ZoeConfigEntry
from .self_test import async_self_test
from .server_entity import ZoeServerEntity, async_add_as_they_appear

PARALLEL_UPDATES = 1

SELF_TEST: Final = ButtonEntityDescription(key="self_test", translation_key="self_test")
RELOAD_MODEL: Final = ButtonEntityDescription(
    key="reload_model",
    translation_key="reload_model",
    device_class=ButtonDeviceClass.RESTART,
    entity_registry_enabled_default=False,
)
_WAIT_S: Final = 60.0
"""How long the answers that a model is writing may take before it is loaded anew."""


async def async_setup_entry(
    hass: HomeAssistant, entry: ZoeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the buttons; one for each model."""
    coordinator = entry.runtime_data.coordinator
    async_add_entities([ZoeSelfTest(coordinator, SELF_TEST)])
    async_add_as_they_appear(coordinator, async_add_entities, partial(_present, coordinator))


def _present(coordinator: ZoeCoordinator) -> Iterator[tuple[str, Callable[[], Entity]]]:
    for model in coordinator.data.models:
        yield model.name, partial(ZoeReloadModel, coordinator, RELOAD_MODEL, model.name)


class ZoeSelfTest(ZoeServerEntity, ButtonEntity):
    """Checks whether models answer, call tools and can read this home; what is wrong is told under Repairs."""

    @override
    async def async_press(self) -> None:
        """Check it.

        Raises:
            HomeAssistantError: translated; the server or a model fails.
        """
        with translated_errors():
            await async_self_test(self.hass, self.coordinator.config_entry)
        await self.coordinator.async_request_refresh()


class ZoeReloadModel(ZoeServerEntity, ButtonEntity):
    """Takes a model out of memory and brings it back; out of quarantine, too."""

    @property
    @override
    def available(self) -> bool:
        """Return whether the server has the model; one that was taken from its configuration may come again."""
        return super().available and any(model.name == self.about for model in self.coordinator.data.models)

    @override
    async def async_press(self) -> None:
        """Load the model anew.

        Raises:
            HomeAssistantError: translated; it is still at work, or cannot be loaded.
        """
        client = self.coordinator.client
        with translated_errors():
            await client.async_unload_model(self.about, _WAIT_S)
            await client.async_load_model(self.about)
        await self.coordinator.async_request_refresh()
