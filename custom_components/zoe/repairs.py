"""How what is wrong with a server is put right: one flow for each kind of issue, which ends when it is.

Where a model is missing, the server downloads one:

init ─> confirm ─> download ─┬─> done
            ^────────────────┘ it failed
"""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, override

import probatio
from homeassistant.components.repairs import ConfirmRepairFlow, RepairsFlow, RepairsFlowResult
from homeassistant.const import CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers.selector import (
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)
from homeassistant.helpers.translation import async_get_translations

from . import issues
from .api.errors import ZoeError, ZoeRequestRefusedError, ZoeStreamBrokenError
from .api.offers import DownloadProgress, OfferedModel
from .api.openai_client import client_for
from .checks import async_measure_prompt, async_test_agent, note_size
from .connection import async_verify, form_errors
from .const import CONF_MODEL, SUBENTRY_CONVERSATION
from .coordinator import ZoeConfigEntry
from .home import async_hide, exposed_areas, exposed_domains

type Errors = dict[str, str]

_DOMAINS: Final = "domains"
_AREAS: Final = "areas"


async def async_create_fix_flow(
    hass: HomeAssistant, issue_id: str, data: dict[str, str | int | float | None] | None
) -> RepairsFlow:
    """Return the flow that mends an issue; one of a server that is gone only has to be confirmed."""
    found = {key: str(value) for key, value in (data or {}).items()}
    entry: ZoeConfigEntry | None = hass.config_entries.async_get_entry(found.get("entry_id", ""))
    if entry is None or entry.disabled_by is not None:
        return ConfirmRepairFlow()
    kind = found["kind"]
    if (role := issues.ROLES.get(kind)) is not None:
        return MissingModelFlow(entry, found, role)
    return _FLOWS[kind](entry, found)


