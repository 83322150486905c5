"""Virtual lights: on and off, brightness, colour, colour temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from homeassistant.components.light import (
    ATTR_BRIGHTNESS,
    ATTR_COLOR_TEMP_KELVIN,
    ATTR_HS_COLOR,
    ColorMode,
    LightEntity,
)

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the light entities of the inventory."""
    async_add_entities(VirtualLight(device) for device in entry.runtime_data.of_domain("light"))


def color_modes(features: frozenset[str]) -> set[ColorMode]:
    """Return the colour modes Home Assistant allows together for these features."""
    modes = set()
    if "color" in features:
        modes.add(ColorMode.HS)
    if "temperature" in features:
        modes.add(ColorMode.COLOR_TEMP)
    if modes:
        return modes
    return {ColorMode.BRIGHTNESS if "brightness" in features else ColorMode.ONOFF}


class VirtualLight(VirtualEntity, LightEntity):
    """A light with the features of its inventory item."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._attr_is_on = device.state == "on"
        self._attr_supported_color_modes = color_modes(device.features)
        self._attr_color_mode = next(
            mode
            for mode in (ColorMode.COLOR_TEMP, ColorMode.HS, ColorMode.BRIGHTNESS, ColorMode.ONOFF)
            if mode in self._attr_supported_color_modes
        )
        self._attr_brightness = round(device.options.get("brightness_pct", 100) * 2.55)
        self._attr_color_temp_kelvin = 3000
        hue, saturation = device.options.get("hs_color", (30.0, 40.0))
        self._attr_hs_color = (float(hue), float(saturation))
        if "hs_color" in device.options:
            self._attr_color_mode = ColorMode.HS

    @override
    async def async_turn_on(self, **kwargs: Any) -> None:
        """Switch on, with whatever was asked for."""
        self._attr_is_on = True
        if ATTR_BRIGHTNESS in kwargs:
            self._attr_brightness = kwargs[ATTR_BRIGHTNESS]
        if ATTR_HS_COLOR in kwargs:
            self._attr_hs_color = kwargs[ATTR_HS_COLOR]
            self._attr_color_mode = ColorMode.HS
        if ATTR_COLOR_TEMP_KELVIN in kwargs:
            self._attr_color_temp_kelvin = kwargs[ATTR_COLOR_TEMP_KELVIN]
            self._attr_color_mode = ColorMode.COLOR_TEMP
        self.async_write_ha_state()

    @override
    async def async_turn_off(self, **kwargs: Any) -> None:
        """Switch off."""
        self._attr_is_on = False
        self.async_write_ha_state()
