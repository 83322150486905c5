"""The grammar of a whole answer: JSON, or calls, and reasoning before either."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from zoe_server.errors import InvalidRequestError
from zoe_server.llama.dialects.answer_grammar import grammar_for
from zoe_server.llama.dialects.base import Dialect
from zoe_server.llama.dialects.harmony import Harmony
from zoe_server.llama.dialects.hermes import Hermes
from zoe_server.llama.dialects.mistral import Mistral
from zoe_server.llama.dialects.plain import Plain
from zoe_server.protocol import AnswerGrammar, AnswerSchema, ChatRequest, Tool, ToolChoice

Check = Callable[[str, Mapping[str, bool]], None]
"""Fails unless llguidance takes the grammar and admits exactly the texts marked True."""

SCHEMA = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
TOOL = Tool("turn", parameters={"type": "object", "properties": {"on": {"type": "boolean"}, "x": {}}})
ANSWER = '{"on": true}'
CALL = '<tool_call>\n{"name": "turn", "arguments": {"on": false}}\n</tool_call>'


def request(schema: Mapping[str, Any] | None = SCHEMA, **more: Any) -> ChatRequest:  # noqa: ANN401 -- any field
    wanted = None if schema is None else AnswerSchema(schema, "format")
    return ChatRequest(id="r", model="m", messages=({"role": "user", "content": "hi"},), answer_schema=wanted, **more)


def lark_of(
    asked: ChatRequest, *, template: str = "", reasoning_open: bool = False, dialect: Dialect | None = None
) -> str:
    dialect = dialect or Hermes()
    made = grammar_for(asked, dialect, dialect.reasoning(template), reasoning_open=reasoning_open)
    assert made is not None
    assert not made.lazy
    return made.lark


def test_json_and_nothing_else(check: Check) -> None:
    check(
        lark_of(request()), {ANSWER: True, '{"on": 1}': False, f" {ANSWER}": False, f"{ANSWER}\n": False, "On": False}
    )


def test_any_object(check: Check) -> None:
    check(lark_of(request({"type": "object"})), {"{}": True, '{"a": [1, null]}': True, "[]": False, "{}{}": False})


def test_calls_or_json_where_tools_may_be_called(check: Check) -> None:
    texts = {ANSWER: True, CALL: True, f"{CALL}\n{CALL}": True, f"{CALL}\n{ANSWER}": False, f"{ANSWER}{CALL}": False}
    check(lark_of(request(tools=(TOOL,))), texts)
    check(lark_of(request(tools=(TOOL,), parallel_tool_calls=False)), {CALL: True, f"{CALL}\n{CALL}": False})
    check(lark_of(request(tools=(TOOL,), tool_choice=ToolChoice("none"))), {ANSWER: True, CALL: False})


@pytest.mark.parametrize("name", [None, "turn"])
def test_calls_only_where_one_is_required(name: str | None) -> None:
    required: dict[str, Any] = {"tools": (TOOL,), "tool_choice": ToolChoice("required", name)}
    dialect = Hermes()
    made = grammar_for(request(**required), dialect, None, reasoning_open=False)
    assert made == dialect.grammar(request(None, **required))


def test_a_model_that_reasons_may_think_first(check: Check) -> None:
    thought = "<think>\nIf a < b </thin </</think>"
    lark = lark_of(request(tools=(TOOL,)), template="<think>")
    check(
        lark,
        {
            ANSWER: True,
            f"{thought}{ANSWER}": True,
            f"{thought}\n\n{ANSWER}": True,
            f"<think></think>{CALL}": True,
            f"<think>{'é' * 300}</think>{CALL}": True,
            thought: False,
            f"{thought} On.": False,
            f"<think>{ANSWER}": False,
            f"{thought}{thought}{ANSWER}": False,
            f"Well, {thought}{ANSWER}": False,
        },
    )


def test_a_model_that_is_made_to_reason_goes_on_reasoning(check: Check) -> None:
    lark = lark_of(request(), template="<think>", reasoning_open=True)
    check(lark, {f"I see.\n</think>\n\n{ANSWER}": True, ANSWER: False, f"</think>{ANSWER}": True, "</think>": False})


def test_models_without_tools_answer_in_json(check: Check) -> None:
    made = grammar_for(request(tools=(TOOL,), tool_choice=ToolChoice("required")), Plain(), None, reasoning_open=False)
    assert made is not None
    check(made.lark, {ANSWER: True, CALL: False})


def test_without_a_schema_the_dialect_decides() -> None:
    assert grammar_for(request(None), Hermes(), None, reasoning_open=False) is None
    free = request(None, tools=(TOOL,))
    assert grammar_for(free, Hermes(), None, reasoning_open=False) == Hermes().grammar(free)


def test_equal_schemas_are_built_once() -> None:
    assert lark_of(request()) == lark_of(request(dict(SCHEMA)))


def test_a_line_separator_in_a_name_does_not_break_the_grammars_in_two(check: Check) -> None:
    tool = Tool("turn", parameters={"type": "object", "properties": {"x": {"enum": ["a\u2028b\x85"]}}})
    call = '<tool_call>\n{"name": "turn", "arguments": {"x": "a\u2028b\x85"}}\n</tool_call>'
    check(lark_of(request({"enum": ["c\u2029"]}, tools=(tool,))), {call: True, '"c\u2029"': True, ANSWER: False})


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a": {"not": {}}}}, "format.properties.a.not"),
        ({"type": "string", "minLength": 2, "maxLength": 1}, "format"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_the_client_s_words(schema: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        lark_of(request(schema))
    assert (caught.value.status, caught.value.param) == (400, path)
    assert caught.value.message.startswith(f"{path}: ")


def test_reasoning_has_the_markers_of_the_template() -> None:
    assert Hermes().reasoning("no markers") is None
    assert Mistral().reasoning("... [THINK] ...") == ("[THINK]", "[/THINK]")
    assert Mistral().reasoning("... <think> ...") == ("<think>", "</think>")
    assert Plain().reasoning("<think>") is None


def test_text_with_a_header_of_its_own(check: Check) -> None:
    final, analysis = "<|channel|>final<|message|>", "<|channel|>analysis<|message|>It is 1 < 2.<|end|>"
    call = '<|channel|>commentary to=functions.turn <|constrain|>json<|message|>{"on": true}'
    check(
        lark_of(request(tools=(TOOL,)), dialect=Harmony()),
        {
            f"{final}{ANSWER}": True,
            f"{analysis}<|start|>assistant{final}{ANSWER}": True,
            call: True,
            f"{analysis}<|start|>assistant{call}": True,
            ANSWER: False,
            f"{analysis}{ANSWER}": False,
            f"{final}On.": False,
        },
    )
    check(lark_of(request(), dialect=Harmony()), {f"{final}{ANSWER}": True, call: False})


GRAMMARS = {
    "gbnf": AnswerGrammar("grammar", 'root ::= item ("," item)*\nitem ::= [0-9]{2}\n', "grammar"),
    "lark": AnswerGrammar("grammar", 'start: item ("," item)*\nitem: /[0-9]{2}/\n', "guided_grammar"),
    "regex": AnswerGrammar("regex", "[0-9]{2}(,[0-9]{2})*", "guided_regex"),
    "choice": AnswerGrammar("choice", '["12", "12,34"]', "guided_choice"),
}


def held_to(form: AnswerGrammar, **more: Any) -> ChatRequest:  # noqa: ANN401 -- any field
    return ChatRequest("r", "m", ({"role": "user", "content": "hi"},), answer_schema=form, **more)


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_grammar_of_the_client_s(check: Check, name: str) -> None:
    asked = held_to(GRAMMARS[name])
    check(lark_of(asked), {"12": True, "12,34": True, "1": False, "12,": False, "twelve": False})
    check(lark_of(asked, template="<think>"), {"12": True, "<think>1?</think>\n12,34": True, "<think>12": False})
    check(lark_of(asked, template="<think>", reasoning_open=True), {"1?</think>12": True, "12": False})


@pytest.mark.parametrize(
    "form",
    [
        AnswerGrammar("grammar", "root ::= [", "grammar"),
        AnswerGrammar("grammar", "start: missing", "structured_outputs.grammar"),
        AnswerGrammar("regex", "(", "guided_regex"),
        AnswerGrammar("regex", "a(?=b)", "guided_regex"),
    ],
)
def test_a_grammar_that_makes_no_sense_is_refused_by_name(form: AnswerGrammar) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        lark_of(held_to(form))
    assert caught.value.param == form.path


def test_a_grammar_and_calls_exclude_each_other() -> None:
    form = GRAMMARS["regex"]
    with pytest.raises(InvalidRequestError, match="not together with tools"):
        lark_of(held_to(form, tools=(TOOL,)))
    lark_of(held_to(form, tools=(TOOL,), tool_choice=ToolChoice("none")))
