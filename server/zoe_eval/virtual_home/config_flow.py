"""Import of an inventory; there is nothing to click."""

from __future__ import annotations

from typing import Any

from homeassistant.config_entries import ConfigFlow, ConfigFlowResult

from .inventory import DOMAIN


class VirtualHomeConfigFlow(ConfigFlow, domain=DOMAIN):
    """One entry for each home, known by its name."""

    async def async_step_import(self, import_data: dict[str, Any]) -> ConfigFlowResult:
        """Create the entry, or bring an existing one up to date."""
        await self.async_set_unique_id(import_data.get("name", "Home"))
        self._abort_if_unique_id_configured(updates=import_data)
        return self.async_create_entry(title=import_data.get("name", "Home"), data=import_data)
