"""What a chat template can do, found out by asking it: it renders small conversations, and what comes out tells.

No template says which messages it takes, and many refuse or leave out what they do not know. It is asked once, when the
model is loaded; `messages` then makes of every request what this template takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

Messages = list[dict[str, Any]]
Render = Callable[[Messages, list[dict[str, Any]]], str]
"""Renders messages with tools; it may raise anything."""

_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
ROLES: Final = ("system", "user", "assistant", "tool")
_PARAMETERS: Final = {
    "type": "object",
    "properties": {"epsilon": {"type": "string", "description": "eta"}},
    "required": ["epsilon"],
}
_TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {"name": "delta", "description": "theta", "parameters": _PARAMETERS},
}
_IDS: Final = ("a1B2c3D4e", "f5G6h7I8j")
"""Ids that all templates take; Mistral's take no others."""


@dataclass(frozen=True, slots=True)
class CallForm:
    """How a template wants the calls of earlier answers: ids, arguments (an object, or JSON as text), and how many."""

    short_ids: bool = False
    arguments_as_text: bool = False
    one_per_message: bool = False


@dataclass(frozen=True, slots=True)
class TemplateAbilities:
    """What a template takes.

    `system` messages at all, several of them at the beginning, and in the middle; turns of one role in a row, and an
    assistant's as the first; texts as parts, of which roles; the definitions of `tools`, the `calls` of earlier
    answers (None: it does not show them) and results whose call is missing; under which name it reads the `reasoning`
    of earlier answers (None: it must not get any).
    """

    system: bool = True
    several_system: bool = True
    middle_system: bool = True
    repeated_roles: bool = True
    assistant_first: bool = True
    roles_of_parts: frozenset[str] = frozenset()
    tools: bool = True
    calls: CallForm | None = CallForm()
    results_alone: bool = True
    reasoning: str | None = _REASONING[0]


PLAINEST: Final = TemplateAbilities(False, False, False, False, False, frozenset(), True, None, False, None)
"""What every template takes: turns of user and assistant, one after the other."""


def ask(render: Render) -> TemplateAbilities:
    """Return what the template behind `render` can do."""
    trial = _Trial(render)
    user, answer, end = _text("user", "kappa"), _text("assistant", "beta"), _text("user", "gamma")
    system, other = _text("system", "alpha"), _text("system", "omega")
    return TemplateAbilities(
        system=trial.changes([end], [system, end]),
        several_system=trial.adds_system([_text("system", "Alpha."), _text("user", "Gamma.")], "Beta."),
        middle_system=trial.changes([user, answer, end], [user, answer, other, end])
        and trial.shows([system, end], "alpha") <= trial.shows([system, user, answer, other, end], "alpha", "omega"),
        repeated_roles=trial.shows([user, end], "kappa", "gamma")
        and trial.shows([user, answer, _text("assistant", "omega"), end], "beta", "omega"),
        assistant_first=trial.render([answer, end]) is not None,
        roles_of_parts=trial.roles_of_parts,
        tools=any(trial.shows(messages, "delta", tools=[_TOOL]) for messages in ([end], [system, end])),
        calls=trial.call_form(),
        results_alone=trial.shows([_result("omega", _IDS[0]), end], "omega", tools=[_TOOL]),
        reasoning=next((name for name in _REASONING if trial.reads(name)), _REASONING[0]),
    )


