"""What is wrong with a server, told as issues that Home Assistant shows under Repairs.

| Issue | Raised | Removed |
|---|---|---|
| `server_unreachable` | it has not answered for five minutes | it answers |
| `server_too_old` | it does not know what it is asked | it does |
| `model_quarantined` | a model's engine ended too often | it is not in quarantine |
| `no_tools_model` | an agent may control the home, and no model is for tools | there is one, or no such agent |
| `no_vision_model` | an AI task got pictures, and the server has no model that sees | there is one |
| `prompt_too_long` | a check found that the home does not fit | a check found that it does |
| `no_tool_calls` | a check found that the model makes none | a check found that it does |

A key that is refused is asked for by Home Assistant itself (reauthentication). None of this outlives a restart: what
still is wrong then is found again.
"""

import time
from collections.abc import Mapping
from typing import Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_LLM_HASS_API
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir
from homeassistant.util.hass_dict import HassKey

from .api.errors import ZoeCannotConnectError, ZoeError, ZoeNotZoeError, ZoeOutdatedError, ZoeStreamBrokenError
from .api.status import QUARANTINED, ServerStatus
from .const import DOMAIN, SUBENTRY_CONVERSATION, UNREACHABLE_AFTER_S

UNREACHABLE: Final = "server_unreachable"
TOO_OLD: Final = "server_too_old"
MODEL_QUARANTINED: Final = "model_quarantined"
NO_TOOLS_MODEL: Final = "no_tools_model"
NO_VISION_MODEL: Final = "no_vision_model"
PROMPT_TOO_LONG: Final = "prompt_too_long"
NO_TOOL_CALLS: Final = "no_tool_calls"
ALL: Final = (
    *(UNREACHABLE, TOO_OLD, MODEL_QUARANTINED, NO_TOOLS_MODEL, NO_VISION_MODEL),
    *(PROMPT_TOO_LONG, NO_TOOL_CALLS),
)
ROLES: Final[Mapping[str, str]] = {NO_TOOLS_MODEL: "tools", NO_VISION_MODEL: "vision"}
"""What a model is missing for."""

_AWAY: Final = (ZoeCannotConnectError, ZoeNotZoeError, ZoeStreamBrokenError)

# When each server was missed first, by `time.monotonic`. An entry that cannot be set up has no other place for it.
_MISSED: HassKey[dict[str, float]] = HassKey("zoe_missed")


@callback
def async_note_failure(hass: HomeAssistant, entry: ConfigEntry, err: ZoeError) -> None:
    """Raise the issues that a poll which ended with `err` tells of."""
    if isinstance(err, ZoeOutdatedError):
        async_raise(hass, entry, TOO_OLD, version=err.message)
    if not isinstance(err, _AWAY):
        _async_forget_missed(hass, entry)
        return
    missed = hass.data.setdefault(_MISSED, {}).setdefault(entry.entry_id, time.monotonic())
    if time.monotonic() - missed >= UNREACHABLE_AFTER_S:
        async_raise(hass, entry, UNREACHABLE, message=err.message)


@callback
def async_note_status(hass: HomeAssistant, entry: ConfigEntry, status: ServerStatus) -> None:
    """Raise and remove what a poll that succeeded tells of."""
    _async_forget_missed(hass, entry)
    async_remove(hass, entry, TOO_OLD)
    _async_note_quarantines(hass, entry, status)
    if ROLES[NO_TOOLS_MODEL] not in status.roles and _controls_home(entry):
        async_raise(hass, entry, NO_TOOLS_MODEL, models=", ".join(model.name for model in status.models))
    else:
        async_remove(hass, entry, NO_TOOLS_MODEL)
    if ROLES[NO_VISION_MODEL] in status.roles:
        async_remove(hass, entry, NO_VISION_MODEL)


@callback
def _async_note_quarantines(hass: HomeAssistant, entry: ConfigEntry, status: ServerStatus) -> None:
    reasons = {model.name: model.reason for model in status.models if model.state == QUARANTINED}
    kept = {_issue_id(entry.entry_id, MODEL_QUARANTINED, name) for name in reasons}
    for issue_id in _issue_ids(hass, _issue_id(entry.entry_id, MODEL_QUARANTINED, "")):
        if issue_id not in kept:
            ir.async_delete_issue(hass, DOMAIN, issue_id)
    for name, reason in reasons.items():
        async_raise(hass, entry, MODEL_QUARANTINED, about=name, model=name, message=reason)


@callback
def async_raise(hass: HomeAssistant, entry: ConfigEntry, kind: str, *, about: str = "", **placeholders: str) -> None:
    """Raise an issue of `kind`; `about` tells several of one kind apart."""
    ir.async_create_issue(
        hass,
        DOMAIN,
        _issue_id(entry.entry_id, kind, about),
        is_fixable=True,
        severity=ir.IssueSeverity.ERROR if kind == UNREACHABLE else ir.IssueSeverity.WARNING,
        translation_key=kind,
        translation_placeholders={"name": entry.title, **placeholders},
        data={"kind": kind, "entry_id": entry.entry_id, "about": about, "name": entry.title, **placeholders},
    )


@callback
def async_remove(hass: HomeAssistant, entry: ConfigEntry, kind: str, *, about: str = "") -> None:
    """Remove an issue, if there is such a one."""
    ir.async_delete_issue(hass, DOMAIN, _issue_id(entry.entry_id, kind, about))


@callback
def async_remove_all(hass: HomeAssistant, entry: ConfigEntry) -> None:
    """Remove all issues of a server that is not wanted any more."""
    _async_forget_missed(hass, entry)
    for kind in ALL:
        for issue_id in _issue_ids(hass, _issue_id(entry.entry_id, kind, "")):
            ir.async_delete_issue(hass, DOMAIN, issue_id)


@callback
def _async_forget_missed(hass: HomeAssistant, entry: ConfigEntry) -> None:
    hass.data.get(_MISSED, {}).pop(entry.entry_id, None)
    async_remove(hass, entry, UNREACHABLE)


def _controls_home(entry: ConfigEntry) -> bool:
    agents = entry.get_subentries_of_type(SUBENTRY_CONVERSATION)
    return any(agent.data.get(CONF_LLM_HASS_API) for agent in agents)


def _issue_ids(hass: HomeAssistant, prefix: str) -> list[str]:
    """Return the issues of one kind and server: one, or one for each thing that it is about."""
    ours = (issue_id for domain, issue_id in ir.async_get(hass).issues if domain == DOMAIN)
    return [issue_id for issue_id in ours if issue_id == prefix or issue_id.startswith(f"{prefix}.")]


def _issue_id(entry_id: str, kind: str, about: str) -> str:
    return f"{kind}.{entry_id}.{about}" if about else f"{kind}.{entry_id}"
