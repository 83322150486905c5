"""What templates take, and that every request is rendered by each of them as well as it can.

The templates are small ones that make the demands of real models' templates.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import pytest

from tests.fixtures.random_gguf import HERMES_TEMPLATE, write_random_gguf
from zoe_server.errors import InvalidRequestError
from zoe_server.llama.dialects.plain_json import PlainJson
from zoe_server.llama.prompt.template import ChatTemplate
from zoe_server.llama.prompt.template_abilities import CallForm
from zoe_server.protocol import AnswerSchema, ChatRequest, Tool, ToolChoice

if TYPE_CHECKING:
    from conftest import Engine

PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TOOLS_FIRST = "{% if tools %}[{{ tools | tojson }}]{% endif %}"
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{% endfor %}"
)
TURNS = """{%- for m in messages if m.role != 'system' -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('take turns') }}{%- endif -%}
<{{ m.role }}>{{ m.content }}{%- endfor -%}"""
PARTS = """{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}
{%- endfor %}{% endfor %}"""
SHORT_IDS = """{{ tools | tojson }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}
{%- if c.id | length != 9 %}{{ raise_exception('nine letters') }}{% endif %}({{ c.id }} {{ c.function | tojson }})
{%- endfor %}{% if m.role == 'tool' %}({{ m.tool_call_id }}){% endif %}{% endfor %}"""
ITEMS = (
    TOOLS_FIRST
    + """{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}(
{%- for k, v in c.function.arguments | items %}{{ k }}={{ v }}{% endfor %}){% endfor %}{% endfor %}"""
)
TEXT_ARGUMENTS = (
    TOOLS_FIRST
    + """{% for m in messages %}<{{ m.role }}>{{ m.content }}
{%- for c in m.tool_calls or [] %}{{ '(' + c.function.arguments + ')' }}{% endfor %}{% endfor %}"""
)
PYTHON = (
    TOOLS_FIRST
    + """{% for m in messages %}<{{ m.role }}>{{ m.content }}
{%- for c in m.tool_calls or [] %}({{ c.function.arguments }}){% endfor %}{% endfor %}"""
)
ONE_CALL = (
    TOOLS_FIRST
    + """{% for m in messages %}{% if m.tool_calls and m.tool_calls | length > 1 %}
{{- raise_exception('one call') }}{% endif %}<{{ m.role }}>{{ m.content }}
{%- for c in m.tool_calls or [] %}({{ c.function.arguments | tojson }}){% endfor %}{% endfor %}"""
)
NO_ORPHANS = (
    TOOLS_FIRST
    + """{% set seen = namespace(call=false) %}{% for m in messages %}{% if m.tool_calls %}
{%- set seen.call = true %}{% endif %}{% if m.role == 'tool' and not seen.call %}{{ raise_exception('no call') }}
{%- endif %}
<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}({{ c.function.arguments | tojson }}){% endfor %}
{%- endfor %}"""
)
LOOPS_OVER_TOOLS = "{% for tool in tools %}[{{ tool.function.name }}]{% endfor %}" + PLAIN
LAMP = (Tool("turn_on", "Turn on", {"type": "object", "properties": {"name": {"type": "string"}}}),)
SYSTEM, LATE = ({"role": "system", "content": text} for text in ("Be brief.", "Be kind."))


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>")


def render(source: str, *messages: dict[str, Any], tools: tuple[Tool, ...] = (), **fields: object) -> str:
    return template(source).render(ChatRequest("r", "m", messages, tools, **fields))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def call(*ids: str, arguments: str = '{"name": "Lamp"}') -> dict[str, Any]:
    function = {"name": "turn_on", "arguments": arguments}
    calls = [{"id": each, "type": "function", "function": function} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str, text: str = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


@pytest.mark.parametrize("source", [NO_SYSTEM + PLAIN, TURNS], ids=["refuses", "drops"])
def test_system_texts_go_to_the_user_s_turn_where_there_is_no_such_role(source: str) -> None:
    assert render(source, SYSTEM, LATE, user("Hi")) == "<user>Be brief.\nBe kind.\n\nHi"
    assert render(source, user("a"), said("b"), LATE, user("c")) == "<user>a<assistant>b<user>Be kind.\n\nc"
    assert render(source, SYSTEM) == "<user>Be brief."


def test_a_system_message_in_the_middle_does_not_take_the_first_one_s_place() -> None:
    last = """{% set ns = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.s = m.content %}
        {%- endif %}{% endfor %}{{ ns.s }}{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}
        {%- endfor %}"""
    text = render(last, SYSTEM, user("a"), said("b"), LATE, user("c"))
    assert text == "Be brief.<user>a<assistant>b<user>Be kind.\n\nc"


def test_turns_of_one_role_become_one_where_they_have_to_alternate() -> None:
    text = render(TURNS, said("Hello"), user("a"), user("b"), said("c"), said("d"), user("e"))
    assert text == "<user><assistant>Hello<user>a\n\nb<assistant>c\n\nd<user>e"
    assert render(PLAIN, user("a"), user("b")) == "<user>a<user>b"


def test_calls_and_results_alternate_too() -> None:
    text = render(TURNS, user("on"), call("1"), result("1"), user("and?"), tools=LAMP)
    assert text.endswith(
        'on<assistant>{"name": "turn_on", "arguments": {"name": "Lamp"}}'
        "<user>The function turn_on returned:\ndone\n\nand?"
    )


def test_a_template_that_reads_parts_gets_parts() -> None:
    parts = [{"type": "text", "text": "Look: "}, {"type": "picture", "data": "", "path": "x"}]
    asked = ChatRequest("r", "m", (SYSTEM, {"role": "user", "content": parts}, said("A lamp"), user("Sure?")))
    text = template(PARTS).render(asked, "<picture>")
    assert text == "<system>Be brief.<user>Look: <picture><assistant>A lamp<user>Sure?"


def test_ids_have_nine_letters_where_they_have_to() -> None:
    text = render(SHORT_IDS, user("on"), call("call_abcdef123456"), result("call_abcdef123456"), tools=LAMP)
    short = text.rpartition("(")[2].removesuffix(")")
    assert (len(short), short.isalnum(), text.count(short)) == (9, True, 2)
    assert render(SHORT_IDS, call("aB3dE6gH9"), result("aB3dE6gH9")).count("aB3dE6gH9") == 2


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (ITEMS, "(name=Lamp)"),
        (TEXT_ARGUMENTS, '({"name": "Lamp"})'),
        (PYTHON, '({"name": "Lamp"})'),
        (HERMES_TEMPLATE, '"arguments": {"name": "Lamp"}}'),
    ],
)
@pytest.mark.parametrize("arguments", ['{"name": "Lamp"}', '{"name": "Lamp'], ids=["whole", "cut off"])
def test_arguments_are_written_as_the_template_reads_them(source: str, shown: str, arguments: str) -> None:
    assert shown in render(source, user("on"), call("1", arguments=arguments), result("1"), tools=LAMP)


def test_calls_stand_one_by_one_where_a_message_takes_no_more() -> None:
    messages = (user("on"), call("1", "2"), result("2", "two"), result("1", "one"), said("ok"), user("x"))
    one = '<assistant>({"name": "Lamp"})<tool>'
    text = render(ONE_CALL, *messages, tools=LAMP)
    assert text.partition("<user>")[2] == f"on{one}one{one}two<assistant>ok<user>x"
    assert template(ONE_CALL).abilities.calls == CallForm(one_per_message=True)


def test_a_result_whose_call_is_missing_is_told_in_words() -> None:
    assert render(NO_ORPHANS, result("x"), user("Hi")).endswith("<user>A function returned:\ndone<user>Hi")
    assert "<tool>done" in render(NO_ORPHANS, call("1"), result("1"), tools=LAMP)


def test_tools_are_described_in_the_system_text_where_there_is_no_place_for_them() -> None:
    text = render(PLAIN, SYSTEM, user("on"), call("1", "2"), result("1"), tools=LAMP)
    assert text.startswith("<system>Be brief.<system>You can call functions.")
    assert json.dumps(LAMP[0].parameters) in text
    assert text.count('{"name": "turn_on", "arguments": {"name": "Lamp"}}') == 2
    assert "You can call" not in render(PLAIN, SYSTEM, user("on"))


def test_a_template_that_goes_through_the_tools_is_told_of_none() -> None:
    assert render(LOOPS_OVER_TOOLS, user("Hi")) == "<user>Hi"
    assert render(LOOPS_OVER_TOOLS, user("Hi"), tools=LAMP) == "[turn_on]<user>Hi"


def test_what_a_template_refuses_without_having_been_asked_is_said_plainly() -> None:
    """After a result, this one wants an answer first, which no trial tells."""
    source = (
        TOOLS_FIRST
        + """{% for m in messages %}{% if m.role == 'user' and loop.previtem and loop.previtem.role == 'tool' %}
        {{- raise_exception('an answer first') }}{% endif %}<{{ m.role }}>{{ m.content }}
        {%- for c in m.tool_calls or [] %}({{ c.function.arguments | tojson }}){% endfor %}{% endfor %}"""
    )
    text = render(source, user("on"), call("1"), result("1"), user("and?"), tools=LAMP)
    assert text.endswith("<user>The function turn_on returned:\ndone\n\nand?")
    assert "(" in render(source, user("on"), call("1"), result("1"), said("ok"), user("and?"), tools=LAMP)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_of_earlier_answers_is_given_back_where_the_template_reads_it(name: str) -> None:
    source = PLAIN.replace("{{ m.content }}", "{{ m.content }}{% if m.NAME %}({{ m.NAME }}){% endif %}")
    thought = {**said("It is on."), "reasoning_content": "The lamp?"}
    messages = (user("on"), thought, user("off"))
    assert render(source.replace("NAME", name), *messages) == "<user>on<assistant>It is on.(The lamp?)<user>off"
    assert render(PLAIN, *messages) == "<user>on<assistant>It is on.<user>off"


def test_reasoning_that_a_template_refuses_beside_a_text_is_left_out() -> None:
    source = (
        TOOLS_FIRST
        + """{% for m in messages %}{% if m.thinking and m.content and m.tool_calls %}
        {{- raise_exception('not both') }}{% endif %}<{{ m.role }}>{{ m.content }}{{ m.thinking }}
        {%- for c in m.tool_calls or [] %}({{ c.function.arguments | tojson }}){% endfor %}{% endfor %}"""
    )
    both = {**call("1"), "content": "Well.", "reasoning_content": "The lamp?"}
    assert '<assistant>Well.({"name": "Lamp"})<tool>' in render(source, user("on"), both, result("1"), tools=LAMP)
    assert "<assistant>The lamp?(" in render(source, user("on"), {**both, "content": ""}, result("1"), tools=LAMP)


@pytest.mark.parametrize("source", [PLAIN, PARTS, TURNS, PLAIN.replace("m.content }}", "m.content | trim }}</s>\n")])
def test_an_answer_continues_the_assistant_s_last_text(source: str) -> None:
    assert render(source, user("Count"), said("One, two,")).endswith("<assistant>One, two,")
    assert render(source, user("Count"), said("One,"), user("Go on")).endswith(("Go on", "</s>\n"))


def test_what_is_demanded_of_an_answer_begins_anew() -> None:
    source = PLAIN + "{% if add_generation_prompt %}<answer>{% endif %}"
    messages = (user("Count"), said("One, two,"))
    assert render(source, *messages, answer_schema=AnswerSchema({}, "x")).endswith("two,<answer>")
    assert render(source, *messages, tools=LAMP, tool_choice=ToolChoice("required")).endswith("two,<answer>")
    assert render(source, user("on"), call("1")).endswith("<answer>")
    drops = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}{{ add_generation_prompt }}"
    assert render(drops, *messages) == "CountTrue"


def test_names_of_the_client_reach_the_template_but_not_those_of_the_server() -> None:
    source = (
        PLAIN + "{% if enable_thinking is defined and not enable_thinking %}<no thoughts>{% endif %}{{ date_string }}"
    )
    kwargs = {"enable_thinking": False}
    assert "<no thoughts>" in render(source, user("Hi"), chat_template_kwargs=kwargs)
    assert "<no thoughts>" not in render(source, user("Hi"))
    with pytest.raises(InvalidRequestError) as caught:
        render(source, user("Hi"), chat_template_kwargs={"messages": []})
    assert caught.value.param == "chat_template_kwargs.messages"


def test_the_date_is_today_s() -> None:
    today = ChatTemplate("{{ date_string }}", bos_token="", eos_token="", now=lambda: datetime(2026, 10, 4, tzinfo=UTC))
    assert today.render(ChatRequest("r", "m", (user("Hi"),))) == "04 Oct 2026"


def test_a_model_whose_template_has_no_place_for_tools_speaks_json(make_engine: Callable[..., Engine]) -> None:
    intake = make_engine(chat_template=PLAIN).intake
    assert isinstance(intake.dialect, PlainJson)
    assert intake.abilities == []
    assert make_engine(chat_template=HERMES_TEMPLATE).intake.abilities == ["tools"]


def test_the_template_for_tools_is_used_where_there_are_tools(
    make_engine: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        gguf.GGUFWriter,
        "add_chat_template",
        lambda self, _: (
            self.add_string("tokenizer.chat_template", PLAIN),
            self.add_string("tokenizer.chat_template.tool_use", HERMES_TEMPLATE),
        ),
    )
    engine = make_engine(write_random_gguf(tmp_path / "two.gguf"))
    assert engine.intake.dialect.name == "hermes"
    prompts = [
        engine.runner.vocab.detokenize(engine.prepare(name, "on", tools=tools).sequence.tokens).decode()
        for name, tools in (("a", ()), ("b", LAMP))
    ]
    assert prompts[0] == "<user>on"
    assert prompts[1].startswith("<|im_start|>system\n# Tools")
