"""The dialogs that connect a server: by its address or by discovery, its key, the check, and changing any of it later.

user ──────────┐                                          ┌─> checked ───────┐
               ├─> (api_key) ─> (other_server) ─> check ──┼─> no_tool_calls ─┼─> entry
discovery_flow ┘                                          ├─> too_long ──────┘
                                                          └─> check_failed ─> check
reauth ─> reauth_confirm     reconfigure
"""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final, override

import probatio
from homeassistant.config_entries import (
    ConfigEntry,
    ConfigFlowResult,
    ConfigSubentryData,
    ConfigSubentryFlow,
)
from homeassistant.const import CONF_API_KEY, CONF_LLM_HASS_API, CONF_URL
from homeassistant.core import callback
from homeassistant.helpers import llm
from homeassistant.helpers.selector import (
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)
from homeassistant.setup import async_setup_component
from yarl import URL

from .api.client import normalised_url
from .api.errors import ZoeError, ZoeNotZoeError, ZoeUnauthorizedError
from .api.openai_client import client_for
from .checks import PromptSize, Trial, async_measure_prompt, async_try_model
from .connection import async_reach, async_speaks_openai, async_verify, form_errors, free_title
from .const import (
    CONF_MODEL,
    CONF_SERVER,
    DEFAULT_AI_TASK_NAME,
    DEFAULT_NAME,
    DEFAULT_URL,
    DOMAIN,
    MODEL_AUTOMATIC,
    SERVER_OPENAI,
    SUBENTRY_AI_TASK,
    SUBENTRY_CONVERSATION,
)
from .discovery_flow import DiscoveryFlow
from .subentry_flow import AITaskSubentryFlow, ConversationSubentryFlow

_URL_FIELD: Final = TextSelector(TextSelectorConfig(type=TextSelectorType.URL))
_KEY_FIELD: Final = TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD, autocomplete="off"))
USER_SCHEMA: Final = probatio.Schema({probatio.Required(CONF_URL, default=DEFAULT_URL): _URL_FIELD})
KEY_SCHEMA: Final = probatio.Schema({probatio.Required(CONF_API_KEY): _KEY_FIELD})
RECONFIGURE_SCHEMA: Final = probatio.Schema(
    {probatio.Required(CONF_URL): _URL_FIELD, probatio.Optional(CONF_API_KEY): _KEY_FIELD}
)
type Outcome = tuple[Trial, PromptSize]


