"""The grammar of a whole answer that has to satisfy a JSON schema.

    answer    = [reasoning] (calls | JSON)
    reasoning = "<think>" any text "</think>"

Only a model that reasons may begin so, and where the prompt has begun it, the answer goes on with it. Calls, if tools
may be called, are written as in the dialect. Where text has a header of its own (`Dialect.prelude`), calls have theirs,
and reason by themselves.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from llguidance import LLMatcher, grammar_from

from zoe_server.errors import InvalidRequestError
from zoe_server.llama.constraint.answer_schema import promised
from zoe_server.llama.constraint.grammar import Grammar, Rules, alternatives, marked, sequence
from zoe_server.llama.constraint.schema_check import SchemaError
from zoe_server.protocol import AnswerGrammar

if TYPE_CHECKING:
    from zoe_server.llama.dialects.base import Dialect
    from zoe_server.protocol import ChatRequest

Reasoning = tuple[str, str]
_OWN: Final = "own"
_SPACE: Final = r"[ \t\r\n]{1,8}"


def grammar_for(
    request: ChatRequest, dialect: Dialect, reasoning: Reasoning | None, *, reasoning_open: bool
) -> Grammar | None:
    """Return the grammar that the answer to `request` has to follow, None if it is free.

    `reasoning` is what stands before and behind the reasoning of a model that reasons.

    Raises:
        InvalidRequestError: its schema cannot be honoured, with the path in the words of the client.
    """
    wanted = request.answer_schema
    rules = Rules()
    calls = None if wanted is None else dialect.calls_in(request, rules)
    if wanted is None or (calls is not None and request.tool_choice.mode == "required"):
        return dialect.grammar(request, reasoning_open=reasoning_open)
    if isinstance(wanted, AnswerGrammar):
        if calls is not None:
            raise InvalidRequestError(f"{wanted.path}: not together with tools that may be called", param=wanted.path)
        return _grammar_of(wanted, dialect, reasoning, is_open=reasoning_open)
    try:
        answer = rules.json(promised(wanted.schema), lenient=False)
    except SchemaError as error:
        path = wanted.path + error.path
        raise InvalidRequestError(f"{path}: {error.reason}", param=path) from error
    if calls is not None and not dialect.prelude:
        answer = alternatives((calls, answer))
    answer = _behind_reasoning(rules, answer, dialect, reasoning, is_open=reasoning_open)
    if calls is not None and dialect.prelude:
        answer = alternatives((calls, answer))
    return Grammar(rules.render(answer))


def _grammar_of(wanted: AnswerGrammar, dialect: Dialect, reasoning: Reasoning | None, *, is_open: bool) -> Grammar:
    """Return the client's own grammar, behind what the model says before its answer."""
    try:
        lark = grammar_from(wanted.kind, wanted.text)
        problem = LLMatcher.validate_grammar(lark)
    except ValueError as error:  # GBNF that cannot be translated, or no JSON
        problem = str(error)
    if problem:
        raise InvalidRequestError(f"{wanted.path}: {problem.splitlines()[0][:300]}", param=wanted.path)
    rules = Rules()
    frame = rules.render(_behind_reasoning(rules, f"@{_OWN}", dialect, reasoning, is_open=is_open))
    own = json.loads(lark)["grammars"][0] if lark.startswith("{") else {"lark_grammar": lark}
    return Grammar(json.dumps({"grammars": [{"name": "answer", "lark_grammar": frame}, {**own, "name": _OWN}]}))


def _behind_reasoning(
    rules: Rules, answer: str, dialect: Dialect, reasoning: Reasoning | None, *, is_open: bool
) -> str:
    plain = rules.add("text", sequence(marked(dialect.prelude) if dialect.prelude else "", answer))
    if reasoning is None:
        return plain
    start, end = reasoning
    between = marked(dialect.behind_reasoning) if dialect.behind_reasoning else f"{rules.pattern(_SPACE)}?"
    thought = sequence(rules.until(end), between, plain)
    return thought if is_open else alternatives((sequence(marked(start), thought), plain))
