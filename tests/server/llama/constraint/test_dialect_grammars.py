"""The grammar of a whole answer in every dialect, with Home Assistant's own tools, and what its parser makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from zoe_server.llama import dialects
from zoe_server.llama.constraint.grammar import Grammar
from zoe_server.protocol import ChatRequest, Text, Tool, ToolCallArguments, ToolCallStart, ToolChoice

Check = Callable[[str, Mapping[str, bool]], None]
"""Fails unless llguidance takes the grammar and admits exactly the texts marked True."""

HOME_ASSISTANT_TOOLS = tuple(
    Tool(**tool) for tool in json.loads(Path(__file__).parent.with_name("home_assistant_tools.json").read_text("utf-8"))
)
TYPES = Tool(
    "types",
    parameters={
        "type": "object",
        "properties": {
            "z": {"type": "boolean"},
            "a": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
            "m": {"type": "object", "properties": {"x": {"type": "null"}, "c": {"enum": [True, "yes", ["no", 1]]}}},
            "free": {},
        },
        "required": ["z"],
    },
)
REQUIRED = ToolChoice("required")
VALUES = {"name": ("Kitchen light", "TV"), "area": ("Kitchen",), "intent__HassStartTimer.name": None, "floor": ()}
MESSAGE = "<|message|>"
QUOTE = '<|"|>'


def dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def keywords(name: str, arguments: Mapping[str, object]) -> str:
    return f"{name}({', '.join(f'{key}={dumped(value)}' for key, value in arguments.items())})"


def braces(name: str, arguments: Mapping[str, object], quote: str) -> str:
    """Return Gemma's way of writing; lists have one item here."""

    def written(value: object) -> str:
        if isinstance(value, list):
            return f"[{','.join(map(written, value))}]"
        return f"{quote}{value}{quote}" if isinstance(value, str) else dumped(value)

    return f"{name}{{{','.join(f'{key}:{written(value)}' for key, value in sorted(arguments.items()))}}}"


def harmony(name: str, arguments: Mapping[str, object]) -> str:
    return f"<|channel|>commentary to=functions.{name} <|constrain|>json{MESSAGE}{dumped(arguments)}"


def openai(name: str, arguments: Mapping[str, object], key: str = "arguments") -> str:
    return dumped({"name": name, key: arguments})


WRITERS: dict[str, tuple[Callable[[str, Mapping[str, object]], str], str, str, str]] = {
    "llama3": (lambda n, a: openai(n, a, "parameters"), "", "; ", ""),
    "mistral": (lambda n, a: f"[TOOL_CALLS]{n}[ARGS]{dumped(a)}", "", "", ""),
    "gemma": (keywords, "[", ", ", "]"),
    "functiongemma": (
        lambda n, a: f"<start_function_call>call:{braces(n, a, '<escape>')}<end_function_call>", "", "", "",
    ),
    "gemma4": (lambda n, a: "<|tool_call>call:" + braces(n, a, QUOTE) + "<tool_call|>", "", "", ""),
    "functionary-v3.1": (lambda n, a: f"<function={n}>{dumped(a)}</function>", "", "", ""),
    "functionary-v3.2": (lambda n, a: f"{n}\n{dumped(a)}", "", ">>>", ""),
    "json": (openai, "[", ", ", "]"),
    "harmony": (harmony, "", "", ""),
    "hermes": (lambda n, a: f"<tool_call>\n{openai(n, a)}\n</tool_call>", "", "\n", ""),
}  # fmt: skip
"""How a dialect writes one call, and what stands before, between and behind calls."""

ONE_CALL_ONLY = {"harmony"}


def written(dialect: str, *calls: tuple[str, Mapping[str, object]]) -> str:
    call, before, between, behind = WRITERS[dialect]
    return before + between.join(call(name, arguments) for name, arguments in calls) + behind


def request(tools: tuple[Tool, ...] = HOME_ASSISTANT_TOOLS, **more: Any) -> ChatRequest:  # noqa: ANN401 -- any field
    return ChatRequest(id="r", model="m", messages=({"role": "user", "content": "hi"},), tools=tools, **more)


def grammar(dialect: str, tools: tuple[Tool, ...] = HOME_ASSISTANT_TOOLS, **more: Any) -> Grammar:  # noqa: ANN401
    made = dialects.by_name(dialect).grammar(request(tools, **more))
    assert made is not None
    return made


