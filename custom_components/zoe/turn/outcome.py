"""What came of a tool call: its result as far as that tells, or a refusal and what the model is told to mend it.

The texts are for models, in English like the descriptions of Home Assistant's tools.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from homeassistant.helpers import intent, llm
from homeassistant.util import dt as dt_util

from .effects import Direction, Effects, Risk


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


class Intervention(StrEnum):
    """Besides these, the kinds of `repair.Repair` are counted, and `names.Found` as "name_letters" and so on."""

    TOOL_NAME = "tool_name"
    ARGUMENT_NAME = "argument_name"
    FILTER_DROPPED = "filter_dropped"
    AREA_AS_NAME = "area_as_name"
    BROKEN_ARGUMENTS = "broken_arguments"
    UNKNOWN_TOOL = "unknown_tool"
    UNKNOWN_NAME = "unknown_name"
    AMBIGUOUS_NAME = "ambiguous_name"
    REPEATED_CALL = "repeated_call"
    QUESTION_ONLY = "question_only"
    UNKNOWN_ARGUMENT = "unknown_argument"
    UNKNOWN_PLACE = "unknown_place"
    WHICH_PLACE = "which_place"
    NOT_SPOKEN_OF = "not_spoken_of"
    CANNOT_WAIT = "cannot_wait"
    LEFT_OUT = "left_out"
    NEVER_UNATTENDED = "never_unattended"
    PLACE_ADDED = "place_added"
    CONSENT_NEEDED = "consent_needed"
    ANSWER_FROM_RESULT = "answer_from_result"
    ANSWER_CORRECTED = "answer_corrected"
    ASKED_AGAIN = "asked_again"
    STOPPED = "stopped"
    WRONG_STRUCTURE = "wrong_structure"
    HISTORY_TRIMMED = "history_trimmed"


@dataclass(slots=True)
class AwaitingConsent(llm.ToolResult):
    """The result of a call that waits for a yes: which call it is, when and from which device it was asked about.

    It is known by its class, not by its data: any tool can return any data, but only the executor makes these.
    """

    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    asked: datetime = field(default_factory=dt_util.utcnow)
    device_id: str | None = None


class RefusalError(Exception):
    """Why a call is not made. `target` is what it named; `details` are more members of the result.

    `spoken` is the sentence that tells the user, filled with `target`, where the model's own words do not.
    """

    def __init__(
        self,
        kind: Intervention,
        text: str,
        *,
        candidates: Sequence[str] = (),
        target: str | None = None,
        spoken: str = "",
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.candidates = list(candidates)
        self.target = target
        self.spoken = spoken
        self.details = details or {}

    def as_result(self) -> llm.ToolResult:
        """Return the result that the model gets instead."""
        data: dict[str, Any] = {"error": self.kind.value, "error_text": self.text, **self.details}
        if self.candidates:
            data["candidates"] = self.candidates
        return llm.ToolResult(data=data, error=True)


def broken_arguments(tool: str, problem: str) -> RefusalError:
    """Return the refusal of a call whose arguments are not JSON."""
    text = f"The arguments of {tool} are not a JSON object ({problem}). Nothing was done. Make the call again."
    return RefusalError(Intervention.BROKEN_ARGUMENTS, text)


def unknown_tool(said: str, candidates: Sequence[str]) -> RefusalError:
    """Return the refusal of a tool that does not exist."""
    text = f"There is no tool {said!r}. Nothing was done. Use one of the tools you were given, or say that you cannot."
    return RefusalError(Intervention.UNKNOWN_TOOL, text, candidates=candidates)


def unknown_name(argument: str, said: str, candidates: Sequence[str]) -> RefusalError:
    """Return the refusal of a name that nothing has."""
    text = (
        f"There is no {argument} {said!r} for this tool. Nothing was done. If one of the candidates is meant, use it."
    )
    return RefusalError(Intervention.UNKNOWN_NAME, text, candidates=candidates, target=said)


def ambiguous_name(argument: str, said: str, candidates: Sequence[str]) -> RefusalError:
    """Return the refusal of a name that several things have."""
    text = (
        f"The {argument} {said!r} fits all of the candidates. Nothing was done. Make one call for each that is meant, "
        "or ask the user which one it is."
    )
    return RefusalError(Intervention.AMBIGUOUS_NAME, text, candidates=candidates, target=said)


def question_only(readers: Sequence[str]) -> RefusalError:
    """Return the refusal of a change because of a question."""
    text = (
        "The user seems to have asked a question only, so nothing was changed. Answer it with a tool that reads. If it "
        "is an order after all, make the same call again."
    )
    return RefusalError(Intervention.QUESTION_ONLY, text, candidates=readers)


def repeated_call(result: llm.ToolResult | None) -> RefusalError:
    """Return the refusal of a call that was made before with `result`."""
    text = "This very call was made before, and nothing has changed since. Tell the user what came of it."
    return RefusalError(Intervention.REPEATED_CALL, text, details={"result": dict(result.data) if result else None})


def unknown_argument(tool: str, argument: str, known: Sequence[str]) -> RefusalError:
    """Return the refusal of an argument that the tool does not have; without it, the call would mean something else."""
    text = f"{tool} has no argument {argument!r}. Nothing was done. Make the call again with the arguments that it has."
    return RefusalError(Intervention.UNKNOWN_ARGUMENT, text, candidates=known)


def unknown_place(said: str, candidates: Sequence[str]) -> RefusalError:
    """Return the refusal of a call about a place or thing that was said and does not exist."""
    text = f"The user spoke of {said!r}, and there is nothing of that name here. Nothing was done. Say so."
    return RefusalError(Intervention.UNKNOWN_PLACE, text, candidates=candidates, target=said, spoken="unknown_place")


def which_place(candidates: Sequence[str]) -> RefusalError:
    """Return the refusal of a call that says neither a thing nor a place, and would reach the whole house."""
    text = "Neither a room nor the whole house was named. Nothing was done. Ask the user which room is meant."
    return RefusalError(Intervention.WHICH_PLACE, text, candidates=candidates, spoken="which_place")


def not_spoken_of(names: Sequence[str], candidates: Sequence[str], unknown: str) -> RefusalError:
    """Return the refusal of a thing that the user did not speak of; `unknown` is what he named instead, or ""."""
    told = f"The user did not speak of {', '.join(names)}"
    told += f", but of {unknown!r}, which does not exist" if unknown else ""
    text = f"{told}. Nothing was done. If you are not sure what is meant, ask the user."
    spoken = "unknown_place" if unknown else "which_thing"
    return RefusalError(Intervention.NOT_SPOKEN_OF, text, candidates=candidates, target=unknown or None, spoken=spoken)


def cannot_wait() -> RefusalError:
    """Return the refusal to do now what is wanted later."""
    text = (
        "The user wants this later, and no timer can be started from here. Nothing was done. Say that you cannot wait."
    )
    return RefusalError(Intervention.CANNOT_WAIT, text, spoken="cannot_wait")


def nothing_left(names: Sequence[str]) -> RefusalError:
    """Return the refusal of a call that names no thing and reaches nothing but what has to be named."""
    text = "This guards the home and is only done when the user names it. Nothing was done. Ask which one is meant."
    return RefusalError(Intervention.LEFT_OUT, text, candidates=names, target=", ".join(names), spoken="left_out")


def never_unattended(names: Sequence[str]) -> RefusalError:
    """Return the refusal of an AI task to open the home."""
    text = f"A task must not open {', '.join(names)}: nobody is there to agree. Nothing was done."
    return RefusalError(Intervention.NEVER_UNATTENDED, text, target=", ".join(names))


class ConsentError(RefusalError):
    """A call waits until the user says yes. `questions` are the sentences that ask, each with the names for it."""

    def __init__(self, tool: str, arguments: dict[str, Any], effects: Effects, level: Risk) -> None:
        text = "The user is asked for consent. Nothing was done yet. After a yes, the call is made."
        names = effects.names(level)
        super().__init__(Intervention.CONSENT_NEEDED, text, target=", ".join(names))
        self.questions = _questions(effects, level)
        self.later = effects.delayed
        self._tool = tool
        self._arguments = arguments

    def waiting(self, asked: datetime, device_id: str | None) -> AwaitingConsent:
        """Return the result that the model gets instead, which knows the call."""
        return AwaitingConsent(self.as_result().data, True, self._tool, self._arguments, asked, device_id)


def _questions(effects: Effects, level: Risk) -> dict[str, tuple[str, ...]]:
    """Return for each question that asks about effects of a risk the names that it is about."""
    if effects.outside:
        return {"consent_run": (effects.outside,)}
    asked: dict[str, tuple[str, ...]] = {}
    for effect in effects.each:
        if effect.risk >= level:
            key = _CONSENT_QUESTIONS.get(effect.direction, "consent_change")
            asked[key] = tuple(dict.fromkeys((*asked.get(key, ()), effect.name)))
    return asked


_CONSENT_QUESTIONS: Final = {
    Direction.UNLOCK: "consent_unlock",
    Direction.OPEN: "consent_open",
    Direction.DISARM: "consent_disarm",
    Direction.RUN: "consent_run",
}
