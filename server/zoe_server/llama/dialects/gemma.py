"""The dialects of Gemma: 3, which was taught no markers, and FunctionGemma and 4, which have their own.

Gemma 3, as Google's guide asks for it, by itself or in a fence:

    [intent__HassTurnOn(name="Lamp"), intent__HassTurnOff(name="TV")]

    {"name": "intent__HassTurnOn", "parameters": {"name": "Lamp"}}

    ```tool_code
    intent__HassTurnOn(name="Lamp")
    ```

FunctionGemma, and Gemma 4 with its reasoning:

    <start_function_call>call:intent__HassTurnOn{name:<escape>Lamp<escape>}<end_function_call>

    <|channel>thought
    The user means the lamp.<channel|>One moment.<|tool_call>call:intent__HassTurnOn{name:<|"|>Lamp<|"|>}<tool_call|>

The arguments of the last two stand in alphabetic order, as in their templates.
Source of the formats: Google's guide to function calling with Gemma; FunctionGemma's model card; Gemma 4's template.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

from zoe_server.llama.constraint.grammar import choice, json_text, literal, repeated, sequence
from zoe_server.llama.dialects.call_dialect import FENCE, CallDialect, Tools
from zoe_server.llama.dialects.call_parser import THINK, Form, Thinking
from zoe_server.llama.dialects.call_reader import CallReader
from zoe_server.llama.dialects.enclosed_call import EnclosedCall, json_only
from zoe_server.llama.dialects.literal_call import LiteralCall, braces_call, keyword_call
from zoe_server.llama.dialects.notation import ESCAPED, KEYWORDS, QUOTED, Notation

TOOL_CODE: Final = "```tool_code\n"


class Gemma(CallDialect):
    """Keyword calls in a list or a fence, or JSON."""

    name = "gemma"
    prints = False
    triggers = (TOOL_CODE,)

    def form(self, _tool_names: frozenset[str]) -> Form:
        """Return the markers: there are none."""
        return Form(plain=functools.partial(EnclosedCall, _choice), plain_in_reasoning=True)

    def waking(self, tool_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Let a list begin only with the name of a tool: a text may begin with a bracket, too."""
        lists = (f"[{name}(" for name in tool_names)
        return self.triggers, ('{"name": "', f'{FENCE}{{"name": "', *lists)

    @staticmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for calls in one of the forms."""
        rules = tools.rules
        keyword = rules.add("call", choice(tools.arguments(KEYWORDS)))
        calls = {json_text(name) + ', "parameters": ': each for name, each in tools.arguments().items()}
        json = rules.add("call", sequence(literal('{"name": '), choice(calls), literal("}")))
        forms = (
            sequence(literal("["), repeated(keyword, literal(", "), max_calls), literal("]")),
            sequence(literal(TOOL_CODE), repeated(keyword, literal("\n"), max_calls), literal("\n```")),
            sequence(literal(FENCE), repeated(json, literal("\n"), max_calls), literal("\n```")),
            repeated(json, literal("\n"), max_calls),
        )
        return " | ".join(forms)


def _choice(char: str, enclosed: bool) -> CallReader | None:
    if enclosed and (char.isalpha() or char == "_"):
        return LiteralCall(keyword_call())
    return json_only(char, enclosed)


def _marked(tools: Tools, max_calls: int, start: str, notation: Notation, end: str) -> str:
    """Return the expression for calls between markers."""
    calls = choice(tools.arguments(notation))
    return repeated(tools.rules.add("call", sequence(literal(start), calls, literal(end))), "", max_calls)


class FunctionGemma(CallDialect):
    """Braces between markers."""

    name = "functiongemma"
    triggers = ("<start_function_call>",)
    markers = ("<start_function_call>", "<end_function_call>", ESCAPED.quote)

    def form(self, _tool_names: frozenset[str]) -> Form:
        """Return the markers; behind a call, the model asks for the tool's answer."""
        ends = ("<end_function_call>", "<start_function_response>")
        return Form({"<start_function_call>call:": functools.partial(LiteralCall, braces_call, *ends)})

    @staticmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for calls right behind each other."""
        return _marked(tools, max_calls, "<start_function_call>call:", ESCAPED, "<end_function_call>")


class Gemma4(CallDialect):
    """Braces between markers, and reasoning in a channel."""

    name = "gemma4"
    triggers = ("<|tool_call>",)
    markers = (*CallDialect.markers, "<|tool_call>", "<tool_call|>", QUOTED.quote, "<|channel>", "<channel|>")

    def form(self, _tool_names: frozenset[str]) -> Form:
        """Return the markers; behind a call, the model asks for the tool's answer."""
        reader = functools.partial(LiteralCall, braces_call, "<tool_call|>", "<|tool_response>")
        channel = Thinking("<|channel>thought", "<channel|>", anywhere=True)
        return Form({"<|tool_call>call:": reader}, thinking=(THINK, channel))

    @staticmethod
    def calls(tools: Tools, max_calls: int) -> str:
        """Return the expression for calls right behind each other."""
        return _marked(tools, max_calls, "<|tool_call>call:", QUOTED, "<tool_call|>")
