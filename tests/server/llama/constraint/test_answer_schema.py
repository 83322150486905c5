"""Each keyword of an answer's schema by example: values that the grammar admits, and values that it refuses."""

from __future__ import annotations

import datetime
import decimal
import functools
import ipaddress
import json
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import pydantic
import pytest
from llguidance import LLMatcher, LLParserLimits

from zoe_server.llama.constraint.answer_schema import promised
from zoe_server.llama.constraint.grammar import Rules
from zoe_server.llama.constraint.schema_check import SchemaError

if TYPE_CHECKING:
    from conftest import Judge

Check = Callable[[str, Mapping[str, bool]], None]
"""Fails unless llguidance takes the grammar and admits exactly the texts marked True."""


def lark_of(schema: dict[str, Any]) -> str:
    rules = Rules()
    return rules.render(rules.json(promised(schema), lenient=False))


def dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


INTEGER, STRING = {"type": "integer"}, {"type": "string"}
ONE, TWO = {"const": 1}, {"const": 2}
NODE = {
    "$defs": {"node": {"type": "object", "properties": {"n": {"$ref": "#/$defs/node"}, "v": INTEGER}}},
    "$ref": "#/$defs/node",
}
TREE = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}, "required": ["kids"]}


def doubled(inner: object) -> dict[str, Any]:
    """Return a schema with two alternatives that stay possible as long as the text is inside."""
    return {"anyOf": [{"type": "array", "items": inner, "maxItems": most} for most in (5, 6)]}