class ConnectionFlow(DiscoveryFlow):
    """Connects a server. `first_subentries` are what an entry begins with; the first of them is the agent to check."""

    first_subentries: ClassVar[tuple[ConfigSubentryData, ...]]

    def __init__(self) -> None:
        super().__init__()
        self._check: asyncio.Task[Outcome] | None = None
        self._outcome: Outcome | None = None
        self._failure: ZoeError | None = None

    @override
    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the address of the server."""
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                url = normalised_url(user_input[CONF_URL])
                server_id, self._data = await self._async_look(url)
            except ZoeError as err:
                errors = form_errors(err)
            else:
                await self.async_set_unique_id(server_id or url, raise_on_progress=False)
                self._abort_if_unique_id_configured(updates={CONF_URL: url})
                self._where = (URL(url).host or "").removesuffix(".local")
                return await self.async_step_api_key()
        return self.async_show_form(
            step_id="user",
            data_schema=self.add_suggested_values_to_schema(USER_SCHEMA, user_input),
            errors=errors,
            description_placeholders={"example_url": DEFAULT_URL},
        )

    async def _async_look(self, url: str) -> tuple[str | None, dict[str, Any]]:
        """Return the id of the server at `url`, None if it has none, and the data of its entry so far.

        Raises:
            ZoeError: there is no server that can be used.
        """
        try:
            return (await async_reach(self.hass, url)).server_id, {CONF_URL: url}
        except ZoeNotZoeError:
            if not await async_speaks_openai(self.hass, url):
                raise
        return None, {CONF_URL: url, CONF_SERVER: SERVER_OPENAI}

    async def async_step_api_key(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the key, if the server wants one."""
        errors: dict[str, str] = {}
        self._data |= user_input or {}
        try:
            await client_for(self.hass, self._data).async_models()
        except ZoeUnauthorizedError as err:
            errors = form_errors(err) if user_input is not None else {}
        except ZoeError as err:
            errors = form_errors(err)
        else:
            is_zoe = self._data.get(CONF_SERVER) != SERVER_OPENAI
            return await (self.async_step_check() if is_zoe else self.async_step_other_server())
        return self.async_show_form(step_id="api_key", data_schema=KEY_SCHEMA, errors=errors)

    async def async_step_other_server(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Say what a server that is not Zoe's lacks, and ask which of its models is meant."""
        errors: dict[str, str] = {}
        if user_input is not None:
            self._data |= user_input
            return await self.async_step_check()
        models: list[str] = []
        try:
            models = await client_for(self.hass, self._data).async_models()
        except ZoeError as err:
            errors = form_errors(err)
        fields = {
            probatio.Required(CONF_MODEL, default=models[0] if models else probatio.UNDEFINED): SelectSelector(
                SelectSelectorConfig(options=models, mode=SelectSelectorMode.DROPDOWN, custom_value=True)
            )
        }
        return self.async_show_form(step_id="other_server", data_schema=probatio.Schema(fields), errors=errors)

    async def async_step_check(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Let a model answer, and the server count this home's prompt; on a small machine this takes a minute."""
        if self._check is None:
            self._check = self.hass.async_create_task(self._async_check(), "check of a Zoe server")
        if not self._check.done():
            return self.async_show_progress(step_id="check", progress_action="check", progress_task=self._check)
        next_step = "check_failed"
        try:
            self._outcome = await self._check
            next_step = _step_for(self._outcome)
        except ZoeError as err:
            self._failure = err
        self._check = None
        return self.async_show_progress_done(next_step_id=next_step)

    @override
    def async_remove(self) -> None:
        """Stop checking a server that nobody wants to connect any more."""
        if self._check is not None:
            self._check.cancel()

    async def _async_check(self) -> Outcome:
        # Before the first server is connected nothing has set up the component, and its own tools are in no prompt yet.
        await async_setup_component(self.hass, DOMAIN, {})
        agent = next(one for one in self.first_subentries if one["subentry_type"] == SUBENTRY_CONVERSATION)
        client = client_for(self.hass, self._data)
        trial = await async_try_model(client, agent["data"].get(CONF_MODEL, MODEL_AUTOMATIC))
        return trial, await async_measure_prompt(self.hass, client, agent["data"])

    async def async_step_check_failed(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Say what went wrong, and try again."""
        if user_input is not None:
            return await self.async_step_check()
        message = "" if self._failure is None else self._failure.message
        return self.async_show_form(step_id="check_failed", description_placeholders={"message": message})

    async def async_step_checked(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Say what was found, and connect the server."""
        return self._async_show_outcome("checked", user_input)

    async def async_step_no_tool_calls(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Say that the model does not control anything, and connect the server nevertheless."""
        return self._async_show_outcome("no_tool_calls", user_input)

    async def async_step_too_long(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Say that the home does not fit, and connect the server nevertheless."""
        return self._async_show_outcome("too_long", user_input)

    def _async_show_outcome(self, step_id: str, user_input: dict[str, Any] | None) -> ConfigFlowResult:
        if user_input is not None or self._outcome is None:
            self._abort_if_unique_id_configured()
            title = free_title(self.hass, DEFAULT_NAME, self._where)
            subentries = [self._named(subentry, title) for subentry in self.first_subentries]
            return self.async_create_entry(title=title, data=self._data, subentries=subentries)
        trial, size = self._outcome
        placeholders = {"model": trial.model, "first_token_ms": f"{trial.first_token_ms:,.0f}", **size.placeholders}
        return self.async_show_form(step_id=step_id, description_placeholders=placeholders)

    def _named(self, subentry: ConfigSubentryData, title: str) -> ConfigSubentryData:
        """Return one of the first subentries with a title that tells it from those of other servers."""
        own = title if subentry["title"] == DEFAULT_NAME else free_title(self.hass, subentry["title"], self._where)
        return ConfigSubentryData(
            subentry_type=subentry["subentry_type"], data=subentry["data"], title=own, unique_id=subentry["unique_id"]
        )

    async def async_step_reauth(self, entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Begin to ask for another key: the server refuses the one it was connected with."""
        return await self.async_step_reauth_confirm()

    async def async_step_reauth_confirm(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for another key."""
        result, errors = await self._async_change(self._get_reauth_entry(), user_input)
        return result or self.async_show_form(step_id="reauth_confirm", data_schema=KEY_SCHEMA, errors=errors)

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for another address or key; a key that is left out stays as it is."""
        entry = self._get_reconfigure_entry()
        result, errors = await self._async_change(entry, user_input)
        suggested = user_input or {CONF_URL: entry.data[CONF_URL]}
        return result or self.async_show_form(
            step_id="reconfigure",
            data_schema=self.add_suggested_values_to_schema(RECONFIGURE_SCHEMA, suggested),
            errors=errors,
            description_placeholders={"example_url": DEFAULT_URL},
        )

    async def _async_change(
        self, entry: ConfigEntry, user_input: dict[str, Any] | None
    ) -> tuple[ConfigFlowResult | None, dict[str, str]]:
        """Store an answer that the server accepts, and return the end of the dialog; else what is wrong with it."""
        if user_input is None:
            return None, {}
        try:
            return self._finish(entry, await async_verify(self.hass, entry, user_input)), {}
        except ZoeError as err:
            return None, form_errors(err)

    def _finish(self, entry: ConfigEntry, data: dict[str, Any]) -> ConfigFlowResult:
        """Store the answer. An entry that is set up reloads by itself, another one has to be told to."""
        if entry.update_listeners:
            return self.async_update_and_abort(entry, data=data)
        return self.async_update_reload_and_abort(entry, data=data)


def _step_for(outcome: Outcome) -> str:
    trial, size = outcome
    if not size.fits:
        return "too_long"
    return "checked" if trial.calls_tools else "no_tool_calls"


class ZoeConfigFlow(ConnectionFlow, domain=DOMAIN):
    """Connects a Zoe server, and gives it an agent and an AI task."""

    VERSION = 1
    MINOR_VERSION = 1

    first_subentries = (
        ConfigSubentryData(
            subentry_type=SUBENTRY_CONVERSATION,
            data={CONF_LLM_HASS_API: [llm.LLM_API_ASSIST]},
            title=DEFAULT_NAME,
            unique_id=None,
        ),
        ConfigSubentryData(subentry_type=SUBENTRY_AI_TASK, data={}, title=DEFAULT_AI_TASK_NAME, unique_id=None),
    )

    @classmethod
    @callback
    @override
    def async_get_supported_subentry_types(cls, config_entry: ConfigEntry) -> dict[str, type[ConfigSubentryFlow]]:
        """Return what can be added to a server."""
        return {SUBENTRY_CONVERSATION: ConversationSubentryFlow, SUBENTRY_AI_TASK: AITaskSubentryFlow}
