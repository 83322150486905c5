"""Which tool calls need a spoken consent, if the user wants to be asked.

By the annotations of the tool, and by what it reaches: nearly all tools of Home Assistant that change anything are
annotated as destructive, so among those that stay in the home only the ones count that open or guard it. A tool of the
open world (a script, a remote tool) counts always, unless it only reads. What it cannot know: what a script does.
"""

from collections.abc import Iterable
from typing import Any, Final

from homeassistant.const import ATTR_DEVICE_CLASS
from homeassistant.core import HomeAssistant, State, callback
from homeassistant.helpers import intent, llm

_GUARDS: Final = frozenset({"alarm_control_panel", "lock", "siren", "valve"})
_GATES: Final = frozenset({"door", "garage", "gate"})


@callback
def guarded_names(
    hass: HomeAssistant, tool: llm.Tool, arguments: dict[str, Any], assistant: str
) -> tuple[str, ...] | None:
    """Return the names of what a consent is needed for, or None if the call needs none."""
    annotations = tool.annotations
    if annotations.read_only:
        return None
    if annotations.open_world:
        return (tool.title or tool.name,)
    if not annotations.destructive:
        return None
    return tuple(state.name for state in _targets(hass, arguments, assistant) if _is_guarded(state)) or None


def _is_guarded(state: State) -> bool:
    is_gate = state.domain == "cover" and state.attributes.get(ATTR_DEVICE_CLASS) in _GATES
    return state.domain in _GUARDS or is_gate


def _targets(hass: HomeAssistant, arguments: dict[str, Any], assistant: str) -> Iterable[State]:
    """Return what the arguments of an intent select, as Home Assistant selects it; duplicates of a name all count."""
    name, area, floor = (_text(arguments.get(key)) for key in ("name", "area", "floor"))
    constraints = intent.MatchTargetsConstraints(
        name=None if name == "all" else name,
        area_name=area,
        floor_name=floor,
        domains=_listed(arguments.get("domain")),
        device_classes=_listed(arguments.get("device_class")),
        assistant=assistant,
        allow_duplicate_names=True,
    )
    return intent.async_match_targets(hass, constraints).states if constraints.has_constraints else ()


def _text(value: object) -> str | None:
    """Return a value as intents read it: a number is a name, too."""
    return None if value is None else str(value)


def _listed(value: object) -> list[str] | None:
    if not value:
        return None
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