def parsed(dialect: str, text: str) -> list[tuple[str, object]]:
    """Return the calls that the parser finds, and fail if it finds a text between them."""
    parser = dialects.by_name(dialect).parser(request((*HOME_ASSISTANT_TOOLS, TYPES)))
    names: list[str] = []
    arguments: dict[int, str] = {}
    for event in parser.feed(text) + parser.close():
        assert not isinstance(event, Text) or event.text.isspace()
        if isinstance(event, ToolCallStart):
            names.append(event.name)
        elif isinstance(event, ToolCallArguments):
            arguments[event.index] = arguments.get(event.index, "") + event.text
    return [(name, json.loads(arguments[index])) for index, name in enumerate(names)]


ON = ("intent__HassTurnOn", {"name": "Kitchen light", "domain": ["light"]})
SET = ("light__HassLightSet", {"area": "Kitchen", "color": "red", "brightness": 100})
TIME = ("llm__GetDateTime", dict[str, object]())
ADMITTED: tuple[tuple[str, Mapping[str, object]], ...] = (
    ON,
    TIME,
    ("intent__HassStartTimer", {"minutes": 5, "name": "pizza"}),
    ("media_player__HassSetVolumeRelative", {"volume_step": -20, "name": "TV"}),
    ("todo__get_items", {"todo_list": "Shopping list", "status": "all"}),
)
REFUSED: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("intent__HassTurnOn", {"name": "Garden light"}),
    ("intent__HassTurnOn", {"name": "TV", "device_class": ["toaster"]}),
    ("light__HassLightSet", {"name": "TV", "brightness": 101}),
    ("intent__HassSetPosition", {"name": "TV"}),
    ("intent__HassTurnO", {}),
)
SORTING = {"functiongemma", "gemma4"}


def in_order(dialect: str, call: tuple[str, Mapping[str, object]]) -> tuple[str, Mapping[str, object]]:
    """Return the call with its arguments in the order of the tool's schema, in which most grammars want them."""
    tool = next((tool for tool in HOME_ASSISTANT_TOOLS if tool.name == call[0]), None)
    order = list(tool.parameters.get("properties", {})) if tool and dialect not in SORTING else []
    known = {key: call[1][key] for key in order if key in call[1]}
    return call[0], {**known, **call[1]}


@pytest.mark.parametrize("dialect", WRITERS)
def test_home_assistant_calls(check: Check, dialect: str) -> None:
    made = grammar(dialect, argument_values=VALUES, tool_choice=REQUIRED)
    assert not made.lazy
    admitted = [in_order(dialect, call) for call in ADMITTED]
    texts = {written(dialect, call): True for call in admitted}
    texts |= {written(dialect, in_order(dialect, call)): False for call in REFUSED}
    two = written(dialect, *(in_order(dialect, call) for call in (ON, SET)))
    check(made.lark, texts | {two: dialect not in ONE_CALL_ONLY, "I turned it on.": False, "": False})
    for call in admitted:
        assert parsed(dialect, written(dialect, call)) == [call]
    if dialect not in ONE_CALL_ONLY:
        assert [name for name, _ in parsed(dialect, two)] == [ON[0], SET[0]]


@pytest.mark.parametrize("dialect", WRITERS)
def test_tool_choice(check: Check, dialect: str) -> None:
    one, two = written(dialect, TIME), written(dialect, TIME, TIME)
    auto = grammar(dialect)
    assert auto.lazy
    assert auto.triggers or auto.openings
    several = dialect not in ONE_CALL_ONLY
    check(auto.lark, {one: True, two: several})
    assert any(each in one for each in auto.triggers) or one.lstrip().startswith(auto.openings)
    named = grammar(dialect, tool_choice=ToolChoice("required", "llm__GetDateTime"))
    assert (named.lazy, named.triggers, named.openings) == (False, (), ())
    check(named.lark, {one: True, written(dialect, ("intent__HassTurnOn", {})): False})
    single = grammar(dialect, parallel_tool_calls=False)
    check(single.lark, {one: True, two: False})
    assert dialects.by_name(dialect).grammar(request(tool_choice=ToolChoice("none"))) is None
    assert dialects.by_name(dialect).grammar(request(())) is None


