"""What came of one tool call, as far as its result tells."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from homeassistant.helpers import intent, llm


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call. `done` and `failed` name what it reached and what not, as far as that was told.

    `said` is what the tool itself wants to be spoken, "" if nothing.
    """

    tool: str
    changes: bool
    ok: bool
    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    said: str = ""

    @classmethod
    def of(cls, tool: llm.Tool, result: llm.ToolResult, target: str | None = None) -> Self:
        """Read the result of `tool`; `target` is what the call named, for results that name nothing."""
        named = (target,) if target else ()
        changes = not tool.annotations.read_only
        response = getattr(result.data, "original", None)
        if result.error or (isinstance(response, intent.IntentResponse) and response.error_code is not None):
            return cls(tool.name, changes, ok=False, failed=named)
        if not isinstance(response, intent.IntentResponse):
            return cls(tool.name, changes, ok=True, done=named)
        done = _names(response.success_results)
        said = str(response.speech.get("plain", {}).get("speech") or "")
        return cls(tool.name, changes, True, done or named, _names(response.failed_results), said)


def _names(targets: Iterable[intent.IntentResponseTarget]) -> tuple[str, ...]:
    """Return the names of the devices among the targets, or of the areas and floors if there are no devices."""
    listed: list[Any] = list(targets)
    devices = [target.name for target in listed if target.type is intent.IntentResponseTargetType.ENTITY]
    return tuple(dict.fromkeys(devices or [target.name for target in listed]))


def done_names(outcomes: Iterable[Outcome]) -> list[str]:
    """Return what the changing calls among `outcomes` reached, each name once."""
    return list(dict.fromkeys(name for outcome in outcomes if outcome.changes for name in outcome.done))


def failed_names(outcomes: Iterable[Outcome]) -> list[str]:
    """Return what changing calls did not reach, and no other call of them did either."""
    outcomes = list(outcomes)
    done = set(done_names(outcomes))
    failed = (name for outcome in outcomes if outcome.changes for name in outcome.failed)
    return list(dict.fromkeys(name for name in failed if name not in done))


def anything_changed(outcomes: Iterable[Outcome]) -> bool:
    """Return whether any call that changes something succeeded."""
    return any(outcome.changes and outcome.ok for outcome in outcomes)