class _Trial:
    """Renders, texts as parts where they have to be, and takes every error for a no."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self.roles_of_parts: frozenset[str] = frozenset()
        self.roles_of_parts = frozenset(role for role in ROLES if self._wants_parts(role))

    def render(self, messages: Messages, tools: Iterable[dict[str, Any]] = ()) -> str | None:
        try:
            return self._render([self._in_parts(message) for message in messages], [*tools])
        except Exception:  # noqa: BLE001 -- a template is a program: it can raise anything
            return None

    def shows(self, messages: Messages, *words: str, tools: Iterable[dict[str, Any]] = ()) -> bool:
        text = self.render(messages, tools)
        return text is not None and all(word in text.lower() for word in words)

    def changes(self, without: Messages, messages: Messages) -> bool:
        text = self.render(messages)
        return text is not None and text != self.render(without)

    def adds_system(self, messages: Messages, word: str) -> bool:
        """Return whether a second system message becomes one in the prompt, and changes nothing else of it.

        Some templates refuse it, and some take it for what the user said.
        """
        long_messages = [messages[0], _text("system", word), *messages[1:]]
        short, long = self.render(messages, [_TOOL]), self.render(long_messages, [_TOOL])
        if short is None or long is None:
            return False
        start = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(short, long, strict=False)))
        end = start + len(long) - len(short)
        added = long[start:end]
        return long[:start] + long[end:] == short and all(part in added for part in ("system", word))

    def _in_parts(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["role"] not in self.roles_of_parts:
            return message
        return {**message, "content": [{"type": "text", "text": message["content"]}]}

    def _wants_parts(self, role: str) -> bool:
        """Return whether the text of a role's messages is shown if it stands in parts, and only then."""
        before = {"tool": [_text("user", "alpha"), _call(1, CallForm())], "assistant": [_text("user", "alpha")]}
        behind = [] if role == "user" else [_text("user", "gamma")]

        def shown(content: object) -> bool:
            message = _result(content, _IDS[0]) if role == "tool" else {"role": role, "content": content}
            return self.shows([*before.get(role, []), message, *behind], "omega")

        return not shown("omega") and shown([{"type": "text", "text": "omega"}])

    def reads(self, name: str) -> bool:
        """Return whether the reasoning of an answer is shown if a message has it under `name`.

        Most templates show only that of the answers behind the user's last turn: calls.
        """
        call = {**_call(1, CallForm(short_ids=True)), name: "omega"}
        ends: tuple[Messages, ...] = ([], [_result("eta", _IDS[0])], [_text("user", "gamma")])
        return any(self.shows([_text("user", "alpha"), call, *end], "omega", tools=[_TOOL]) for end in ends)

    def call_form(self) -> CallForm | None:
        """Return the first form of calls in which they and their results are shown."""
        forms = [CallForm(ids, text) for text, ids in itertools.product((False, True), repeat=2)]
        shown = [form for form in forms if self._shows_calls(form, 1)]
        # An object that is not written as JSON is written as Python writes it.
        form = next((form for form in shown if not self._writes_python(form)), next(iter(shown), None))
        if form is None or self._shows_calls(form, 2):
            return form
        return CallForm(form.short_ids, form.arguments_as_text, one_per_message=True)

    def _shows_calls(self, form: CallForm, count: int) -> bool:
        words = [f"{word}{number}" for word in ("zeta", "omega") for number in range(count)]
        return self.shows(_history(form, count), *words, tools=[_TOOL])

    def _writes_python(self, form: CallForm) -> bool:
        return "{'epsilon'" in (self.render(_history(form, 1), [_TOOL]) or "")


def _history(form: CallForm, count: int) -> Messages:
    ids = _ids(form)
    results = [_result(f"omega{number}", ids[number]) for number in range(count)]
    return [_text("user", "alpha"), _call(count, form), *results, _text("assistant", "beta"), _text("user", "gamma")]


def _ids(form: CallForm) -> tuple[str, ...]:
    return _IDS if form.short_ids else ("call_0123456789abcdef", "call_fedcba9876543210")


def _call(count: int, form: CallForm) -> dict[str, Any]:
    calls = []
    for number in range(count):
        value = f"zeta{number}"
        arguments: object = f'{{"epsilon": "{value}"}}' if form.arguments_as_text else {"epsilon": value}
        function = {"name": "delta", "arguments": arguments}
        calls.append({"id": _ids(form)[number], "type": "function", "function": function})
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _result(content: object, call_id: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": call_id, "name": "delta"}


def _text(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}
