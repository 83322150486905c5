"""The dialects of Functionary, which name the tool in front of its arguments.

Version 3.1, and what else was trained on Llama 3.1's own prompt for custom tools:

    <function=intent__HassTurnOn>{"name": "Lamp"}</function>

Version 3.2, whose prompt ends with the first `>>>`:

    all
    One moment.>>>intent__HassTurnOn
    {"name": "Lamp"}>>>...

Source of the formats: the chat templates of functionary-medium 3.1 and 3.2.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

from zoe_server.llama.constraint.grammar import choice, literal, repeated, sequence
from zoe_server.llama.dialects.call_dialect import CallDialect, Tools
from zoe_server.llama.dialects.call_parser import Form
from zoe_server.llama.dialects.call_reader import ArgumentsCall

FUNCTION: Final = "<function="
FUNCTION_END: Final = "</function>"
RECIPIENT: Final = ">>>"
EVERYBODY: Final = "all\n"


class Functionary31(CallDialect):
    """Arguments in an element that names the tool."""

    name = "functionary-v3.1"
    triggers = (FUNCTION,)

    def form(self, tool_names: frozenset[str]) -> Form:
        """Return the markers."""
        return Form({f"{FUNCTION}{name}>": functools.partial(ArgumentsCall, name, FUNCTION_END) for name in tool_names})

    @staticmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for calls right behind each other."""
        calls = {f"{name}>": sequence(each, literal(FUNCTION_END)) for name, each in tools.arguments().items()}
        call = tools.rules.add("call", sequence(literal(FUNCTION), choice(calls)))
        return repeated(call, "", max_calls)


class Functionary32(CallDialect):
    """Messages to recipients, of which one is everybody."""

    name = "functionary-v3.2"

    def form(self, tool_names: frozenset[str]) -> Form:
        """Return the markers; the first recipient stands without one."""
        calls = {f"{name}\n": functools.partial(ArgumentsCall, name) for name in tool_names}
        return Form(
            calls={RECIPIENT + name: reader for name, reader in calls.items()},
            calls_at_start=calls,
            skipped=(RECIPIENT + EVERYBODY,),
            skipped_at_start=(EVERYBODY,),
        )

    def waking(self, tool_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return one trigger and one opening for each tool, so that `>>>all` wakes nothing."""
        return tuple(f"{RECIPIENT}{name}\n" for name in tool_names), tuple(f"{name}\n" for name in tool_names)

    @staticmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for calls, of which the first one may stand without its marker."""
        calls = {f"{name}\n": each for name, each in tools.arguments().items()}
        call = tools.rules.add("call", choice(calls))
        return sequence(f"({literal(RECIPIENT)})?", repeated(call, literal(RECIPIENT), max_calls))
