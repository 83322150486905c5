"""A home without hardware: an inventory of floors, areas and entities becomes real Home Assistant entities.

The demo, the training data and the evaluation use it; it is no part of the product. It runs inside Home Assistant
(Python 3.14) and knows nothing of Zoe. Set it up with `virtual_home: {inventory: /path/home.yaml}` in
`configuration.yaml`, or with a config entry whose data is the inventory itself.
"""

from __future__ import annotations

from pathlib import Path

import probatio
from homeassistant.config_entries import SOURCE_IMPORT, ConfigEntry
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers.typing import ConfigType
from homeassistant.util.yaml import load_yaml_dict

from .inventory import DOMAIN, Inventory

PLATFORMS = [
    Platform.BINARY_SENSOR,
    Platform.CLIMATE,
    Platform.COVER,
    Platform.FAN,
    Platform.LIGHT,
    Platform.LOCK,
    Platform.MEDIA_PLAYER,
    Platform.SENSOR,
    Platform.SWITCH,
    Platform.TODO,
    Platform.VACUUM,
]
CONFIG_SCHEMA = probatio.Schema(
    {probatio.Optional(DOMAIN): {probatio.Required("inventory"): cv.isfile}},
    extra=probatio.ALLOW_EXTRA,
)

type VirtualHomeEntry = ConfigEntry[Inventory]


async def async_setup(hass: HomeAssistant, config: ConfigType) -> bool:
    """Import the inventory named in `configuration.yaml`, if there is one."""
    if DOMAIN in config:
        path = Path(config[DOMAIN]["inventory"])
        inventory = await hass.async_add_executor_job(load_yaml_dict, str(path))
        # Not awaited: the flow sets up the entry, which waits for this function to return.
        flow = hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_IMPORT}, data=inventory)
        hass.async_create_task(flow, "import of the virtual home")
    return True


async def async_setup_entry(hass: HomeAssistant, entry: VirtualHomeEntry) -> bool:
    """Create floors and areas, then the entities."""
    entry.runtime_data = Inventory.from_dict(dict(entry.data))
    create_areas(hass, entry.runtime_data)
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    return True


async def async_unload_entry(hass: HomeAssistant, entry: VirtualHomeEntry) -> bool:
    """Remove the entities; floors and areas stay, as a person's would."""
    return await hass.config_entries.async_unload_platforms(entry, PLATFORMS)


def create_areas(hass: HomeAssistant, inventory: Inventory) -> None:
    """Create the floors and areas that do not exist yet, with their aliases."""
    floors, areas = fr.async_get(hass), ar.async_get(hass)
    for floor in inventory.floors:
        if floors.async_get_floor_by_name(floor.name) is None:
            floors.async_create(floor.name, level=floor.level)
    for area in inventory.areas:
        floor_entry = floors.async_get_floor_by_name(area.floor) if area.floor else None
        floor_id = floor_entry.floor_id if floor_entry else None
        if (existing := areas.async_get_area_by_name(area.name)) is None:
            areas.async_create(area.name, floor_id=floor_id, aliases=set(area.aliases))
        else:
            areas.async_update(existing.id, floor_id=floor_id, aliases=set(area.aliases))
