"""The dialog that lets a server download a model for something that none of its models is for.

init ─> confirm ─> download ─┬─> done
            ^────────────────┘ it failed
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import probatio
from homeassistant.components.repairs import RepairsFlow, RepairsFlowResult
from homeassistant.helpers.selector import SelectOptionDict, SelectSelector, SelectSelectorConfig

from .connection import client_for
from .const import CONF_MODEL
from .errors import ZoeError, ZoeRequestRefusedError, ZoeStreamBrokenError
from .models import ZoeConfigEntry
from .offers import DownloadProgress, OfferedModel

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