CASES: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "anything": ({"description": "x"}, [1, "a", None, [1], {"a": {}}], []),
    "boolean": ({"type": "boolean"}, [True, False], [1, None]),
    "type list": ({"type": ["string", "null"]}, ["a", None], [1]),
    "any object": ({"type": "object"}, [{}, {"a": [1, {"b": None}]}], [[], 1, "a"]),
    "const": ({"const": {"a": '"é'}}, [{"a": '"é'}], [{"a": "b"}]),
    "enum": ({"enum": ["a", 1, None]}, ["a", 1, None], ["b", 2, True]),
    "enum of a type": ({"type": ["string", "integer"], "enum": ["a", 1, 1.5, None]}, ["a", 1], [1.5, None]),
    "enum within bounds": ({"enum": [1, 5, 9, "abc"], "minimum": 2, "maxLength": 2}, [5, 9], [1, "abc"]),
    "true is not 1": ({"allOf": [{"enum": [True, 2]}, {"enum": [1, 2]}]}, [2], [True, 1]),
    "nested": (
        {"type": "object", "properties": {"x": {"type": "object", "properties": {"y": STRING}}}, "required": ["x"]},
        [{"x": {}}, {"x": {"y": ""}}],
        [{}, {"x": 1}, {"x": {"z": 1}}],
    ),
    "order": (
        {"properties": {"a": ONE, "b": ONE, "c": ONE}, "required": ["b"]},
        [{"b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}, {"b": 1, "c": 1}],
        [{}, {"a": 1}, {"b": 1, "a": 1}, {"b": 1, "d": 1}],
    ),
    "closed": ({"type": "object", "properties": {"a": ONE}, "additionalProperties": False}, [{}, {"a": 1}], [{"b": 1}]),
    "pattern beside names": (
        {"properties": {"b": STRING}, "patternProperties": {"^a": INTEGER}},
        [{}, {"b": "x"}, {"b": "x", "a1": 1}],
        [{"b": 1}, {"a1": "x"}],
    ),
    "above 0 to a fraction": (
        {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, [0.5, 0.25, 0.001], [0, 0.0, -0.1, 0.6],
    ),
    "below 0 from a fraction": (
        {"type": "number", "exclusiveMaximum": 0, "minimum": -0.1}, [-0.1, -0.001], [0, -0.0, 0.1, -0.2],
    ),
    "above 0": ({"type": "number", "exclusiveMinimum": 0}, [0.5, 7, 0.001], [0, -1]),
    "above 0 and a bound": ({"type": "number", "exclusiveMinimum": 0, "minimum": 0.2}, [0.2, 7], [0, 0.1]),
    "closed and empty": ({"type": "object", "additionalProperties": False}, [{}], [{"b": 1}]),
    "open": (
        {"type": "object", "properties": {"a": ONE, "ab": ONE}, "additionalProperties": True},
        [{}, {"a": 1}, {"b": 3}, {"a": 1, "ab": 1, "abc": [], "é": 0}, {"aé": 1}, {"": 1}],
        [{"a": 2}, {"b": 1, "a": 2}, {"ab": 1, "a": 1}],
    ),
    "others of a schema": (
        {"properties": {"a": STRING}, "required": ["a"], "additionalProperties": INTEGER},
        [{"a": "x"}, {"a": "x", "b": 1, "c": 2}],
        [{"b": 1}, {"a": "x", "b": "y"}, {"a": "x", "b": 1, "a ": "z"}],
    ),
    "map": ({"type": "object", "additionalProperties": INTEGER}, [{}, {"a": 1, "b": 2}], [{"a": "b"}]),
    "required but not described": ({"required": ["z"], "additionalProperties": INTEGER}, [{"z": 1}], [{}, {"z": ""}]),
    "at least one property": ({"properties": {"a": ONE, "b": ONE}, "minProperties": 1}, [{"a": 1}, {"b": 1}], [{}]),
    "all properties": ({"properties": {"a": ONE, "b": ONE}, "minProperties": 2}, [{"a": 1, "b": 1}], [{"a": 1}, {}]),
    "no more than required": (
        {"properties": {"a": ONE, "b": ONE}, "required": ["b"], "maxProperties": 1},
        [{"b": 1}],
        [{"a": 1, "b": 1}, {}],
    ),
    "bounded map": ({"type": "object", "minProperties": 1, "maxProperties": 2}, [{"a": 1}, {"a": 1, "b": 2}], [{}]),
    "an impossible property": ({"properties": {"a": False, "b": ONE}}, [{}, {"b": 1}], [{"a": 1}]),
    "an impossible branch": ({"anyOf": [{"properties": {"a": False}, "required": ["a"]}, ONE]}, [1], [{"a": 1}, {}]),
    "array": ({"type": "array", "items": INTEGER}, [[], [1], [1, 2, 3]], [["a"], 1]),
    "bounded array": ({"items": ONE, "minItems": 1, "maxItems": 2}, [[1], [1, 1]], [[], [1, 1, 1]]),
    "array of arrays": ({"items": {"items": ONE, "minItems": 1}}, [[], [[1], [1, 1]]], [[[]], [1]]),
    "tuple": ({"prefixItems": [ONE, TWO]}, [[], [1], [1, 2]], [[2], [1, 2, 3]]),
    "whole tuple": ({"prefixItems": [ONE, TWO], "minItems": 2, "items": False}, [[1, 2]], [[], [1], [1, 2, 3]]),
    "tuple and more": ({"prefixItems": [ONE], "items": TWO, "minItems": 2}, [[1, 2], [1, 2, 2]], [[1], [2], [1, 1]]),
    "tuple that must go on": ({"prefixItems": [ONE], "minItems": 2}, [[1, None], [1, 2, 3]], [[1]]),
    "tuple cut": ({"prefixItems": [ONE, TWO], "maxItems": 1}, [[], [1]], [[1, 2]]),
    "no items": ({"type": "array", "items": False}, [[]], [[1]]),
    "length": ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "äöü", '""'], ["a", "abcd", ""]),
    "no length": ({"type": "string", "maxLength": 0}, [""], ["a"]),
    "long": ({"type": "string", "minLength": 2100, "maxLength": 3500}, ["a" * 2100, "a" * 3500], ["a" * 2099]),
    "longest": ({"type": "string", "maxLength": 3500}, ["", "a" * 1234, "a" * 3500], ["a" * 3501]),
    "pattern": ({"pattern": "^[A-Z]{2}\\d+$"}, ["AB1", "XY123"], ["A1", "AB", "AB1x", "ab1"]),
    "pattern anywhere": ({"type": "string", "pattern": "o+"}, ["foo", "o", "oxé"], ["", "bar"]),
    "pattern with quotes": ({"pattern": '^["\\\\]\\t$'}, ['"\t', "\\\t"], ["a\t", '"']),
    "pattern of a length": ({"pattern": "^a+$", "minLength": 2, "maxLength": 3}, ["aa", "aaa"], ["a", "aaaa"]),
    "long pattern": ({"pattern": "^a+$", "maxLength": 5000}, ["a", "a" * 3000], ["", "b"]),
    "date": ({"format": "date"}, ["2024-02-29", "1999-12-31"], ["2023-02-29", "2024-13-01", "2024-1-1", ""]),
    "time": ({"format": "time"}, ["23:59:59Z", "00:00:00.5+02:00"], ["24:00:00Z", "10:00", "10:00:00"]),
    "date-time": ({"format": "date-time"}, ["2024-02-29T12:00:00Z"], ["2024-02-29", "2024-02-29 12:00:00Z"]),
    "uuid": ({"format": "uuid"}, ["0b6f9f9e-3c5d-4f6e-8a4e-1d2c3b4a5f60"], ["0b6f9f9e"]),
    "ipv4": ({"format": "ipv4"}, ["192.168.0.1"], ["256.1.1.1", "1.1.1"]),
    "bounds": ({"type": "integer", "minimum": 0, "maximum": 100}, [0, 9, 100], [-1, 101, 5.5]),
    "exclusive bounds": ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}, [1, 9], [0, 10]),
    "both bounds": ({"type": "integer", "minimum": 5, "exclusiveMinimum": 5}, [6], [5]),
    "int64": ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, [0, -7, 10**14], [1.5]),
    "number": ({"type": "number", "minimum": 0.5, "maximum": 2}, [0.5, 1.25, 2], [0.49, 2.01, "1"]),
    "exclusive number": ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, [0.001, 1], [0, -1, 0.0]),
    "any number": ({"type": "number"}, [0, -1.5, 1e-7, 1e22], ["1"]),
    "multiples": ({"type": "integer", "multipleOf": 5}, [0, 5, -10, 12345], [1, 12]),
    "multiples between": ({"multipleOf": 7, "minimum": 10, "maximum": 30}, [14, 21, 28], [7, 10, 35]),
    "quarters": ({"type": "number", "multipleOf": 0.25}, [0, 0.25, 1000.75], [0.1, 0.3]),
    "whole quarters": ({"type": "integer", "multipleOf": 0.25, "minimum": 0, "maximum": 3}, [0, 1, 3], [0.25, 4]),
    "anyOf": ({"anyOf": [STRING, {"type": "array", "items": STRING}]}, ["a", ["a"]], [1, [1]]),
    "at least one of": (
        {"properties": {"h": ONE, "m": TWO}, "anyOf": [{"required": ["h"]}, {"required": ["m"]}]},
        [{"h": 1}, {"m": 2}, {"h": 1, "m": 2}],
        [{}],
    ),
    "oneOf of types": ({"oneOf": [STRING, INTEGER, {"type": "null"}]}, ["a", 1, None], [1.5, []]),
    "oneOf of values": ({"type": "string", "oneOf": [{"const": "a"}, {"const": "b"}]}, ["a", "b"], ["c"]),
    "oneOf told apart": (
        {
            "oneOf": [
                {"properties": {"kind": {"const": "a"}, "x": ONE}, "required": ["kind", "x"]},
                {"properties": {"kind": {"const": "b"}}, "required": ["kind"]},
            ]
        },
        [{"kind": "a", "x": 1}, {"kind": "b"}],
        [{"kind": "a"}, {"kind": "b", "x": 1}],
    ),
    "allOf": (
        {"allOf": [{"properties": {"a": ONE}}, {"properties": {"b": TWO}, "required": ["a"]}]},
        [{"a": 1}, {"a": 1, "b": 2}],
        [{}, {"b": 2}],
    ),
    "allOf of bounds": ({"type": "number", "allOf": [{"minimum": 1}, {"maximum": 2}, INTEGER]}, [1, 2], [0, 3, 1.5]),
    "allOf of lists": (
        {"allOf": [{"prefixItems": [ONE]}, {"items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2}]},
        [[1, 2], [1, 1]],
        [[2, 2], [1]],
    ),
    "allOf closes": (
        {"allOf": [{"properties": {"a": ONE}, "additionalProperties": False}, {"properties": {"a": {}, "b": {}}}]},
        [{}, {"a": 1}],
        [{"b": 1}, {"a": 2}],
    ),
    "allOf of multiples": ({"allOf": [{"multipleOf": 5}, {"multipleOf": 10}], "type": "integer"}, [10, 0], [5]),
    "ref": (NODE, [{}, {"n": {"n": {"v": 1}}, "v": 2}], [{"n": 1}, {"v": "a"}]),
    "ref to the whole": (TREE, [{"kids": []}, {"kids": [{"kids": []}, {"kids": []}]}], [{}, {"kids": [1]}]),
    "ref and more": ({"definitions": {"w": STRING}, "$ref": "#/definitions/w", "maxLength": 2}, ["ab"], ["abc", 1]),
    "escaped ref": ({"$defs": {"a/b c": ONE}, "$ref": "#/$defs/a~1b%20c"}, [1], [2]),
    "described ref": ({"$defs": {"w": ONE}, "properties": {"x": {"$ref": "#/$defs/w", "title": "t"}}}, [{"x": 1}], []),
    "linked list": (
        {
            "$defs": {"l": {"anyOf": [{"type": "null"}, {"prefixItems": [ONE, {"$ref": "#/$defs/l"}], "minItems": 2}]}},
            "allOf": [{"$ref": "#/$defs/l"}],
        },
        [None, [1, None], [1, [1, None]]],
        [[1], [2, None]],
    ),
    "an expression": (
        {
            "anyOf": [
                {"properties": {"add": {"type": "array", "items": {"$ref": "#"}}}, "required": ["add"]},
                {"properties": {"op": {"const": "-"}, "of": {"$ref": "#"}}, "required": ["op", "of"]},
                {"properties": {"op": {"enum": ["/", "+"]}, "of": {"$ref": "#"}}, "required": ["op"]},
                {"prefixItems": [{"const": "not"}, {"$ref": "#"}], "minItems": 2},
                {"prefixItems": [{"const": "abs"}, {"$ref": "#"}], "minItems": 2},
                INTEGER,
            ]
        },
        [1, {"add": [1, {"op": "-", "of": 2}]}, {"op": "/"}, ["not", ["abs", {"op": "+", "of": 1}]]],
        [{"op": "-"}, {}, ["not"], ["or", 1]],
    ),
    "names of a pattern": (
        {"patternProperties": {"^p": INTEGER}, "additionalProperties": False}, [{}, {"p1": 1}], [{"p1": "a"}, {"q": 1}],
    ),
    "two patterns": ({"pattern": "a", "allOf": [{"pattern": "b"}]}, ["ab", "ba"], ["a", "b"]),
    "pattern and length": ({"pattern": "^a+b+$", "maxLength": 3}, ["ab", "aab"], ["aabb", "a"]),
    "odd multiples": ({"type": "integer", "multipleOf": 7, "minimum": 0}, [0, 7, 21], [1, 8]),
    "two properties": ({"type": "object", "minProperties": 2}, [{"a": 1, "b": 2}], [{}, {"a": 1}]),
    "unknown format": ({"format": "password"}, ["x"], [1]),
    "address": ({"format": "ipvanyaddress"}, ["192.168.0.1", "fe80::1"], ["1.2.3", "x"]),
    "mail": ({"format": "email"}, ["anna@example.org"], ["anna", "a b@example.org"]),
    "link": ({"format": "uri", "minLength": 1, "maxLength": 2083}, ["https://example.org/a?b=1"], ["a b", ""]),
    "duration": ({"format": "duration"}, ["PT1H30M", "P2D"], ["1h", ""]),
    "amount": (
        {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$"}]},
        [1.25, -3],
        ["1.25", None],
    ),
    "set": ({"type": "array", "items": STRING, "uniqueItems": True}, [[], ["a", "b"]], [[1]]),
    "doubling": (doubled({"$ref": "#"}), [[], [[], []]], [[1], [[]] * 7]),
    "doubling seven times": (functools.reduce(lambda inner, _: doubled(inner), range(7), INTEGER), [[[[]]]], [[1]]),
    "combinations": ({"allOf": [{"anyOf": [{"title": str(n)} for n in range(9)]}] * 3, "type": "null"}, [None], [1]),
    "unknown keywords": ({"type": "null", "x-note": 1, "nullable": True, "examples": [1]}, [None], [1]),
    "unused definitions": ({"$defs": {"odd": {"not": {}}}, "type": "null"}, [None], [1]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_schema(check: Check, case: str) -> None:
    schema, good, bad = CASES[case]
    check(lark_of(schema), {dumped(value): True for value in good} | {dumped(value): False for value in bad})


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def chain(length: int) -> dict[str, Any]:
    """Return a schema with references so many in a row, the last ones first."""
    defs = {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(length)} | {str(length): ONE}
    return {"$defs": defs, "anyOf": [{"$ref": f"#/$defs/{n}"} for n in range(length, -1, -1)]}


REFUSED: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "not": ({"properties": {"a": {"not": {}}}}, ".properties.a.not", "not supported"),
    "if": ({"items": {"if": {}}}, ".items.if", "not supported"),
    "dependentRequired": ({"anyOf": [{"dependentRequired": {}}]}, ".anyOf[0].dependentRequired", "not supported"),
    "unknown type": ({"type": "date"}, ".type", "must be one of object, array"),
    "type of a list": ({"type": [["string"]]}, ".type", "must be one of object, array"),
    "no type": ({"type": []}, ".type", "must be one of object, array"),
    "empty enum": ({"enum": []}, ".enum", "at least one value"),
    "infinite const": ({"const": {"a": [float("inf")]}}, ".const", "not everybody can read"),
    "large const": ({"const": 10**30}, ".const", "not everybody can read"),
    "huge const": ({"const": 10**400}, ".const", "not everybody can read"),
    "huge bound": ({"minimum": 10**400}, ".minimum", "must be a number"),
    "string bound": ({"minimum": "1"}, ".minimum", "must be a number"),
    "draft 4": ({"minimum": 1, "exclusiveMinimum": True}, ".exclusiveMinimum", "must be a number"),
    "multiple of nothing": ({"multipleOf": 0}, ".multipleOf", "greater than 0"),
    "negative length": ({"minLength": -1}, ".minLength", "not negative"),
    "half an item": ({"maxItems": 1.5}, ".maxItems", "whole number"),
    "odd format": ({"format": []}, ".format", "not supported"),
    "broken pattern": ({"properties": {"ä b": {"pattern": "("}}}, '.properties["ä b"].pattern', "unclosed group"),
    "looking ahead": ({"pattern": "^(?=a)b$"}, ".pattern", "look-around"),
    "back reference": ({"pattern": "^(a)\\1$"}, ".pattern", "not supported"),
    "word boundary": ({"pattern": "\\bx"}, ".pattern", "not supported"),
    "required": ({"required": "a"}, ".required", "list of names"),
    "properties": ({"properties": []}, ".properties", "object of schemas"),
    "property": ({"properties": {"a": 1}}, ".properties.a", "must be a schema"),
    "branches": ({"anyOf": {}}, ".anyOf", "list of at least one schema"),
    "list of items": ({"items": [{}]}, ".items", "prefixItems"),
    "foreign ref": ({"$ref": "https://example.org"}, ".$ref", "inside the same document"),
    "broken ref": ({"$ref": "#/$defs/x"}, ".$ref", "there is no schema at '#/$defs/x'"),
    "self": ({"$ref": "#"}, "", "no value satisfies it"),
    "a stricter self": (
        {"properties": {"next": {"allOf": [{"$ref": "#"}, {"required": ["next"]}]}, "end": ONE}},
        ".properties.next",
        "circular references",
    ),
    "deep": (deep(61), ".items" * 61, "nested more than 60 deep"),
    "overlapping oneOf": ({"oneOf": [INTEGER, {"type": "number"}]}, ".oneOf", "exclude each other"),
    "xor of required": ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, ".oneOf", "exclude each other"),
    "oneOf that only closing tells apart": (
        {"oneOf": [{"properties": {}, "type": "object"}, {"properties": {}, "required": ["a"], "type": "object"}]},
        ".oneOf",
        "exclude each other",
    ),
    "oneOf that only a type tells apart": (
        {"oneOf": [{"type": "boolean"}, {"pattern": "^a$"}]}, ".oneOf", "exclude each other"
    ),
    "vague oneOf": ({"oneOf": [{}, {"required": ["a"], "properties": {"a": {}}}]}, ".oneOf", "exclude each other"),
    "pattern and format": ({"pattern": "a", "format": "date"}, "", "Regex is empty"),
    "enum and format": ({"enum": ["a"], "format": "date"}, "", ""),
    "nothing": ({"type": "string", "allOf": [INTEGER]}, "", "incompatible types"),
    "no number": ({"type": "integer", "minimum": 1.2, "maximum": 1.8}, "", "no integer"),
    "no length": ({"type": "string", "minLength": 3, "maxLength": 2}, "", "greater than maxLength"),
    "a huge minimum": ({"type": "number", "minimum": 1e300}, "", "float range"),
}  # fmt: skip


def test_in_a_long_document_the_refused_place_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    validate = LLMatcher.validate_grammar
    monkeypatch.setattr(LLMatcher, "validate_grammar", lambda grammar: compiled.append(grammar) or validate(grammar))
    many = {f"p{n}": {"type": "string", "maxLength": 9} for n in range(1000)}
    with pytest.raises(SchemaError):
        lark_of({"properties": {**many, "odd": {"pattern": "a", "format": "date"}}, "required": ["odd"]})
    assert len(compiled) <= 2


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_its_path(case: str) -> None:
    schema, path, reason = REFUSED[case]
    with pytest.raises(SchemaError) as caught:
        lark_of(schema)
    assert path in (caught.value.path, None)
    assert reason in caught.value.reason


def test_a_long_chain_of_references_ends(check: Check) -> None:
    check(lark_of(chain(50)), {"1": True, "2": False})


def test_only_the_white_space_of_json_dumps_matches(check: Check) -> None:
    lark = lark_of({"properties": {"a": {"type": "array"}, "b": {}}})
    check(lark, {'{"a": [1, 2], "b": {"c": 1}}': True, '{"a":[1]}': False, '{ "a": []}': False, '{"a": []} ': False})


def test_a_name_that_exists_has_no_other_spelling(check: Check) -> None:
    lark = lark_of({"properties": {"a": ONE}, "additionalProperties": True})
    check(lark, {'{"\\u0061": 2}': False, '{"ba": 2}': True, '{"\\"": 2}': True})


RECURSIVE = {
    "$defs": {
        "node": {
            "anyOf": [
                {"type": "object", "properties": {"kind": {"const": "a"}, "left": {"$ref": "#/$defs/node"}}},
                {"type": "object", "properties": {"kind": {"const": "a"}, "value": INTEGER}},
            ]
        }
    },
    "$ref": "#/$defs/node",
}


def nested(levels: int) -> str:
    return functools.reduce(lambda inner, _: f'{{"kind": "a", "left": {inner}}}', range(levels), '{"kind": "a"}')


def test_a_tree_whose_branches_begin_alike_costs_no_more_than_its_text(judge: Judge) -> None:
    """Each level doubled the work of a matcher that tries every branch by itself: 40 levels never came to an end."""
    matcher = judge.compile(lark_of(RECURSIVE))
    limits = LLParserLimits()
    assert limits.step_max_items <= 50_000
    for levels in (1, 10, 40, 200):
        assert judge.accepts(matcher, nested(levels))
    assert not judge.accepts(matcher, nested(40)[:-1])


class Order(pydantic.BaseModel):
    price: decimal.Decimal
    at: datetime.datetime
    for_: datetime.timedelta
    tags: set[str]
    link: pydantic.HttpUrl
    host: ipaddress.IPv4Address
    any_host: pydantic.IPvAnyAddress
    key: uuid.UUID
    count: pydantic.PositiveInt
    kind: Literal["a", "b"] | None = None
    next: Order | None = None


ORDER = {
    "price": 12.5,
    "at": "2026-12-01T08:30:00Z",
    "for_": "PT90M",
    "tags": ["a", "b"],
    "link": "https://example.org/",
    "host": "192.168.0.1",
    "any_host": "fe80::1",
    "key": "0b6f9f9e-3c5d-4f6e-8a4e-1d2c3b4a5f60",
    "count": 3,
}


def test_what_pydantic_writes_is_served(check: Check) -> None:
    good = [ORDER, {**ORDER, "kind": "a", "next": {**ORDER, "kind": None}}]
    bad = [{**ORDER, "count": 0}, {**ORDER, "host": "fe80::1"}, {**ORDER, "at": "today"}, {**ORDER, "kind": "c"}]
    check(lark_of(Order.model_json_schema()), {dumped(value): value in good for value in good + bad})
    for value in good:
        Order.model_validate_json(dumped(value))
