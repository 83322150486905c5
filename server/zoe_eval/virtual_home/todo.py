"""Virtual to-do lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from homeassistant.components.todo import TodoItem, TodoItemStatus, TodoListEntity, TodoListEntityFeature

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the todo entities of the inventory."""
    async_add_entities(VirtualTodoList(device) for device in entry.runtime_data.of_domain("todo"))


class VirtualTodoList(VirtualEntity, TodoListEntity):
    """A list of items kept in memory."""

    _attr_supported_features = (
        TodoListEntityFeature.CREATE_TODO_ITEM
        | TodoListEntityFeature.UPDATE_TODO_ITEM
        | TodoListEntityFeature.DELETE_TODO_ITEM
    )

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._attr_todo_items = []
        self._next_uid = 0
        for text in device.options.get("items", ()):
            self._append(TodoItem(summary=text, status=TodoItemStatus.NEEDS_ACTION))
        for text in device.options.get("completed", ()):
            self._append(TodoItem(summary=text, status=TodoItemStatus.COMPLETED))

    def _append(self, item: TodoItem) -> None:
        self._next_uid += 1
        item.uid = str(self._next_uid)
        self._attr_todo_items = [*(self._attr_todo_items or []), item]

    @override
    async def async_create_todo_item(self, item: TodoItem) -> None:
        """Add an item."""
        self._append(item)
        self.async_write_ha_state()

    @override
    async def async_update_todo_item(self, item: TodoItem) -> None:
        """Replace the item of the same uid."""
        self._attr_todo_items = [item if old.uid == item.uid else old for old in self._attr_todo_items or []]
        self.async_write_ha_state()

    @override
    async def async_delete_todo_items(self, uids: list[str]) -> None:
        """Remove items."""
        self._attr_todo_items = [item for item in self._attr_todo_items or [] if item.uid not in uids]
        self.async_write_ha_state()
