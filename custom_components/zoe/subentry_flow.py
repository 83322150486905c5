"""The dialogs that add or change what uses a server: conversation agents and AI tasks."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, override

import probatio
from homeassistant.config_entries import (
    SOURCE_USER,
    ConfigEntryState,
    ConfigSubentryFlow,
    SubentryFlowResult,
)
from homeassistant.const import CONF_LLM_HASS_API, CONF_NAME, CONF_PROMPT
from homeassistant.helpers import llm
from homeassistant.helpers.selector import (
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TemplateSelector,
    TextSelector,
)

from .api.errors import ZoeError
from .connection import free_title
from .const import (
    CONF_MODEL,
    DEFAULT_AI_TASK_NAME,
    DEFAULT_NAME,
    MODEL_AUTOMATIC,
)
from .coordinator import ZoeConfigEntry
from .memory import MAX_FACT_CHARS, MAX_FACTS, MemoryRefusedError, async_load_memory
from .options import (
    CONF_FACTS,
    CONF_REQUEST_FIELDS,
    RESERVED_FIELDS,
    SECTION_EXPERT,
    SECTION_MEMORY,
    flattened,
    generation_fields,
    section_fields,
    sectioned,
    usable_request_fields,
)

DEFAULT_OPTIONS: dict[str, Any] = {
    CONF_LLM_HASS_API: [llm.LLM_API_ASSIST],
    CONF_MODEL: MODEL_AUTOMATIC,
    CONF_PROMPT: llm.DEFAULT_INSTRUCTIONS_PROMPT,
}


class ZoeSubentryFlow(ConfigSubentryFlow):
    """Adds or changes something that uses a model of the server."""

    default_name: ClassVar[str]
    default_options: ClassVar[dict[str, Any]]

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Add one."""
        return await self.async_step_set_options(user_input)

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Change one."""
        return await self.async_step_set_options(user_input)

    async def async_step_set_options(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Ask for the model and everything else there is to choose."""
        entry: ZoeConfigEntry = self._get_entry()
        if entry.state is not ConfigEntryState.LOADED:
            return self.async_abort(reason="entry_not_loaded")
        errors: dict[str, str] = {}
        if user_input is not None:
            errors = await self._async_check(user_input)
            if not errors:
                return self._finish(entry, user_input)
        try:
            models = await entry.runtime_data.client.async_models()
        except ZoeError:
            return self.async_abort(reason="cannot_connect")
        suggested = user_input or self._suggested_options()
        return self.async_show_form(
            step_id="set_options",
            data_schema=self.add_suggested_values_to_schema(self._schema(models, suggested), suggested),
            errors=errors,
            description_placeholders={
                "max_facts": str(MAX_FACTS),
                "max_chars": str(MAX_FACT_CHARS),
                "fields": ", ".join(sorted(RESERVED_FIELDS)),
            },
        )

    async def _async_check(self, user_input: dict[str, Any]) -> dict[str, str]:
        """Return what is wrong with an answer."""
        fields = user_input[SECTION_EXPERT].get(CONF_REQUEST_FIELDS) or {}
        return {} if usable_request_fields(fields) else {"base": "request_fields_refused"}

    def _finish(self, entry: ZoeConfigEntry, user_input: dict[str, Any]) -> SubentryFlowResult:
        """Store the answer; an agent that may control nothing stores no list."""
        data = flattened(user_input)
        data.pop(CONF_FACTS, None)
        if not data.get(CONF_LLM_HASS_API):
            data.pop(CONF_LLM_HASS_API, None)
        if self.source == SOURCE_USER:
            return self.async_create_entry(title=data.pop(CONF_NAME), data=data)
        return self.async_update_and_abort(entry, self._get_reconfigure_subentry(), data=data)

    def _suggested_options(self) -> dict[str, Any]:
        """Return what the form starts with."""
        if self.source == SOURCE_USER:
            return self.default_options
        return {CONF_MODEL: MODEL_AUTOMATIC, **self._get_reconfigure_subentry().data}

    def _schema(self, models: list[str], suggested: dict[str, Any]) -> probatio.Schema:
        """Return the form; a stored model that the server no longer lists stays selectable."""
        choices = dict.fromkeys([MODEL_AUTOMATIC, *models, suggested[CONF_MODEL]])
        fields: dict[probatio.Marker, Any] = {}
        if self.source == SOURCE_USER:
            default = free_title(self.hass, self.default_name)
            fields[probatio.Required(CONF_NAME, default=default)] = TextSelector()
        fields[probatio.Required(CONF_MODEL, default=MODEL_AUTOMATIC)] = SelectSelector(
            SelectSelectorConfig(options=list(choices), mode=SelectSelectorMode.DROPDOWN, translation_key=CONF_MODEL)
        )
        return probatio.Schema({**fields, **self._more_fields()})

    @abstractmethod
    def _more_fields(self) -> dict[probatio.Marker, Any]:
        """Return the fields below name and model."""


class ConversationSubentryFlow(ZoeSubentryFlow):
    """Adds or changes a conversation agent."""

    default_name = DEFAULT_NAME
    default_options = DEFAULT_OPTIONS
    _shown_facts: Sequence[str] = ()

    @override
    async def async_step_set_options(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Ask for everything there is to choose, and show what the household wants its agents to know."""
        if user_input is None:
            self._shown_facts = (await async_load_memory(self.hass)).facts
        return await super().async_step_set_options(user_input)

    @override
    async def _async_check(self, user_input: dict[str, Any]) -> dict[str, str]:
        """Return what is wrong with an answer; the facts of one with which nothing is are stored."""
        if errors := await super()._async_check(user_input):
            return errors
        memory = await async_load_memory(self.hass)
        try:
            await memory.async_edit(self._shown_facts, user_input[SECTION_MEMORY].get(CONF_FACTS, ()))
        except MemoryRefusedError:
            return {"base": "facts_refused"}
        return {}

    @override
    def _suggested_options(self) -> dict[str, Any]:
        """Return what the form starts with, without APIs that no longer exist: the form would reject them."""
        suggested = sectioned(super()._suggested_options())
        known = {api.id for api in llm.async_get_apis(self.hass)}
        suggested[CONF_LLM_HASS_API] = [api for api in suggested.get(CONF_LLM_HASS_API, ()) if api in known]
        suggested[SECTION_MEMORY] = {CONF_FACTS: list(self._shown_facts)}
        return suggested

    @override
    def _more_fields(self) -> dict[probatio.Marker, Any]:
        """Return the instructions, what the agent may control, and the sections."""
        apis = [SelectOptionDict(label=api.name, value=api.id) for api in llm.async_get_apis(self.hass)]
        return {
            probatio.Optional(CONF_PROMPT): TemplateSelector(),
            probatio.Optional(CONF_LLM_HASS_API): SelectSelector(SelectSelectorConfig(options=apis, multiple=True)),
            **section_fields(),
        }


class AITaskSubentryFlow(ZoeSubentryFlow):
    """Adds or changes what answers AI tasks."""

    default_name = DEFAULT_AI_TASK_NAME
    default_options: ClassVar[dict[str, Any]] = {CONF_MODEL: MODEL_AUTOMATIC}

    @override
    def _suggested_options(self) -> dict[str, Any]:
        """Return what the form starts with."""
        return sectioned(super()._suggested_options(), SECTION_EXPERT)

    @override
    def _more_fields(self) -> dict[probatio.Marker, Any]:
        """Return how an answer is made."""
        return {**generation_fields(), **section_fields(SECTION_EXPERT)}
