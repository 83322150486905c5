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

Source of the format: Nous Research, Hermes function calling; Qwen2.5's chat template.
"""

from __future__ import annotations

import functools
from typing import Final

from zoe_server.llama.constraint.grammar import choice, json_text, literal, repeated, sequence
from zoe_server.llama.dialects.call_dialect import CallDialect, Tools
from zoe_server.llama.dialects.call_parser import Form
from zoe_server.llama.dialects.call_reader import JsonCall

CALL: Final = "<tool_call>"
CALL_END: Final = "</tool_call>"


class Hermes(CallDialect):
    """JSON between `<tool_call>` markers."""

    name = "hermes"
    triggers = (CALL,)
    markers = (*CallDialect.markers, CALL, CALL_END)

    def form(self, _tool_names: frozenset[str]) -> Form:
        """Return the markers."""
        return Form({CALL: functools.partial(JsonCall, CALL_END)})

    @staticmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for calls, each on lines of its own."""
        calls = {json_text(name) + ', "arguments": ': arguments for name, arguments in tools.arguments().items()}
        text = sequence(literal(f'{CALL}\n{{"name": '), choice(calls), literal(f"}}\n{CALL_END}"))
        return repeated(tools.rules.add("call", text), literal("\n"), max_calls)
