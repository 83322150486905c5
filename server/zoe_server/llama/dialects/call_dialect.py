"""What the dialects with calls have in common: one parser for all of them, and grammars that are built once.

A dialect says how the calls of the tools are put together, given the expression of every tool's arguments, and what
text wakes that grammar if no call is required. Models of nearly every family also print calls as plain JSON now and
then; where no call is required, such a print of a tool that exists wakes the grammar, too.
"""

from __future__ import annotations

import json
import secrets
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from zoe_server.argument_values import Schema, limited, values_of
from zoe_server.llama.constraint import tool_schema
from zoe_server.llama.constraint.grammar import Grammar, Rules, alternatives, json_text, literal, repeated, sequence
from zoe_server.llama.constraint.recent import remembered
from zoe_server.llama.dialects.base import Dialect, callable_tools
from zoe_server.llama.dialects.call_parser import CallParser, Form
from zoe_server.llama.dialects.notation import JSON, Notation
from zoe_server.protocol import ChatRequest

MAX_CALLS: Final = 16
"""A model that calls more tools at once is one that repeats itself."""
FENCE: Final = "```json\n"

ArgumentValues = tuple[tuple[str, tuple[str, ...]], ...]


def new_call_id() -> str:
    """Return an id that no other call has."""
    return f"call_{secrets.token_hex(12)}"


class Tools:
    """The tools of one grammar, whose rules are `rules`."""

    def __init__(self, rules: Rules, schemas: Mapping[str, Schema]) -> None:
        self.rules = rules
        self._schemas = schemas

    def arguments(self, notation: Notation = JSON) -> dict[str, str]:
        """Return the expression for the arguments of every tool, by name."""
        return {name: notation.arguments(self.rules, schema) for name, schema in self._schemas.items()}

    def printed(self, max_calls: int) -> str:
        """Return the expression for calls as plain JSON: bare, in doubled braces, or in a list; a fence may end."""
        bodies = [
            sequence(literal(f'"name": {json_text(name)}, "{key}": '), each)
            for name, each in self.arguments().items()
            for key in ("arguments", "parameters")
        ]
        body = self.rules.add("printed", alternatives(bodies))
        call = self.rules.add("printed", sequence(literal("{"), body, literal("}")))
        doubled = sequence(literal("{{"), body, literal("}}"))
        listed = sequence(literal("["), repeated(call, literal(", "), max_calls), literal("]"))
        lines = alternatives((repeated(call, literal("\n"), max_calls), doubled, listed))
        return sequence(lines, f"({literal(chr(10) + '```')})?")


class CallDialect(Dialect):
    """A dialect with calls; `call_ids` makes their ids.

    `triggers` and `openings` wake the grammar where no call is required (see `Grammar`). A dialect that `prints` calls
    has markers for them, and is also held to the tools where it leaves the markers out.
    """

    openings: tuple[str, ...] = ()
    prints = True
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

    def calls_in(self, request: ChatRequest, rules: Rules) -> str | None:
        """Return the expression for the calls of an answer, None if it may have none; rules go to `rules`."""
        if not callable_tools(request):
            return None
        tools, max_calls = Tools(rules, _schemas(*_keys(request))), _max_calls(request)
        return self.calls(tools, max_calls)

    def grammar(self, request: ChatRequest, *, reasoning_open: bool = False) -> Grammar | None:
        """Return the grammar of the calls, lazy unless a call is required; equal tools are built once."""
        names = [tool.name for tool in callable_tools(request)]
        if not names:
            return None
        lazy = request.tool_choice.mode == "auto"
        lark = _calls_lark(self.calls, *_keys(request), _max_calls(request), printed=lazy and self.prints)
        if not lazy:
            return Grammar(lark)
        triggers, openings = self.waking(names)
        heads = ("{", "{{", "[{") if self.prints else ()
        printed = tuple(f'{head}"name": {json_text(name)}, ' for head in heads for name in names)
        thinking = tuple((each.start, each.end) for each in self.form(frozenset()).thinking)
        return Grammar(lark, True, triggers, openings, printed, thinking, reasoning_open)

    def parser(self, request: ChatRequest, *, reasoning_open: bool = False) -> CallParser:
        """Return a parser for one answer."""
        values = {key: listed or () for key, listed in request.argument_values.items()}
        schemas = {
            tool.name: limited(tool.parameters, values_of(tool.name, values)) for tool in callable_tools(request)
        }
        calls_only = request.tool_choice.mode == "required"
        form = self.form(frozenset(schemas))
        if request.answer_schema is not None and not form.plain_in_reasoning:
            form = replace(form, openers=())  # its grammar admits calls only with their markers
        return self.parser_class(form, schemas, self._call_ids, reasoning_open=reasoning_open, calls_only=calls_only)


def _max_calls(request: ChatRequest) -> int:
    """Return how many calls an answer may have: one of a named tool, unless several are asked for."""
    several = request.parallel_tool_calls
    return MAX_CALLS if several or (several is None and request.tool_choice.name is None) else 1


def _keys(request: ChatRequest) -> tuple[str, ArgumentValues]:
    """Return the tools as JSON, and the values of arguments: a cache key."""
    tools = json.dumps([(tool.name, tool.parameters) for tool in callable_tools(request)], default=_as_dict)
    return tools, tuple(sorted((key, values or ()) for key, values in request.argument_values.items()))


def _as_dict(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a tool's parameters are JSON data, not {type(value).__name__}")


@remembered(2 << 20)
def _calls_lark(
    calls: Callable[[Tools, int], str], tools: str, argument_values: ArgumentValues, max_calls: int, *, printed: bool
) -> str:
    """Return the grammar of one to `max_calls` calls, which may also be printed; for `tools` see `_schemas`."""
    rules = Rules()
    known = Tools(rules, _schemas(tools, argument_values))
    expression = calls(known, max_calls)
    return rules.render(alternatives((expression, known.printed(max_calls))) if printed else expression)


@remembered(2 << 20)
def _schemas(tools: str, argument_values: ArgumentValues) -> Mapping[str, Schema]:
    """Return the schema of the arguments of every tool; `tools` is JSON, a list of name and parameters."""
    return {
        name: tool_schema.arguments(parameters, values_of(name, dict(argument_values)))
        for name, parameters in json.loads(tools)
    }
