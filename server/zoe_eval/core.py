"""A real Home Assistant core in this process, with a virtual home in it: no HTTP server, only a temporary folder.

Needs Home Assistant (Python 3.14). It knows nothing of models: callers render prompts, run tool calls and read states.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from homeassistant import bootstrap, loader
from homeassistant.auth import auth_manager_from_config
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.config_entries import ConfigEntries, ConfigEntry, ConfigEntryState
from homeassistant.core import CoreState, HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import floor_registry as fr
from homeassistant.setup import async_setup_component

from zoe_eval.http_settings import http_settings

VIRTUAL_HOME = Path(__file__).parent / "virtual_home"
COMPONENTS = ("homeassistant", "conversation", "intent", "llm")


@asynccontextmanager
async def home_assistant(custom_components: Mapping[str, Path] | None = None) -> AsyncIterator[HomeAssistant]:
    """Run a core with Assist's own components; `custom_components` maps a domain to the folder of its integration."""
    with tempfile.TemporaryDirectory(prefix="zoe-core-") as folder:
        components = {"virtual_home": VIRTUAL_HOME, **(custom_components or {})}
        await asyncio.to_thread(link_components, Path(folder), components)
        await asyncio.to_thread(_keep_http_private, Path(folder))
        with _importable(Path(folder)):
            hass = await _started(folder)
            try:
                yield hass
            finally:
                await hass.async_stop(force=True)


async def _started(config_folder: str) -> HomeAssistant:
    hass = HomeAssistant(config_folder)
    hass.config.skip_pip = True
    hass.config_entries = ConfigEntries(hass, {})
    loader.async_setup(hass)
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth_manager_from_config(hass, [], [])
    for component in COMPONENTS:
        if not await async_setup_component(hass, component, {}):
            raise RuntimeError(f"Home Assistant could not set up {component}; see its log above")
    hass.set_state(CoreState.running)
    return hass


def link_components(config_folder: Path, components: Mapping[str, Path]) -> None:
    """Make `components` appear under `custom_components` of a configuration folder."""
    target = config_folder / "custom_components"
    target.mkdir(exist_ok=True)
    # A package of its own, which Python finds before any other `custom_components` that is a mere folder.
    (target / "__init__.py").touch()
    for domain, folder in components.items():
        if not (target / domain).exists():
            (target / domain).symlink_to(folder, target_is_directory=True)


def _keep_http_private(config_folder: Path) -> None:
    """Bind Home Assistant's HTTP component, which Assist depends on, to a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    storage = config_folder / ".storage" / "http"
    storage.parent.mkdir(exist_ok=True)
    storage.write_text(json.dumps({"version": 2, "minor_version": 2, "key": "http", "data": http_settings(port)}))


@contextmanager
def _importable(config_folder: Path) -> Iterator[None]:
    """Let Home Assistant find the folder's integrations although `custom_components` may be imported already."""
    package = sys.modules.get("custom_components")
    folder = str(config_folder / "custom_components")
    if package is not None:
        package.__path__.append(folder)
    try:
        yield
    finally:
        package = sys.modules.get("custom_components")
        if package is not None and folder in package.__path__:
            package.__path__.remove(folder)


async def load_home(hass: HomeAssistant, inventory: Mapping[str, Any]) -> ConfigEntry:
    """Create the home's entities and expose all of them to conversation agents.

    Raises:
        RuntimeError: Home Assistant refused the inventory.
    """
    result = await hass.config_entries.flow.async_init("virtual_home", context={"source": "import"}, data=inventory)
    entry: ConfigEntry | None = result.get("result")
    await hass.async_block_till_done()
    if entry is None or entry.state is not ConfigEntryState.LOADED:
        raise RuntimeError(f"the virtual home did not load: {result}")
    for entity in inventory["entities"]:
        async_expose_entity(hass, "conversation", entity["id"], entity.get("exposed", True))
    return entry


async def unload_home(hass: HomeAssistant, entry: ConfigEntry) -> None:
    """Remove the home's entities, areas and floors, so that another home can be loaded."""
    await hass.config_entries.async_remove(entry.entry_id)
    areas, floors = ar.async_get(hass), fr.async_get(hass)
    for area in list(areas.async_list_areas()):
        areas.async_delete(area.id)
    for floor in list(floors.async_list_floors()):
        floors.async_delete(floor.floor_id)
    await hass.async_block_till_done()
