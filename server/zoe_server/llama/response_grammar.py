"""The grammar of a whole answer that has to satisfy a JSON schema.

    answer    = [reasoning] (calls | JSON)
    reasoning = "<think>" any text "</think>"

Only a model that reasons may begin so, and where the prompt has begun it, the answer goes on with it. Calls, if tools
may be called, are written in the dialect's own grammar, whose rules are put beside ours. Where text has a header of its
own (`Dialect.prelude`), calls have theirs, and reason by themselves.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Final

from zoe_server.errors import InvalidRequestError
from zoe_server.llama import strict_grammar
from zoe_server.llama.dialects.base import Dialect
from zoe_server.llama.free_text import text_until
from zoe_server.llama.grammar import Grammar, Rules, alternatives, literal, sequence
from zoe_server.llama.schema_document import SchemaError
from zoe_server.protocol import ChatRequest

MAX_GBNF: Final = 500_000
"""Larger grammars, in characters, are refused."""
MAX_REPEATS: Final = 100_000
"""Grammars whose repetitions add up to more are refused: llama.cpp writes out each."""

_CALLS: Final = "dialectcalls"
_REPEATS: Final = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_STRINGS_AND_CLASSES: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]')
_RULE: Final = " ::= "
_SPACE: Final = "[ \\t\\r\\n]{0,8}"

Reasoning = tuple[str, str]


class _AnswerRules(Rules):
    """Rules whose names may stand beside those of a dialect."""

    def reserve(self, stem: str) -> str:
        """Return a new name."""
        return super().reserve(f"answer{stem}")


def grammar_for(
    request: ChatRequest, dialect: Dialect, reasoning: Reasoning | None, *, reasoning_open: bool
) -> Grammar | None:
    """Return the grammar that the answer to `request` has to follow, None if it is free.

    `reasoning` is what stands before and behind the reasoning of a model that reasons.

    Raises:
        InvalidRequestError: its schema cannot be honoured, with the path in the words of the client.
    """
    calls = dialect.grammar(request)
    wanted = request.answer_schema
    if wanted is None or (calls is not None and request.tool_choice.mode == "required"):
        return calls
    try:
        frame = _Frame(reasoning, reasoning_open, dialect.prelude)
        gbnf = _answer_gbnf(json.dumps(wanted.schema), frame, calls.gbnf if calls else None)
    except SchemaError as error:
        path = wanted.path + error.path
        raise InvalidRequestError(f"{path}: {error.reason}", param=path) from error
    return Grammar(gbnf)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What may stand before the answer: the markers of reasoning, which may have begun, and a header."""

    reasoning: Reasoning | None
    is_open: bool
    prelude: str


@functools.lru_cache(maxsize=64)
def _answer_gbnf(schema: str, frame: _Frame, calls: str | None) -> str:
    """Return the GBNF of the answer; `schema` is JSON, a cache key."""
    rules = _AnswerRules()
    answer = strict_grammar.value_of(rules, json.loads(schema))
    if calls is not None and not frame.prelude:
        answer = alternatives((_CALLS, answer))
    answer = _framed(rules, answer, frame)
    if calls is not None and frame.prelude:
        answer = alternatives((_CALLS, answer))
    gbnf = rules.render(answer)
    _refuse_large(gbnf)
    return gbnf if calls is None else _beside(gbnf, calls)


def _framed(rules: Rules, answer: str, frame: _Frame) -> str:
    answer = rules.add("text", answer)
    plain = sequence(literal(frame.prelude), answer) if frame.prelude else answer
    if frame.reasoning is None:
        return plain
    start, end = frame.reasoning
    thought = text_until(rules, end, sequence(rules.add("space", _SPACE), answer))
    return thought if frame.is_open else alternatives((sequence(literal(start), thought), plain))


def _refuse_large(gbnf: str) -> None:
    if len(gbnf) > MAX_GBNF:
        raise SchemaError("", "is too large: its grammar would be longer than the engine takes")
    repeats = sum(int(most or least) for least, most in _REPEATS.findall(_STRINGS_AND_CLASSES.sub(" ", gbnf)))
    if repeats > MAX_REPEATS:
        raise SchemaError("", f"is too large: its bounds of lengths and items add up to more than {MAX_REPEATS}")


def _beside(gbnf: str, calls: str) -> str:
    """Return both grammars as one: the root of `calls` becomes the rule that `gbnf` refers to."""
    own, other = (dict(line.split(_RULE, 1) for line in text.rstrip("\n").split("\n")) for text in (gbnf, calls))
    other[_CALLS] = other.pop("root")
    return "".join(f"{name}{_RULE}{body}\n" for name, body in {**other, **own}.items())
