"""The dialogs: connecting a server, and adding or changing the conversation agents that use it."""

from typing import Any, override

import probatio
from homeassistant.config_entries import (
    SOURCE_USER,
    ConfigEntry,
    ConfigEntryState,
    ConfigSubentryData,
    ConfigSubentryFlow,
    SubentryFlowResult,
)
from homeassistant.const import CONF_LLM_HASS_API, CONF_NAME, CONF_PROMPT
from homeassistant.core import callback
from homeassistant.helpers import llm
from homeassistant.helpers.selector import (
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TemplateSelector,
    TextSelector,
)

from .connection_flow import ConnectionFlow
from .const import CONF_MODEL, DEFAULT_NAME, DOMAIN, MODEL_AUTOMATIC, SUBENTRY_CONVERSATION
from .errors import ZoeError
from .models import ZoeConfigEntry

DEFAULT_OPTIONS: dict[str, Any] = {
    CONF_LLM_HASS_API: [llm.LLM_API_ASSIST],
    CONF_MODEL: MODEL_AUTOMATIC,
    CONF_PROMPT: llm.DEFAULT_INSTRUCTIONS_PROMPT,
}


class ZoeConfigFlow(ConnectionFlow, domain=DOMAIN):
    """Connects a Zoe server, and gives it an agent."""

    VERSION = 1
    MINOR_VERSION = 1

    first_subentries = (
        ConfigSubentryData(
            subentry_type=SUBENTRY_CONVERSATION,
            data={CONF_LLM_HASS_API: [llm.LLM_API_ASSIST]},
            title=DEFAULT_NAME,
            unique_id=None,
        ),
    )

    @classmethod
    @callback
    @override
    def async_get_supported_subentry_types(cls, config_entry: ConfigEntry) -> dict[str, type[ConfigSubentryFlow]]:
        """Return what can be added to a server."""
        return {SUBENTRY_CONVERSATION: ConversationSubentryFlow}


class ConversationSubentryFlow(ConfigSubentryFlow):
    """Adds or changes a conversation agent."""

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Add an agent."""
        return await self.async_step_set_options(user_input)

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Change an agent."""
        return await self.async_step_set_options(user_input)

    async def async_step_set_options(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Ask for the model, the instructions and what the agent may control."""
        entry: ZoeConfigEntry = self._get_entry()
        if entry.state is not ConfigEntryState.LOADED:
            return self.async_abort(reason="entry_not_loaded")
        if user_input is not None:
            return self._finish(entry, user_input)
        try:
            models = await entry.runtime_data.client.async_models()
        except ZoeError:
            return self.async_abort(reason="cannot_connect")
        suggested = self._suggested_options()
        return self.async_show_form(
            step_id="set_options",
            data_schema=self.add_suggested_values_to_schema(self._schema(models, suggested), suggested),
        )

    def _finish(self, entry: ZoeConfigEntry, user_input: dict[str, Any]) -> SubentryFlowResult:
        """Store the answer; an agent that may control nothing stores no list."""
        if not user_input.get(CONF_LLM_HASS_API):
            user_input.pop(CONF_LLM_HASS_API, None)
        if self.source == SOURCE_USER:
            return self.async_create_entry(title=user_input.pop(CONF_NAME), data=user_input)
        return self.async_update_and_abort(entry, self._get_reconfigure_subentry(), data=user_input)

    def _suggested_options(self) -> dict[str, Any]:
        """Return what the form starts with, without APIs that no longer exist: the form would reject them."""
        if self.source == SOURCE_USER:
            return DEFAULT_OPTIONS
        stored = {CONF_MODEL: MODEL_AUTOMATIC, **self._get_reconfigure_subentry().data}
        known = {api.id for api in llm.async_get_apis(self.hass)}
        stored[CONF_LLM_HASS_API] = [api for api in stored.get(CONF_LLM_HASS_API, ()) if api in known]
        return stored

    def _schema(self, models: list[str], suggested: dict[str, Any]) -> probatio.Schema:
        """Return the form; a stored model that the server no longer lists stays selectable."""
        choices = dict.fromkeys([MODEL_AUTOMATIC, *models, suggested[CONF_MODEL]])
        fields: dict[probatio.Marker, Any] = {}
        if self.source == SOURCE_USER:
            fields[probatio.Required(CONF_NAME, default=DEFAULT_NAME)] = TextSelector()
        fields[probatio.Required(CONF_MODEL, default=MODEL_AUTOMATIC)] = SelectSelector(
            SelectSelectorConfig(options=list(choices), mode=SelectSelectorMode.DROPDOWN, translation_key=CONF_MODEL)
        )
        fields[probatio.Optional(CONF_PROMPT)] = TemplateSelector()
        fields[probatio.Optional(CONF_LLM_HASS_API)] = SelectSelector(
            SelectSelectorConfig(
                options=[SelectOptionDict(label=api.name, value=api.id) for api in llm.async_get_apis(self.hass)],
                multiple=True,
            )
        )
        return probatio.Schema(fields)