class ZoeRepairFlow(RepairsFlow):
    """A form that is shown until what it does has helped."""

    def __init__(self, entry: ZoeConfigEntry, found: Mapping[str, str]) -> None:
        self.entry = entry
        self.found = dict(found)

    async def async_step_init(self, user_input: dict[str, str] | None = None) -> RepairsFlowResult:
        """Begin; what comes in here is the issue's id, and no answer."""
        return await self.async_step_confirm()

    async def async_step_confirm(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Try to put it right."""
        errors: Errors = {}
        if user_input is not None:
            try:
                errors = await self.async_fix(user_input)
            except ZoeError as err:
                self.found["message"] = err.message
                errors = form_errors(err)
            if not errors:
                return self.async_create_entry(data={})
        return self.async_show_form(
            step_id="confirm",
            data_schema=self.add_suggested_values_to_schema(await self.async_schema(), user_input),
            errors=errors,
            description_placeholders=self.found,
        )

    async def async_schema(self) -> probatio.Schema:
        """Return the fields of the form."""
        return probatio.Schema({})

    @abstractmethod
    async def async_fix(self, user_input: dict[str, Any]) -> Errors:
        """Do what there is to do; return what still is wrong.

        Raises:
            ZoeError: the server or a model fails.
        """


class UnreachableFlow(ZoeRepairFlow):
    """Asks for the address at which the server is now."""

    @override
    async def async_schema(self) -> probatio.Schema:
        """Return the address."""
        field = TextSelector(TextSelectorConfig(type=TextSelectorType.URL))
        return probatio.Schema({probatio.Required(CONF_URL, default=self.entry.data[CONF_URL]): field})

    @override
    async def async_fix(self, user_input: dict[str, Any]) -> Errors:
        """Connect the entry again, at the new address."""
        data = await async_verify(self.hass, self.entry, {CONF_URL: user_input[CONF_URL]})
        changed = self.hass.config_entries.async_update_entry(self.entry, data=data)
        if not (changed and self.entry.update_listeners):  # else it reloads by itself
            self.hass.config_entries.async_schedule_reload(self.entry.entry_id)
        return {}


class TooOldFlow(ZoeRepairFlow):
    """Waits for the server to be updated."""

    @override
    async def async_fix(self, user_input: dict[str, Any]) -> Errors:
        """See whether it is."""
        await async_verify(self.hass, self.entry, {})
        self.hass.config_entries.async_schedule_reload(self.entry.entry_id)
        return {}


class QuarantinedFlow(ZoeRepairFlow):
    """Loads a model out of quarantine."""

    @override
    async def async_fix(self, user_input: dict[str, Any]) -> Errors:
        """Load it."""
        try:
            await client_for(self.hass, self.entry.data).async_load_model(self.found["model"])
        except ZoeError as err:
            self.found["message"] = err.message
            return {"base": "load_failed"}
        return {}


class NoToolCallsFlow(ZoeRepairFlow):
    """Checks an agent again, after another model was chosen for it."""

    @override
    async def async_fix(self, user_input: dict[str, Any]) -> Errors:
        """Let its model try once more."""
        agent = self.entry.subentries.get(self.found["about"])
        if agent is None:
            return {}
        trial = (await async_test_agent(self.hass, self.entry, agent)).trial
        if trial is None or trial.calls_tools:
            return {}
        self.found["model"] = trial.model
        return {"base": "still_no_tool_calls"}


class PromptTooLongFlow(ZoeRepairFlow):
    """Takes whole domains and areas from voice assistants until the rest fits."""

    @override
    async def async_schema(self) -> probatio.Schema:
        """Return what may be taken, with the numbers of its entities."""
        domains, areas = exposed_domains(self.hass), exposed_areas(self.hass)
        titles = await async_get_translations(self.hass, self.hass.config.language, "title", set(domains))
        names = {area.id: area.name for area in ar.async_get(self.hass).async_list_areas()}
        return probatio.Schema(
            {
                probatio.Optional(_DOMAINS): _choice(
                    {one: f"{titles.get(f'component.{one}.title', one)} ({domains[one]})" for one in domains}
                ),
                probatio.Optional(_AREAS): _choice({one: f"{names[one]} ({areas[one]})" for one in areas}),
            }
        )

    @override
    async def async_fix(self, user_input: dict[str, Any]) -> Errors:
        """Take it, and count again."""
        async_hide(self.hass, user_input.pop(_DOMAINS, ()), user_input.pop(_AREAS, ()))
        agent = self.entry.subentries.get(self.found["about"])
        if agent is None or agent.subentry_type != SUBENTRY_CONVERSATION:
            return {}
        size = await async_measure_prompt(self.hass, client_for(self.hass, self.entry.data), agent.data)
        note_size(self.hass, self.entry, agent, size)
        self.found |= size.placeholders
        return {} if size.fits else {"base": "still_too_long"}


def _choice(options: Mapping[str, str]) -> SelectSelector:
    choices = sorted(options.items(), key=lambda option: option[1])
    return SelectSelector(
        SelectSelectorConfig(
            options=[SelectOptionDict(value=value, label=label) for value, label in choices], multiple=True
        )
    )


_FLOWS: Final[Mapping[str, type[ZoeRepairFlow]]] = {
    issues.UNREACHABLE: UnreachableFlow,
    issues.TOO_OLD: TooOldFlow,
    issues.MODEL_QUARANTINED: QuarantinedFlow,
    issues.NO_TOOL_CALLS: NoToolCallsFlow,
    issues.PROMPT_TOO_LONG: PromptTooLongFlow,
}

_TOLD_APART: Final = ("cannot_connect", "invalid_auth")


class MissingModelFlow(RepairsFlow):
    """Offers models for `role`, and waits until the server has one. The server goes on if the dialog is closed."""

    def __init__(self, entry: ZoeConfigEntry, found: Mapping[str, str], role: str) -> None:
        self.entry = entry
        self.found = dict(found)
        self._role = role
        self._models: list[OfferedModel] = []
        self._wanted = ""
        self._download: asyncio.Task[None] | None = None
        self._errors: dict[str, str] = {}

    async def async_step_init(self, user_input: dict[str, str] | None = None) -> RepairsFlowResult:
        """Ask the server what it can get; one that is too old for that does not know the question."""
        try:
            offers = await client_for(self.hass, self.entry.data).async_offers()
        except ZoeRequestRefusedError:
            return self.async_abort(reason="cannot_download", description_placeholders=self.found)
        except ZoeError as err:
            placeholders = {**self.found, "message": err.message}
            return self.async_abort(reason="no_answer", description_placeholders=placeholders)
        self._models = offers.for_role(self._role)
        if not self._models:
            return self.async_abort(reason="cannot_download", description_placeholders=self.found)
        return await self.async_step_confirm()

    async def async_step_confirm(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Offer the recommended model and the others that fit; say what went wrong with the last attempt."""
        if user_input:
            self._wanted, self._errors = user_input[CONF_MODEL], {}
            return await self.async_step_download()
        best = self._models[0]
        options = [SelectOptionDict(value=model.name, label=model.label) for model in self._models]
        field = SelectSelector(SelectSelectorConfig(options=options))
        return self.async_show_form(
            step_id="confirm",
            data_schema=probatio.Schema({probatio.Required(CONF_MODEL, default=self._wanted or best.name): field}),
            errors=self._errors,
            description_placeholders={**self.found, **best.placeholders},
        )

    async def async_step_download(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Show how far the download is, until it ends."""
        if self._download is None:
            work = self._async_download(next(model for model in self._models if model.name == self._wanted))
            self._download = self.hass.async_create_background_task(work, f"download of {self._wanted}")
        if not self._download.done():
            return self.async_show_progress(
                step_id="download",
                progress_action="download",
                description_placeholders={**self.found, CONF_MODEL: self._wanted},
                progress_task=self._download,
            )
        download, self._download = self._download, None
        try:
            await download
        except ZoeError as err:
            self.found["message"] = err.message
            self._errors = _form_errors(err)
            return self.async_show_progress_done(next_step_id="confirm")
        return self.async_show_progress_done(next_step_id="done")

    async def async_step_done(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """End; the entry learns of the new model when it is set up again."""
        self.hass.config_entries.async_schedule_reload(self.entry.entry_id)
        return self.async_create_entry(data={})

    async def _async_download(self, model: OfferedModel) -> None:
        progress = DownloadProgress(model.download_bytes)
        async for step in client_for(self.hass, self.entry.data).async_pull(model.name):
            if (share := progress.share(step)) is not None:
                self.async_update_progress(share)


def _form_errors(err: ZoeError) -> dict[str, str]:
    if isinstance(err, ZoeStreamBrokenError):
        return {"base": "connection_lost"}
    return {"base": err.translation_key if err.translation_key in _TOLD_APART else "download_failed"}
