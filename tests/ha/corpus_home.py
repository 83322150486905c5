"""The home of the corpus, in one language: areas, floors, things with their names and states, and a device per room."""

from pathlib import Path
from typing import Any, Final

import yaml
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.components.intent import async_register_timer_handler
from homeassistant.components.todo import TodoItem, TodoListEntity, TodoListEntityFeature
from homeassistant.core import HomeAssistant, ServiceCall, callback
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers.entity_component import EntityComponent
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_mock_service

CORPUS: Final = Path(__file__).parent / "corpus"
LANGUAGES: Final = ("en", "de", "fr", "es", "nl", "it")

_EVERY_FEATURE: Final = 0xFFFFFF
_LIST: Final = "todo.shopping_list"
_SERVICES: Final = {
    "homeassistant": ("turn_on", "turn_off"),
    "light": ("turn_on", "turn_off"),
    "lock": ("lock", "unlock"),
    "cover": ("open_cover", "close_cover", "set_cover_position", "stop_cover"),
    "valve": ("open_valve", "close_valve", "set_valve_position", "stop_valve"),
    "media_player": ("media_pause", "media_play", "media_next_track", "volume_set", "turn_on", "turn_off"),
    "climate": ("set_temperature", "turn_on", "turn_off"),
    "fan": ("set_percentage", "turn_on", "turn_off"),
    "vacuum": ("start", "return_to_base"),
    "switch": ("turn_on", "turn_off"),
    "siren": ("turn_on", "turn_off"),
    "scene": ("turn_on",),
    "alarm_control_panel": ("alarm_disarm", "alarm_arm_away"),
}


class ShoppingList(TodoListEntity):
    """A list that takes note of what is added to it."""

    _attr_supported_features = TodoListEntityFeature.CREATE_TODO_ITEM

    def __init__(self, name: str, changed: list[str]) -> None:
        self.entity_id = _LIST
        self._attr_name = name
        self._attr_unique_id = _LIST
        self._attr_todo_items = []
        self._changed = changed

    async def async_create_todo_item(self, item: TodoItem) -> None:
        assert item.summary
        self._changed.append(_LIST)


class CorpusHome:
    """`changed` are the entities that anything was done to since it was cleared."""

    def __init__(self, hass: HomeAssistant, language: str) -> None:
        self.hass = hass
        self.language = language
        self.data: dict[str, Any] = yaml.safe_load((CORPUS / "home.yaml").read_text(encoding="utf-8"))
        self.changed: list[str] = []
        self.devices: dict[str, str] = {}
        self._calls: list[list[ServiceCall]] = []

    async def async_set_up(self) -> None:
        hass = self.hass
        assert await async_setup_component(hass, "intent", {})
        domains = {entity_id.partition(".")[0] for entity_id in self.data["entities"]} - {"script", "scene"}
        for domain in sorted(domains):
            assert await async_setup_component(hass, domain, {})
        script = {"good_night": {"alias": self._name("script.good_night"), "sequence": []}}
        assert await async_setup_component(hass, "script", {"script": script})
        assert await async_setup_component(hass, "scene", {})
        areas = self._set_up_areas()
        todo: EntityComponent[Any] = hass.data["todo"]
        await todo.async_add_entities([ShoppingList(self._name(_LIST), self.changed)])
        for entity_id, thing in self.data["entities"].items():
            self._add(entity_id, thing, areas)
        await hass.async_block_till_done()
        for domain, services in _SERVICES.items():
            self._calls += [async_mock_service(hass, domain, service) for service in services]

    def _set_up_areas(self) -> dict[str, str]:
        floors = {
            key: fr.async_get(self.hass).async_create(names[self.language]).floor_id
            for key, names in self.data["floors"].items()
        }
        areas: dict[str, str] = {}
        entry = MockConfigEntry(domain="satellites")
        entry.add_to_hass(self.hass)
        for key, area in self.data["areas"].items():
            created = ar.async_get(self.hass).async_create(area["names"][self.language], floor_id=floors[area["floor"]])
            areas[key] = created.id
            devices = dr.async_get(self.hass)
            device = devices.async_get_or_create(config_entry_id=entry.entry_id, identifiers={("satellites", key)})
            devices.async_update_device(device.id, area_id=created.id)
            self.devices[key] = device.id
            async_register_timer_handler(self.hass, device.id, _ignore)
        return areas

    def _name(self, entity_id: str) -> str:
        return str(self.data["entities"][entity_id]["names"][self.language])

    def _add(self, entity_id: str, thing: dict[str, Any], areas: dict[str, str]) -> None:
        domain, object_id = entity_id.split(".")
        registry = er.async_get(self.hass)
        entry = registry.async_get(entity_id) or registry.async_get_or_create(
            domain, "corpus", entity_id, suggested_object_id=object_id, supported_features=_EVERY_FEATURE
        )
        aliases = [er.COMPUTED_NAME, *thing.get("aliases", {}).get(self.language, ())]
        area = areas.get(thing["area"] or "")
        registry.async_update_entity(entry.entity_id, name=self._name(entity_id), aliases=aliases, area_id=area)
        if domain not in ("script", "todo"):
            attributes = {"friendly_name": self._name(entity_id), "supported_features": _EVERY_FEATURE}
            if device_class := thing.get("device_class"):
                attributes["device_class"] = device_class
            self.hass.states.async_set(entity_id, str(thing["state"]), attributes)
        async_expose_entity(self.hass, "conversation", entity_id, True)

    def take_changes(self) -> list[str]:
        """Return what was changed since the last time, each call once more."""
        found = [entity for calls in self._calls for call in calls for entity in _entities(call)] + self.changed
        for calls in self._calls:
            calls.clear()
        self.changed.clear()
        return found


@callback
def _ignore(*_: object) -> None:
    """A satellite that shows no timers."""


def _entities(call: ServiceCall) -> list[str]:
    named = call.data.get("entity_id", ())
    return [named] if isinstance(named, str) else list(named)
