"""Each keyword of JSON schema by example: values that the grammar admits, and values that it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.llama.constraint import tool_schema
from zoe_server.llama.constraint.grammar import Rules

Check = Callable[[str, Mapping[str, bool]], None]
"""Fails unless llguidance takes the grammar and admits exactly the texts marked True."""


def lark_of(schema: dict[str, Any], **values: tuple[str, ...]) -> str:
    rules = Rules()
    return rules.render(rules.json(tool_schema.arguments(schema, values), lenient=True))


def wrapped(schema: object, **more: object) -> dict[str, Any]:
    """Return the parameters of a tool whose one required argument `x` has this schema."""
    return {"type": "object", "properties": {"x": schema}, "required": ["x"], **more}


def check_argument(check: Check, schema: object, good: list[Any], bad: list[Any], **values: tuple[str, ...]) -> None:
    """Check values of `schema` as an argument `x`."""
    texts = {dumped({"x": value}): True for value in good} | {dumped({"x": value}): False for value in bad}
    check(lark_of(wrapped(schema, **{"$defs": DEFINITIONS}), **values), texts)


def dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


REF = {"$ref": "#/$defs/node"}
CASES: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "boolean": ({"type": "boolean"}, [True, False], [None, "true", 1]),
    "null": ({"type": "null"}, [None], [0, "null"]),
    "type list": ({"type": ["string", "null"]}, ["a", None], [1, []]),
    "nullable": ({"type": "string", "nullable": True}, ["a", None], [1]),
    "nullable enum": ({"enum": ["a"], "nullable": True}, ["a", None], ["b"]),
    "no type": ({"description": "anything"}, [1, "a", None, True, [1, {"a": []}], {}], []),
    "true": (True, [1, "a", {"a": 1}], []),
    "unknown type": ({"type": "date"}, ["2026-10-04", 1], []),
    "length": ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "äöü", '""'], ["a", "abcd", ""]),
    "no length": ({"type": "string", "maxLength": 0}, [""], ["a"]),
    "huge length": ({"type": "string", "maxLength": 10**9}, ["a" * 600], []),
    "enum": ({"enum": ["a", "ab", 1, 10, None, {"k": [1, "ü"]}]}, ["a", "ab", 1, 10, None, {"k": [1, "ü"]}], ["b", 2]),
    "enum of what nobody reads": ({"enum": [10**400, float("inf"), "a"]}, ["a"], [1]),
    "empty enum": ({"type": "string", "enum": []}, ["a"], [1]),
    "const": ({"const": {"a": '"'}}, [{"a": '"'}], [{"a": "b"}, {}]),
    "array": ({"type": "array", "items": {"type": "integer"}}, [[], [1], [1, 2, 3]], [["a"], [1, "a"], 1]),
    "bounded array": ({"items": {"enum": [0]}, "minItems": 1, "maxItems": 2}, [[0], [0, 0]], [[], [0] * 3]),
    "exact array": ({"items": {"type": "number"}, "minItems": 3, "maxItems": 3}, [[1, 2.5, 3]], [[1, 2], [1, 2, 3, 4]]),
    "one item": ({"type": "array", "items": {"enum": [0]}, "maxItems": 1}, [[], [0]], [[0, 0]]),
    "no item": ({"type": "array", "maxItems": 0}, [[]], [[1]]),
    "huge array": ({"type": "array", "items": {"enum": [0]}, "minItems": 10**9}, [[0] * 200], []),
    "tuple": ({"type": "array", "prefixItems": [{"type": "string"}], "items": False}, [["a"], []], ["a"]),
    "any object": ({"type": "object"}, [{}, {"a": 1, "b": [None]}], [[]]),
    "free object": ({"type": "object", "properties": {}, "additionalProperties": True}, [{}, {"a": 1}], [1]),
    "closed object": ({"type": "object", "properties": {}}, [{}], [{"a": 1}]),
    "map": ({"type": "object", "additionalProperties": {"type": "integer"}}, [{}, {"ä": 1, "b": 2}], [{"a": "b"}]),
    "nested": (
        wrapped({"type": "object", "properties": {"y": {"type": "string"}}}),
        [{"x": {}}, {"x": {"y": "z"}}],
        [{}, {"x": {"z": "y"}}, {"x": 1}],
    ),
    "order": (
        {"properties": {"a": {"enum": [1]}, "b": {"enum": [2]}, "c": {"enum": [3]}}, "required": ["b"]},
        [{"b": 2}, {"a": 1, "b": 2}, {"b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3}],
        [{}, {"a": 1}, {"a": 1, "c": 3}, {"b": 2, "a": 1}, {"b": 2, "b2": 2}],
    ),
    "required but not described": ({"properties": {"a": {"enum": [1]}}, "required": ["z"]}, [{"z": [1]}], [{}]),
    "anyOf": ({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, ["a", ["a"]], [1, [1]]),
    "oneOf": ({"oneOf": [{"enum": ["up", "down"]}, {"type": "integer", "maximum": 5}]}, ["up", 5], ["left", 6]),
    "anyOf beside properties": (
        {"properties": {"h": {"enum": [1]}, "m": {"enum": [2]}}, "anyOf": [{"required": ["h"]}, {"required": ["m"]}]},
        [{"h": 1}, {"m": 2}, {"h": 1, "m": 2}],
        [{}],
    ),
    "allOf": (
        {"allOf": [{"properties": {"a": {"enum": [1]}}}, {"properties": {"b": {"enum": [2]}}, "required": ["a"]}]},
        [{"a": 1}, {"a": 1, "b": 2}],
        [{}, {"b": 2}],
    ),
    "allOf of one property": (
        {"allOf": [{"properties": {"a": {"enum": [1, 2]}}}, {"properties": {"a": {"enum": [2, 3]}}}]},
        [{}, {"a": 2}],
        [{"a": 1}, {"a": 3}],
    ),
    "ref": ({**REF, "$defs": {}}, [{"next": None}, {"next": {"next": None}}], [{}, {"next": 1}]),
    "described ref": ({**REF, "description": "first"}, [{"next": None}], [{}, 1]),
    "ref in allOf": ({"allOf": [REF]}, [{"next": None}], [{}, 1]),
    "restricted ref": ({"$ref": "#/$defs/word", "maxLength": 2}, ["ab"], ["abc", 1]),
    "broken ref": ({"$ref": "#/$defs/missing"}, [1, "a"], []),
    "foreign ref": ({"$ref": "https://example.org/schema"}, [1, "a"], []),
    "circular ref": ({"$ref": "#/$defs/circle"}, [1, "a"], []),
    "left recursion": ({"$ref": "#/$defs/left"}, ["a", {"right": "a"}], []),
    "exploding allOf": ({"$ref": "#/$defs/explosion"}, [1], []),
    "nonsense": ({"type": {"a": 1}, "properties": [], "required": 3, "anyOf": {}, "items": 1, "minimum": "a"}, [1], []),
    "escaped pointer": ({"$ref": "#/$defs/a~1b~0c"}, [7], [8]),
}  # fmt: skip
DEFINITIONS = {
    "node": wrapped({}) | {"properties": {"next": {"anyOf": [REF, {"type": "null"}]}}, "required": ["next"]},
    "word": {"type": "string"},
    "circle": {"$ref": "#/$defs/round"},
    "round": {"$ref": "#/$defs/circle"},
    "left": {"anyOf": [{"properties": {"right": {"$ref": "#/$defs/right"}}}, {"$ref": "#/$defs/right"}]},
    "right": {"anyOf": [{"$ref": "#/$defs/left"}, {"type": "string"}]},
    "explosion": {"allOf": [{"$ref": "#/$defs/explosion"}, {"$ref": "#/$defs/explosion"}, {"minimum": 0}]},
    "a/b~c": {"const": 7},
}


@pytest.mark.parametrize("case", CASES)
def test_schema(check: Check, case: str) -> None:
    schema, good, bad = CASES[case]
    check_argument(check, schema, good, bad)


@pytest.mark.parametrize(
    "parameters", [{}, {"type": "object"}, {"type": "object", "properties": {}}, {"properties": {}}]
)
def test_a_tool_without_parameters_takes_none(check: Check, parameters: dict[str, Any]) -> None:
    check(lark_of(parameters), {"{}": True, '{"a": 1}': False, "": False})


def test_only_the_white_space_of_json_dumps_matches(check: Check) -> None:
    lark = lark_of({"properties": {"a": {"type": "array"}, "b": {}}})
    texts = {'{"a": [1, 2], "b": {"c": 1}}': True, '{"a":[1, 2]}': False, '{ "a": []}': False, '{"a": [1,2]}': False}
    check(lark, {**texts, '{"a": []} ': False, '{"b": {"c":1}}': False})


def test_deep_and_endless_schemas_stay_small(check: Check) -> None:
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(150):
        deep = {"type": "array", "items": deep}
    wide = {"$defs": {"w": {"allOf": [{"properties": {c: {"$ref": "#/$defs/w"} for c in "abcdef"}}, {"title": "w"}]}}}
    for schema in (wrapped(deep), wrapped({"$ref": "#/$defs/w"}, **wide), wrapped({"anyOf": [REF] * 400}, **wide)):
        lark = lark_of(schema, x=("value",))
        assert len(lark) < 1_000_000
        check(lark, {'{"x": 1': False, '{"x": ': False})


def test_numbers_without_bounds_are_any_json_number(check: Check) -> None:
    good = [0, -1, 2.5, 1e-7, 1e22, -0.0, 10**17]
    check(lark_of(wrapped({"type": "number"})), {dumped({"x": value}): True for value in good})
    check_argument(check, {"type": "integer"}, [0, -7, 10**17], [1.5, "1", 1e30, None, True])


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 100}, [0, 9, 10, 99, 100], [-1, 101, 1000, 5.5]),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}, [1, 9], [0, 10]),
        ({"type": "integer", "minimum": 1.5, "maximum": 3.5}, [2, 3], [1, 4]),
        ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, [6], [5]),
        ({"type": "integer", "minimum": 10, "maximum": 5}, [7, -7], ["a"]),
        ({"type": "integer", "maximum": 10**400, "minimum": -(10**400)}, [7, -7], []),
        ({"type": "number", "minimum": 7, "maximum": 35}, [7, 7.0, 21.5, 35, 35.0], [6.9, 35.1, 70]),
        ({"type": "number", "minimum": float("-inf"), "maximum": True}, [1, -1.5], ["a"]),
    ],
)
def test_bounds(check: Check, schema: object, good: list[Any], bad: list[Any]) -> None:
    check_argument(check, schema, good, bad)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@settings(max_examples=80, deadline=None)
def test_any_string_matches(check: Check, text: str) -> None:
    check(lark_of(wrapped({"type": "string"})), {dumped({"x": text}): True})


def test_malformed_strings_do_not_match(check: Check) -> None:
    texts = ['"', '"a', '"a\nb"', '"\\x"', '"\\u12"', '"\\ud800"', '"\\ud83dx"', '"a"b', "'a'"]
    lark = lark_of(wrapped({"type": "string"}))
    check(lark, {f'{{"x": {text}}}': False for text in texts} | {'{"x": "\\n\\"\\\\"}': True})


NAMES = ("Kitchen light", 'Anna\'s "lamp"', "Käse\\Ofen")
GROUNDED: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "string": ({"type": "string"}, list(NAMES), ["Kitchen", "kitchen light", "", 1]),
    "untyped": ({}, list(NAMES), ["Kitchen", 1, None]),
    "or null": ({"type": ["string", "null"]}, [*NAMES, None], ["Kitchen"]),
    "array": ({"type": "array", "items": {"type": "string"}}, [[], [NAMES[0]], list(NAMES)], [["Kitchen"], NAMES[0]]),
    "string or array": (
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        [NAMES[0], [NAMES[1]]],
        ["Kitchen", ["Kitchen"]],
    ),
    "enum": ({"enum": ["Kitchen light", "Attic light"]}, ["Kitchen light"], ["Attic light", NAMES[1]]),
    "enum in array": ({"type": "array", "items": {"enum": [*NAMES[:1], "x"]}}, [[NAMES[0]]], [["x"], [NAMES[1]]]),
    "nullable enum": ({"enum": ["Kitchen light", "x", None]}, ["Kitchen light", None], ["x"]),
    "disjoint enum": ({"enum": ["a", "b"]}, ["a", "b"], [NAMES[0]]),
    "const": ({"const": "a"}, ["a"], [NAMES[0]]),
    "integer": ({"type": "integer"}, [1], [NAMES[0]]),
    "ref": ({"$ref": "#/$defs/word"}, list(NAMES), ["Kitchen"]),
}  # fmt: skip


def test_values_are_written_so_often_that_a_grammar_stays_small() -> None:
    names = [f"Lamp number {number}" for number in range(1000)]
    branches = [{"type": "string", "title": str(number)} for number in range(500)]
    assert len(lark_of(wrapped({"anyOf": branches}), x=names)) < 2_000_000


@pytest.mark.parametrize("case", GROUNDED)
def test_grounding(check: Check, case: str) -> None:
    schema, good, bad = GROUNDED[case]
    check_argument(check, schema, good, bad, x=NAMES, other=("y",))
