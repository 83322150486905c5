"""The dialect of Mistral: JSON behind a marker, in a list or, in newer models, behind the name.

    [THINK]The user means the lamp.[/THINK]One moment.
    [TOOL_CALLS][{"name": "intent__HassTurnOn", "arguments": {"name": "Lamp"}, "id": "x7Kp20aQz"}, ...]

    [TOOL_CALLS]intent__HassTurnOn[ARGS]{"name": "Lamp"}[TOOL_CALLS]...

    [TOOL_CALLS]intent__HassTurnOn[CALL_ID]x7Kp20aQz[ARGS]{"name": "Lamp"}[TOOL_CALLS]...

The grammar lets the model choose the form that it was taught. The templates take only ids of nine letters and digits,
so the ids of this dialect are such; what the model writes as an id is not used. The first Magistral thought between
`<think>` markers.
Source of the format: the chat templates of Mistral Nemo, Mistral Small 3.2, Devstral and Ministral 3.
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable
from string import ascii_letters, digits
from typing import Final

from zoe_server.llama.constraint.grammar import choice, json_text, literal, repeated, sequence
from zoe_server.llama.dialects.call_dialect import CallDialect, Tools
from zoe_server.llama.dialects.call_parser import THINK, Form, Thinking
from zoe_server.llama.dialects.call_reader import ArgumentsCall, Call, CallReader, JsonCall
from zoe_server.llama.dialects.enclosed_call import EnclosedCall

CALLS: Final = "[TOOL_CALLS]"
_HEAD: Final = re.compile(r"([\w.:/-]{1,256})(?:\[CALL_ID\][\w-]{0,64})?\[ARGS\]\s*")
_BEGUN: Final = re.compile(r"[\w.:/-]{1,256}(?:\[[\w\[\]-]{0,80}\s*)?")
_ID: Final = "/[a-zA-Z0-9]{9}/"


def new_call_id() -> str:
    """Return an id of nine letters and digits that no other call of a conversation has."""
    return "".join(secrets.choice(ascii_letters + digits) for _ in range(9))


class Mistral(CallDialect):
    """Calls behind `[TOOL_CALLS]`."""

    name = "mistral"
    triggers = (CALLS,)
    markers = (*CallDialect.markers, CALLS, "[CALL_ID]", "[ARGS]", "[THINK]", "[/THINK]")

    def __init__(self, call_ids: Callable[[], str] = new_call_id) -> None:
        super().__init__(call_ids)

    def form(self, _tool_names: frozenset[str]) -> Form:
        """Return the markers."""
        thinking = (THINK, Thinking("[THINK]", "[/THINK]", anywhere=True))
        return Form({CALLS: functools.partial(EnclosedCall, _choice)}, thinking=thinking)

    @staticmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for a list of calls, or for calls behind each other."""
        arguments = tools.arguments()
        in_list = choice({json_text(name) + ', "arguments": ': each for name, each in arguments.items()})
        item_id = sequence(literal(', "id": "'), _ID, literal('"'))
        item = tools.rules.add("call", sequence(literal('{"name": '), in_list, f"({item_id})?", literal("}")))
        between = tools.rules.add("args", f"({literal('[CALL_ID]')} {_ID})? {literal('[ARGS]')}")
        named = tools.rules.add("call", choice({name: sequence(between, each) for name, each in arguments.items()}))
        items = sequence('" "? "["', repeated(item, literal(", "), max_calls), literal("]"))
        return f"{literal(CALLS)} ({items} | {repeated(named, literal(CALLS), max_calls)})"


class _NamedCall(CallReader):
    """A call from its name on."""

    def __init__(self) -> None:
        self._head = ""
        self._inner: ArgumentsCall | None = None

    def feed(self, char: str) -> bool:
        """Take the next character; False if no call goes on like this."""
        if self._inner is None:
            head = _HEAD.fullmatch(self._head) if char == "{" else None
            if head is None:
                self._head += char
                return _BEGUN.fullmatch(self._head) is not None
            self._inner = ArgumentsCall(head[1])
        if not self._inner.feed(char):
            return False
        self.name, self.fragment, self.complete = self._inner.name, self._inner.fragment, self._inner.complete
        return True

    def call(self) -> Call | None:
        """Return the call that is complete."""
        return self._inner.call() if self._inner else None


def _choice(char: str, enclosed: bool) -> CallReader | None:
    if char == "{":
        return JsonCall()
    return _NamedCall() if not enclosed and re.match(r"\w", char) else None
