"""What the dialects with calls have in common: one parser for all of them, and grammars that are built once.

A dialect says how the calls of the tools are put together, given the grammar of every tool's arguments, and what text
wakes that grammar if no call is required.
"""

from __future__ import annotations

import functools
import json
import secrets
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from zoe_server.llama import schema_grammar
from zoe_server.llama.dialects.base import Dialect, callable_tools
from zoe_server.llama.dialects.call_parser import CallParser, Form
from zoe_server.llama.grammar import Grammar, Rules, sequence
from zoe_server.llama.notation import BASE_RULES, JSON, Notation
from zoe_server.protocol import ChatRequest

MAX_CALLS: Final = 16
"""A model that calls more tools at once is one that repeats itself."""

ArgumentValues = tuple[tuple[str, tuple[str, ...]], ...]


def new_call_id() -> str:
    """Return an id that no other call has."""
    return f"call_{secrets.token_hex(12)}"


class Tools:
    """The tools of one grammar, whose rules are `rules`."""

    def __init__(self, rules: Rules, parameters: Mapping[str, Any], argument_values: ArgumentValues) -> None:
        self.rules = rules
        self._parameters = parameters
        self._argument_values = argument_values

    def arguments(self, notation: Notation = JSON) -> dict[str, str]:
        """Return the expression for the arguments of every tool, by name."""
        return {
            name: schema_grammar.arguments(self.rules, schema, _values_of(name, self._argument_values), notation)
            for name, schema in self._parameters.items()
        }


class CallDialect(Dialect):
    """A dialect with calls; `call_ids` makes their ids.

    `triggers` and `openings` wake the grammar where no call is required (see `Grammar`).
    """

    openings: tuple[str, ...] = ()
    parser_class: type[CallParser] = CallParser

    def __init__(self, call_ids: Callable[[], str] = new_call_id) -> None:
        self._call_ids = call_ids

    @abstractmethod
    def form(self, tool_names: frozenset[str]) -> Form:
        """Return what the markers of an answer are that may call these tools."""

    @staticmethod
    @abstractmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for one to `max_calls` calls."""

    def reasoning(self, template: str) -> tuple[str, str] | None:
        """Return the markers of the reasoning that the template speaks of."""
        known = ((thinking.start, thinking.end) for thinking in self.form(frozenset()).thinking)
        return next((markers for markers in known if any(marker in template for marker in markers)), None)

    def waking(self, _tool_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return triggers and openings of the grammar for these tools."""
        return self.triggers, self.openings

    def grammar(self, request: ChatRequest) -> Grammar | None:
        """Return the grammar of the calls, lazy unless a call is required; equal tools are built once."""
        tools = callable_tools(request)
        if not tools:
            return None
        gbnf = _calls_gbnf(
            self.calls,
            json.dumps([(tool.name, tool.parameters) for tool in tools], default=_as_dict),
            tuple(sorted((key, values or ()) for key, values in request.argument_values.items())),
            MAX_CALLS if request.parallel_tool_calls else 1,
        )
        if request.tool_choice.mode != "auto":
            return Grammar(gbnf)
        triggers, openings = self.waking([tool.name for tool in tools])
        return Grammar(
            gbnf, True, triggers, openings, tuple(thinking.end for thinking in self.form(frozenset()).thinking)
        )

    def parser(self, request: ChatRequest, *, reasoning_open: bool = False) -> CallParser:
        """Return a parser for one answer."""
        names = frozenset(tool.name for tool in callable_tools(request))
        calls_only = request.tool_choice.mode == "required"
        form = self.form(names)
        return self.parser_class(form, names, self._call_ids, reasoning_open=reasoning_open, calls_only=calls_only)


def repeated(call: str, between: str, max_calls: int) -> str:
    """Return the expression for one to `max_calls` calls with the expression `between` between them."""
    return f"{call} ({sequence(between, call)}){{0,{max_calls - 1}}}" if max_calls > 1 else call


def _as_dict(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a tool's parameters are JSON data, not {type(value).__name__}")


@functools.lru_cache(maxsize=64)
def _calls_gbnf(calls: Callable[[Tools, int], str], tools: str, argument_values: ArgumentValues, max_calls: int) -> str:
    """Return the GBNF of one to `max_calls` calls. `tools` is JSON, a list of name and parameters: a cache key."""
    rules = Rules(BASE_RULES)
    return rules.render(calls(Tools(rules, dict(json.loads(tools)), argument_values), max_calls))


def _values_of(tool: str, argument_values: ArgumentValues) -> dict[str, tuple[str, ...]]:
    """Return the values by argument: `tool.argument` wins over `argument`; empty, it lifts the limit."""
    own = {key[len(tool) + 1 :]: values for key, values in argument_values if key.startswith(f"{tool}.")}
    return {**dict(argument_values), **own}
