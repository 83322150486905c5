"""The dialect of Hermes, Qwen and zoe-nano: tool calls are JSON between markers.

    <think>
    The user means the lamp.
    </think>

    One moment.
    <tool_call>
    {"name": "intent__HassTurnOn", "arguments": {"name": "Lamp"}}
    </tool_call>
    <tool_call>
    ...

This file writes the grammar; `hermes_parser.py` reads the text.
Source of the format: Nous Research, Hermes function calling; Qwen2.5's chat template.
"""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from zoe_server.llama import schema_grammar
from zoe_server.llama.dialects.base import Dialect, callable_tools
from zoe_server.llama.dialects.hermes_parser import CALL, CALL_END, THINK, THINK_END, HermesParser
from zoe_server.llama.grammar import Grammar, Rules, choice, json_text, literal, sequence
from zoe_server.protocol import ChatRequest

MAX_CALLS: Final = 16
"""A model that calls more tools at once is one that repeats itself."""

ArgumentValues = tuple[tuple[str, tuple[str, ...]], ...]


def new_call_id() -> str:
    """Return an id that no other call has."""
    return f"call_{secrets.token_hex(12)}"


class Hermes(Dialect):
    """JSON between `<tool_call>` markers; `call_ids` makes the ids of the calls."""

    name = "hermes"
    reasoning = (THINK, THINK_END)

    def __init__(self, call_ids: Callable[[], str] = new_call_id) -> None:
        self._call_ids = call_ids

    def grammar(self, request: ChatRequest) -> Grammar | None:
        """Return the grammar of the calls, lazy unless a call is required; equal tools are built once."""
        tools = callable_tools(request)
        if not tools:
            return None
        gbnf = _calls_gbnf(
            json.dumps([(tool.name, tool.parameters) for tool in tools], default=_as_dict),
            tuple(sorted((key, values or ()) for key, values in request.argument_values.items())),
            MAX_CALLS if request.parallel_tool_calls else 1,
        )
        lazy = request.tool_choice.mode == "auto"
        return Grammar(gbnf, lazy, (CALL,) if lazy else ())

    def parser(self, request: ChatRequest, *, reasoning_open: bool = False) -> HermesParser:
        """Return a parser for one answer."""
        return HermesParser(
            frozenset(tool.name for tool in callable_tools(request)),
            self._call_ids,
            reasoning_open=reasoning_open,
            calls_only=request.tool_choice.mode == "required",
        )


def _as_dict(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a tool's parameters are JSON data, not {type(value).__name__}")


@functools.lru_cache(maxsize=64)
def _calls_gbnf(tools: str, argument_values: ArgumentValues, max_calls: int) -> str:
    """Return the GBNF of one to `max_calls` calls. `tools` is JSON, a list of name and parameters: a cache key."""
    rules = Rules()
    calls = {}
    for name, parameters in json.loads(tools):
        arguments = schema_grammar.arguments(rules, parameters, _values_of(name, argument_values))
        calls[json_text(name) + ', "arguments": '] = arguments
    call = rules.add("call", sequence(literal(f'{CALL}\n{{"name": '), choice(calls), literal(f"}}\n{CALL_END}")))
    more = f" ({literal(chr(10))} {call}){{0,{max_calls - 1}}}" if max_calls > 1 else ""
    return rules.render(call + more)


def _values_of(tool: str, argument_values: ArgumentValues) -> dict[str, tuple[str, ...]]:
    """Return the values by argument: `tool.argument` wins over `argument`; empty, it lifts the limit."""
    own = {key[len(tool) + 1 :]: values for key, values in argument_values if key.startswith(f"{tool}.")}
    return {**dict(argument_values), **own}
