"""Prompts as Hugging Face's templates would write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fixtures.random_gguf import HERMES_TEMPLATE
from zoe_server.errors import EngineUnavailableError, InvalidRequestError
from zoe_server.llama.prompt.template import ChatTemplate, knows_reasoning, opens_reasoning
from zoe_server.protocol import ChatRequest, Tool, ToolChoice

ZOE_NANO_TEMPLATE = Path(__file__).parents[4] / "server" / "zoe_train" / "zoe_nano.jinja"
TOOLS = (
    Tool(
        "turn_on",
        "Turns on <things> & more",
        {"type": "object", "properties": {"name": {"type": "string"}, "ä": {}}},
    ),
)


def request(*messages: dict[str, Any], tools: tuple[Tool, ...] = (), mode: Any = "auto") -> ChatRequest:  # noqa: ANN401
    return ChatRequest("r", "m", messages, tools, ToolChoice(mode))


def render(source: str, *messages: dict[str, Any], tools: tuple[Tool, ...] = ()) -> str:
    return template(source).render(request(*messages, tools=tools))


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>", now=lambda: datetime(2026, 10, 4, 12, tzinfo=UTC))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(arguments: str) -> dict[str, Any]:
    function = {"name": "turn_on", "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}


def test_a_whole_conversation() -> None:
    text = render(
        HERMES_TEMPLATE,
        {"role": "system", "content": "Be brief."},
        user("lamp on"),
        call('{"name": "Lämp", "ä": [1]}'),
        {"role": "tool", "tool_call_id": "1", "content": "done"},
        tools=TOOLS,
    )
    assert text == (
        "<|im_start|>system\nBe brief.\n\n# Tools\n\nYou may call one or more functions.\n<tools>\n"
        '{"type": "function", "function": {"name": "turn_on", "description": "Turns on <things> & more", '
        '"parameters": {"type": "object", "properties": {"name": {"type": "string"}, "ä": {}}}}}\n</tools>\n\n'
        "For each call return a json object within <tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\nlamp on<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "turn_on", "arguments": {"name": "Lämp", "ä": [1]}}\n</tool_call>'
        "<|im_end|>\n<|im_start|>user\n<tool_response>\ndone\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        *(("", "{}"), ("  ", "{}"), ("{}", "{}"), ('{"a":1}', '{"a": 1}')),
        *(('{"a": "La', '{"a": "La"}'), ('{"a": [1, {"b": tr', '{"a": [1, {}]}'), ("{", "{}")),
        *(("{a", '{"arguments": "{a"}'), ("[1]", '{"arguments": "[1]"}'), ("7", '{"arguments": "7"}')),
    ],
)
def test_arguments_of_past_calls_are_objects(arguments: str, shown: str) -> None:
    source = """{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}
        {{- c.function.arguments | tojson }}{% endfor %}{% endfor %}"""
    assert render(source, call(arguments)) == shown


def test_the_request_is_left_as_it_was() -> None:
    message = call('{"a": 1}')
    before = json.dumps(message)
    render(HERMES_TEMPLATE, user("x"), message)
    assert json.dumps(message) == before


def test_missing_content_is_an_empty_string() -> None:
    source = "{% for m in messages %}[{{ m.content }}{{ '|' if m.content else '-' }}]{% endfor %}"
    assert render(source, {"role": "assistant", "content": None}, {"role": "assistant"}, user("x")) == "[-][-][x|]"


def test_what_templates_may_use() -> None:
    assert render("{{ bos_token }}|{{ eos_token }}|{{ tools is none }}|{{ add_generation_prompt }}", user("x")) == (
        "<s>|</s>|True|True"
    )
    assert render("{{ strftime_now('%d %b %Y') }}", user("x")) == "04 Oct 2026"
    assert (
        render("{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}", user("x")) == "13"
    )
    assert render("a{% generation %}b{% endgeneration %}c", user("x")) == "abc"
    assert render("{{ {'b': '<ü>', 'a': none} | tojson }}", user("x")) == '{"b": "<ü>", "a": null}'
    assert render("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, indent=1) }}", user("x")) == '{\n "a": 2,\n "b": 1\n}'
    assert render("  {% if true %}\n  x\n  {% endif %}\n", user("x")) == "  x\n"


def test_tool_choice_does_not_change_the_prompt() -> None:
    prompts = {
        template(HERMES_TEMPLATE).render(request(user("x"), tools=TOOLS, mode=m)) for m in ("auto", "none", "required")
    }
    assert len(prompts) == 1
    assert "turn_on" in prompts.pop()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[7].content }}", "no element 7"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[0].content + 1 }}", "str"),
        ("{{ messages.append(1) }}", "append"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    ],
)
def test_a_template_that_fails_says_why(source: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        render(source, user("x"))
    assert caught.value.param == "messages"


HOME, ROOM = ({"role": "system", "content": text} for text in ("The home.", "You are in area Kitchen and so on."))


def test_what_differs_by_room_stands_behind_the_tools_where_a_template_lets_it() -> None:
    here, nowhere = (render(HERMES_TEMPLATE, HOME, *room, user("x"), tools=TOOLS) for room in ([ROOM], []))
    own = f"<|im_start|>system\n{ROOM['content']}<|im_end|>\n"
    assert here.replace(own, "") == nowhere
    assert here.index("turn_on") < here.index(own) < here.index("<|im_start|>user")


@pytest.mark.parametrize(
    "source",
    [
        """{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('no') }}{% endif %}
           [{{ m.role }}: {{ m.content }}]{% endfor %}""",
        # Like Llama 3.1: the tools stand before what is behind the first message, whoever said that.
        """[system: {{ messages[0].content }}]{% for m in messages[1:] %}
           {% if loop.first %}[user: {{ tools | tojson }} {{ m.content }}]{% else %}[{{ m.role }}: {{ m.content }}]
           {% endif %}{% endfor %}""",
        "[system: {{ messages[0].content }}]{% for m in messages if m.role != 'system' %}[{{ m.role }}]{% endfor %}",
    ],
    ids=["refuses", "takes for the user's", "drops"],
)
def test_elsewhere_all_system_messages_of_the_beginning_are_one(source: str) -> None:
    text = render(source, HOME, ROOM, user("x"))
    assert text.lstrip().startswith("[system: The home.\nYou are in area Kitchen and so on.]")
    assert text == render(source, {**HOME, "content": f"{HOME['content']}\n{ROOM['content']}"}, user("x"))


def test_zoe_nano_reads_the_room_wherever_it_stands() -> None:
    source = ZOE_NANO_TEMPLATE.read_text()
    text = render(source, HOME, ROOM, user("x"), tools=TOOLS)
    assert text.count("turn_on") == 1
    assert 'here="Kitchen and so on."' in text


def test_a_template_that_is_not_jinja_is_refused_at_start() -> None:
    with pytest.raises(EngineUnavailableError, match="line 2"):
        template("a\n{% if %}")


def test_a_model_without_a_template_gets_chatml() -> None:
    assert render("", user("hi")) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_the_prompt_can_always_be_encoded() -> None:
    assert render("{{ messages[0].content }}", user("a\ud800ü")) == "a\ufffdü"


def test_reasoning_opened_by_the_prompt_is_seen() -> None:
    assert opens_reasoning("<|assistant|><think>\n")
    assert not opens_reasoning("<|assistant|><think></think>\n")


@pytest.mark.parametrize(
    ("source", "reasons"),
    [
        (HERMES_TEMPLATE, False),
        ("{{- '<think>\\n' + message.reasoning_content }}", True),
        ("{{- '[THINK]' + block['thinking'] + '[/THINK]' }}", True),
        ("{{- '<|channel>thought\\n' + thinking_text + '\\n<channel|>' -}}", True),
        ('{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}', True),
    ],
)
def test_a_model_that_reasons_is_told_by_its_template(source: str, reasons: bool) -> None:
    assert knows_reasoning(source) == reasons


def test_zoe_nano_reads_home_assistants_own_tools() -> None:
    tools = json.loads(Path(__file__).parent.with_name("home_assistant_tools.json").read_text("utf-8"))
    text = template(ZOE_NANO_TEMPLATE.read_text("utf-8")).render(
        request(
            {"role": "system", "content": "Be brief."}, user("Lamp on"), tools=tuple(Tool(**tool) for tool in tools)
        )
    )
    assert all(tool["name"] in text for tool in tools)
    assert text.endswith("<|user|> lamp on<|assistant|>")


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "1", "content": text}


def test_what_zoe_nano_was_trained_on() -> None:
    """Whatever else the template admits, these bytes stay."""
    home = (
        "Be brief.\nMine:\n- names: Kitchen Lamp\n  domain: light\n  areas: Kitchen\n- names: 'TV, Big'\n"
        "  domain: media_player\n  areas: Living Room\n- names: Script\n  domain: script\n"
        "You are in area Kitchen (floor Ground) and all generic commands"
    )
    live = {
        "success": True,
        "result": "Live Context: An overview of the areas and the devices in this smart home:\n- names: Kitchen Lamp\n"
        "  domain: light\n  state: 'on'\n  attributes:\n    brightness: 5\n",
    }
    properties = {name: {} for name in ("name", "area", "floor", "domain", "device_class")}
    text = template(ZOE_NANO_TEMPLATE.read_text("utf-8")).render(
        request(
            {"role": "system", "content": home},
            user(" Turn ON the Lamp "),
            call('{"name":"Kitchen Lamp"}'),
            result('{"response_type":"action_done","data":{"success":[{"name":"Kitchen Lamp","type":"entity"}]}}'),
            result('{"error":"x","error_text":"no such device"}'),
            result('{"items":[{"summary":"milk"},{"summary":"eggs"}]}'),
            result(json.dumps(live, separators=(",", ":"))),
            result("42"),
            {"role": "assistant", "content": "On."},
            user("thanks"),
            tools=(Tool("HassTurnOn", "t", {"type": "object", "properties": properties}), Tool("GetDateTime")),
        )
    )
    assert text == (
        "<|system|>\nHassTurnOn(*)\nGetDateTime()\n"
        ' kitchen lamp in kitchen="Kitchen Lamp" light\n tv, big in living room="TV, Big" media_player\n'
        ' script="Script" script\n area kitchen="Kitchen"\n area living room="Living Room"\n here="Kitchen"'
        '<|user|> turn on the lamp<|assistant|><tool_call>\n{"name": "turn_on", "arguments": {"name": "Kitchen Lamp"}}'
        '\n</tool_call><|im_end|><|tool|>done "Kitchen Lamp"<|tool|>error no such device<|tool|>items "milk" "eggs"'
        "<|tool|>- Kitchen Lamp light state: 'on'   brightness: 5\n\"}<|tool|>42<|assistant|>On.<|im_end|>"
        "<|user|> thanks<|assistant|>"
    )


_PIECES = (
    *("\n", "- names: ", "Lamp", "'", "  domain: ", "light", "  areas: ", "Kitchen", "You are in area ", " (floor"),
    *('"success":true,"result":"Live Context', "smart home:\\n", '"error_text":"', '"items":[', '"summary":"'),
    *('"name":"', '"response_type":"action_done"', '"', "]}", '"},"error"', "\\n"),
)
texts = st.lists(st.sampled_from(_PIECES), max_size=8).map("".join)


@settings(deadline=None, max_examples=60)
@given(system=texts, said=texts, told=texts, properties=st.sampled_from([{}, [], None, "x", {"a": {}}]))
@example(system="Mine:\n- names: Lamp", said="", told="", properties=[])
@example(system="", said="", told='{"success":true,"result":"Live Context: nothing is exposed"}', properties=None)
@example(system="\n- names: ", said="", told='{"items":[]}', properties=None)
def test_zoe_nano_answers_whatever_the_texts_are(system: str, said: str, told: str, properties: object) -> None:
    text = template(ZOE_NANO_TEMPLATE.read_text("utf-8")).render(
        request(
            {"role": "system", "content": system},
            user(said),
            call(told),
            result(told),
            tools=(Tool("turn_on", "", {"properties": properties}), Tool("turn_off")),
        )
    )
    assert text.endswith("<|assistant|>")


@pytest.mark.timeout(20)
def test_zoe_nano_takes_a_home_of_megabytes_in_its_stride() -> None:
    """It may be too long for the model; telling so must not take minutes."""
    home = "".join(f"\n- names: Lamp {n}\n  domain: light\n  areas: Room {n}" for n in range(60_000))
    text = render(ZOE_NANO_TEMPLATE.read_text("utf-8"), {"role": "system", "content": home}, user("x"))
    assert text.count("lamp") == 60_000
