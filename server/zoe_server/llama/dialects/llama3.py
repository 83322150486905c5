"""The dialect of Llama 3.1, 3.2 and 3.3: the answer is a call, in JSON.

    {"name": "intent__HassTurnOn", "parameters": {"name": "Lamp"}}; {"name": ...

    <|python_tag|>{"name": "intent__HassTurnOn", "parameters": {"name": "Lamp"}}<|eom_id|>

    <|python_tag|>brave_search.call(query="weather")<|eom_id|>

Several calls stand behind semicolons or on lines of their own. The third form is that of tools which the model was
trained with; templates teach it only for those, so that it is read, but no grammar asks for it.
Source of the format: the chat templates of Llama 3.1 and 3.2.
"""

from __future__ import annotations

import functools
from typing import Final

from zoe_server.llama.constraint.grammar import choice, json_text, literal, repeated, sequence
from zoe_server.llama.dialects.call_dialect import CallDialect, Tools
from zoe_server.llama.dialects.call_parser import Form
from zoe_server.llama.dialects.call_reader import CallReader
from zoe_server.llama.dialects.enclosed_call import EnclosedCall, json_only
from zoe_server.llama.dialects.literal_call import LiteralCall, keyword_call

PYTHON_TAG: Final = "<|python_tag|>"
TYPE: Final = '"type": "function", '


class Llama3(CallDialect):
    """JSON without markers, with `parameters`."""

    name = "llama3"
    prints = False
    triggers = (PYTHON_TAG,)
    markers = (*CallDialect.markers, PYTHON_TAG)
    openings = ('{"name": "', f"{{{TYPE}")

    def form(self, _tool_names: frozenset[str]) -> Form:
        """Return the markers."""
        plain = functools.partial(EnclosedCall, json_only, ";")
        return Form({PYTHON_TAG: functools.partial(EnclosedCall, _choice, ";")}, plain=plain, plain_in_reasoning=True)

    @staticmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for calls behind each other."""
        calls = {json_text(name) + ', "parameters": ': arguments for name, arguments in tools.arguments().items()}
        head = sequence(literal("{"), f"({literal(TYPE)})?", literal('"name": '))
        call = tools.rules.add("call", sequence(head, choice(calls), literal("}")))
        return sequence(f"({literal(PYTHON_TAG)})?", repeated(call, '("; " | ";" | "\\n")', max_calls))


def _choice(char: str, enclosed: bool) -> CallReader | None:
    if char.isalpha() or char == "_":
        return LiteralCall(keyword_call(".call"))
    return json_only(char, enclosed)
