"""Buttons: check the server, and load a model anew."""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, override

from homeassistant.components.button import ButtonDeviceClass, ButtonEntity, ButtonEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity import Entity
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .api.errors import translated_errors
from .checks import async_self_test
from .coordinator import ZoeConfigEntry, ZoeCoordinator
from .entity import ZoeServerEntity, async_add_as_they_appear

PARALLEL_UPDATES = 1

_WAIT_S: Final = 60.0
"""How long the answers that a model is writing may take before it is loaded anew."""


async def _async_test(coordinator: ZoeCoordinator, about: str) -> None:
    """Check whether models answer, call tools and can read this home; what is wrong is told under Repairs."""
    await async_self_test(coordinator.hass, coordinator.config_entry)


async def _async_reload(coordinator: ZoeCoordinator, about: str) -> None:
    """Take a model out of memory and bring it back; out of quarantine, too."""
    await coordinator.client.async_unload_model(about, _WAIT_S)
    await coordinator.client.async_load_model(about)


@dataclass(frozen=True, kw_only=True)
class ZoeButtonDescription(ButtonEntityDescription):
    """A button, and what pressing it does: to the server, or to the model that it is about."""

    press_fn: Callable[[ZoeCoordinator, str], Coroutine[Any, Any, None]]


BUTTONS: Final = (ZoeButtonDescription(key="self_test", translation_key="self_test", press_fn=_async_test),)
MODEL_BUTTONS: Final = (
    ZoeButtonDescription(
        key="reload_model",
        translation_key="reload_model",
        device_class=ButtonDeviceClass.RESTART,
        entity_category=EntityCategory.CONFIG,
        entity_registry_enabled_default=False,
        press_fn=_async_reload,
    ),
)


async def async_setup_entry(
    hass: HomeAssistant, entry: ZoeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the buttons of the server and, as they appear, of its models."""
    coordinator = entry.runtime_data
    async_add_entities(ZoeButton(coordinator, description) for description in BUTTONS)
    async_add_as_they_appear(coordinator, async_add_entities, partial(_present, coordinator))


def _present(coordinator: ZoeCoordinator) -> Iterator[tuple[str, Callable[[], Entity]]]:
    for model in coordinator.data.models:
        for description in MODEL_BUTTONS:
            yield f"{description.key}_{model.name}", partial(ZoeButton, coordinator, description, model.name)


class ZoeButton(ZoeServerEntity, ButtonEntity):
    """Does something to the server, or to one of its models."""

    entity_description: ZoeButtonDescription

    @property
    @override
    def available(self) -> bool:
        """Return whether the server has what it is about; a model that was taken from it may come again."""
        names = {model.name for model in self.coordinator.data.models}
        return super().available and (not self.about or self.about in names)

    @override
    async def async_press(self) -> None:
        """Do it.

        Raises:
            HomeAssistantError: translated; the server or a model fails.
        """
        with translated_errors():
            await self.entity_description.press_fn(self.coordinator, self.about)
        await self.coordinator.async_request_refresh()
