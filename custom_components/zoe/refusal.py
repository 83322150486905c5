"""A tool call that is not made, and what the model is told so that it can mend it.

The texts are for models, in English like the descriptions of Home Assistant's tools.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, override

from homeassistant.helpers import llm

from .intervention import Intervention


@dataclass(slots=True)
class AwaitingConsent(llm.ToolResult):
    """The result of a call that waits for a yes: which call it is.

    It is known by its class, not by its data: any tool can return any data, but only the executor makes these.
    """

    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


class RefusalError(Exception):
    """Why a call is not made. `target` is what it named; `details` are more members of the result."""

    def __init__(
        self,
        kind: Intervention,
        text: str,
        *,
        candidates: Sequence[str] = (),
        target: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.candidates = list(candidates)
        self.target = target
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
    text = "The user only asked a question, so nothing was changed. Answer it with a tool that reads."
    return RefusalError(Intervention.QUESTION_ONLY, text, candidates=readers)


def repeated_call(result: llm.ToolResult | None) -> RefusalError:
    """Return the refusal of a call that was made before with `result`."""
    text = "This very call was made before, and nothing has changed since. Tell the user what came of it."
    return RefusalError(Intervention.REPEATED_CALL, text, details={"result": dict(result.data) if result else None})


class ConsentError(RefusalError):
    """A call waits until the user says yes."""

    def __init__(self, tool: str, arguments: dict[str, Any], names: Sequence[str]) -> None:
        text = "The user is asked for consent. Nothing was done yet. After a yes, the call is made."
        super().__init__(Intervention.CONSENT_NEEDED, text, target=", ".join(names))
        self._tool = tool
        self._arguments = arguments

    @override
    def as_result(self) -> llm.ToolResult:
        """Return the result that the model gets instead, which knows the call."""
        return AwaitingConsent(super().as_result().data, True, self._tool, self._arguments)