@pytest.mark.parametrize("dialect", WRITERS)
def test_every_home_assistant_tool_alone_is_accepted(check: Check, dialect: str) -> None:
    for tool in HOME_ASSISTANT_TOOLS:
        made = grammar(dialect, (tool,), argument_values=VALUES, tool_choice=REQUIRED)
        check(made.lark, {written(dialect, (tool.name, {"nothing": 1})): False, written(dialect, ("other", {})): False})


FORMS: dict[str, tuple[str, dict[str, bool]]] = {
    "llama3": (
        "llama3",
        {
            '<|python_tag|>{"name": "types", "parameters": {"z": true}}': True,
            '{"type": "function", "name": "types", "parameters": {"z": true}}': True,
            '{"name": "types", "parameters": {"z": true}}\n{"name": "types", "parameters": {"z": true}}': True,
            '{"name": "types", "arguments": {"z": true}}': False,
            "<|python_tag|>types.call(z=True)": False,
        },
    ),
    "mistral": (
        "mistral",
        {
            '[TOOL_CALLS][{"name": "types", "arguments": {"z": true}}]': True,
            '[TOOL_CALLS] [{"name": "types", "arguments": {"z": true}, "id": "x7Kp20aQz"}]': True,
            '[TOOL_CALLS][{"name": "types", "arguments": {"z": true}, "id": "1"}]': False,
            '[TOOL_CALLS][{"name": "types", "arguments": {}}]': False,
            '[TOOL_CALLS]types[CALL_ID]x7Kp20aQz[ARGS]{"z": true}[TOOL_CALLS]types[ARGS]{"z": false}': True,
            '[TOOL_CALLS]types[ARGS]{"z": true}types[ARGS]{"z": true}': False,
            '[TOOL_CALLS]types{"z": true}': False,
        },
    ),
    "gemma": (
        "gemma",
        {
            "[types(z=True, a=[1, 2.5], m={\"x\": None, \"c\": \"yes\"}, free={\"k\": [True]})]": True,
            "```tool_code\ntypes(z=False)\ntypes(z=True)\n```": True,
            '```json\n{"name": "types", "parameters": {"z": true}}\n```': True,
            '{"name": "types", "parameters": {"z": true, "m": {"c": ["no", 1]}}}': True,
            "[types(z=true)]": False,
            "[types(a=[])]": False,
            "types(z=True)": False,
            '```json\n{"name": "types", "parameters": {"z": True}}\n```': False,
        },
    ),
    "functiongemma": (
        "functiongemma",
        {
            "<start_function_call>call:types{a:[1,2],free:<escape>\"b\" <<d<escape>,z:true}<end_function_call>": True,
            "<start_function_call>call:types{m:{c:<escape>yes<escape>,x:null},z:false}<end_function_call>": True,
            "<start_function_call>call:types{m:{c:[<escape>no<escape>,1]},z:true}<end_function_call>": True,
            "<start_function_call>call:types{free:{k:[{}]},z:true}<end_function_call>": True,
            "<start_function_call>call:types{z:true,a:[1]}<end_function_call>": False,
            "<start_function_call>call:types{a:[1,2,3],z:true}<end_function_call>": False,
            '<start_function_call>call:types{"z":true}<end_function_call>': False,
            "<start_function_call>call:types{z:true}": False,
        },
    ),
    "gemma4": (
        "gemma4",
        {
            '<|tool_call>call:types{m:{c:<|"|>yes<|"|>},z:true}<tool_call|>': True,
            '<|tool_call>call:types{free:<|"|>a|b<|"|>,z:true}<tool_call|>': True,
            '<|tool_call>call:types{z:true}<tool_call|><|tool_call>call:types{z:true}<tool_call|>': True,
            '<|tool_call>call:types{m:{c:<|"|>no<|"|>},z:true}<tool_call|>': False,
        },
    ),
    "functionary-v3.2": (
        "functionary-v3.2",
        {
            '>>>types\n{"z": true}>>>types\n{"z": true}': True,
            'all\nYes.>>>types\n{"z": true}': False,
        },
    ),
    "json": (
        "json",
        {
            '{"name": "types", "parameters": {"z": true}}': True,
            '```json\n[{"name": "types", "arguments": {"z": true}}]\n```': True,
            '{"name": "types", "arguments": {"z": true}}\n{"name": "types", "arguments": {"z": true}}': False,
            "[]": False,
        },
    ),
    "harmony": (
        "harmony",
        {
            f'<|channel|>analysis{MESSAGE}If 1 < 2, <b> or <<.<|end|><|start|>assistant<|channel|>commentary '
            f'to=functions.types <|constrain|>json{MESSAGE}{{"z": true}}': True,
            f'<|start|>assistant to=functions.types<|channel|>commentary json{MESSAGE}{{"z": true}}': True,
            f' to=functions.types<|channel|>analysis{MESSAGE}{{"z": true}}': True,
            f'<|start|>assistantto=functions.types<|channel|>commentary{MESSAGE}{{"z": true}}': False,
            f"<|channel|>analysis{MESSAGE}Hm.<|end|> to=functions.types<|channel|>commentary{MESSAGE}{{}}": False,
            f'<|channel|>analysis{MESSAGE}Hm.<|end|>': False,
            f'<|channel|>final{MESSAGE}Hm.': False,
            f'<|channel|>commentary to=functions.types{MESSAGE}{{}}': False,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FORMS)
def test_forms(check: Check, case: str) -> None:
    dialect, texts = FORMS[case]
    check(grammar(dialect, (TYPES,), tool_choice=REQUIRED).lark, texts)
    for text in (text for text, admitted in texts.items() if admitted):
        assert {name for name, _ in parsed(dialect, text)} == {"types"}
        assert all(
            isinstance(arguments, dict) and isinstance(arguments["z"], bool) for _, arguments in parsed(dialect, text)
        )


def test_what_wakes_the_grammars() -> None:
    tools = (Tool("on"), Tool("off"))
    waking = {name: grammar(name, tools) for name in WRITERS}
    assert waking["functionary-v3.2"].triggers == (">>>on\n", ">>>off\n")
    assert waking["functionary-v3.2"].openings[:2] == ("on\n", "off\n")
    assert '[{"name": "on", ' in waking["hermes"].json_openings
    assert {"[on(", "[off("} < set(waking["gemma"].openings)
    assert [end for _, end in waking["mistral"].thinking] == ["</think>", "[/THINK]"]
    assert all('{"name": "' in waking[name].openings for name in ("llama3", "json", "gemma"))


def test_keyword_arguments_may_have_alternatives(check: Check) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}},
        "anyOf": [{"required": ["a"]}, {"$ref": "#/$defs/b"}, {"allOf": [{"required": ["b"]}, {"required": ["a"]}]}],
        "$defs": {"b": {"required": ["b"]}},
    }
    made = grammar("gemma", (Tool("t", parameters=schema),), tool_choice=REQUIRED)
    check(
        made.lark,
        {"[t(a=1)]": True, "[t(b=True)]": True, "[t(a=1, b=True)]": True, "[t(a=b)]": False, "[t(c=1)]": False},
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": True},
        {"anyOf": [{"$ref": "#"}]},
        {"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}},
    ],
)
def test_keyword_arguments_that_are_not_named_are_free(check: Check, schema: Mapping[str, Any]) -> None:
    made = grammar("gemma", (Tool("t", parameters=schema),), tool_choice=REQUIRED)
    check(made.lark, {"[t(a=1)]": True, "[t(a=1, b=2)]": True, "[t()]": True, "[t(1)]": False})


def test_strings_of_every_notation_have_their_bounds(check: Check) -> None:
    short = Tool(
        "t", parameters={"type": "object", "properties": {"s": {"type": "string", "minLength": 1, "maxLength": 2}}}
    )
    empty = Tool("t", parameters={"type": "object", "properties": {"s": {"type": "string", "maxLength": 0}}})
    for dialect in ("gemma", "functiongemma", "gemma4", "functionary-v3.1"):
        texts = {length: written(dialect, ("t", {"s": "ä" * length})) for length in range(4)}
        admitted = {0: False, 1: True, 2: True, 3: False}
        check(grammar(dialect, (short,), tool_choice=REQUIRED).lark, {texts[n]: admitted[n] for n in texts})
        check(grammar(dialect, (empty,), tool_choice=REQUIRED).lark, {texts[n]: n == 0 for n in texts})
