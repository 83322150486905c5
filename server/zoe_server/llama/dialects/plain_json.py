"""The dialect of models that were told of tools but not how to call them: the answer is a call, as OpenAI writes it.

{"name": "intent__HassTurnOn", "arguments": {"name": "Lamp"}}

[{"name": "intent__HassTurnOn", "arguments": {"name": "Lamp"}}, {"name": ...}]

```json
{"name": "intent__HassTurnOn", "parameters": {"name": "Lamp"}}
```
"""

from __future__ import annotations

from typing import Final

from zoe_server.llama.constraint.grammar import choice, json_text, literal, repeated, sequence
from zoe_server.llama.dialects.call_dialect import FENCE, CallDialect, Tools
from zoe_server.llama.dialects.call_parser import Form

_HEADS: Final = ('{"name": "', '[{"name": "')


class PlainJson(CallDialect):
    """JSON without markers."""

    name = "json"
    prints = False
    openings = (*_HEADS, *(FENCE + head for head in _HEADS))

    def form(self, _tool_names: frozenset[str]) -> Form:
        """Return the markers: there are none."""
        return Form(plain_in_reasoning=True)

    @staticmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for one call or a list of them, which may stand in a fence."""
        arguments = tools.arguments()
        keys = ("arguments", "parameters")
        calls = {f'{json_text(name)}, "{key}": ': each for name, each in arguments.items() for key in keys}
        call = tools.rules.add("call", sequence(literal('{"name": '), choice(calls), literal("}")))
        whole = f"({call} | {sequence(literal('['), repeated(call, literal(', '), max_calls), literal(']'))})"
        calls_rule = tools.rules.add("calls", whole)
        return f"{calls_rule} | {sequence(literal(FENCE), calls_rule, literal(chr(10) + '```'))}"
