"""Do a call's arguments fit its tool? Held against a whole implementation of JSON schema, for what both look at."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from zoe_server.call_check import fits

LAMP = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "area": {"type": ["string", "null"]},
        "brightness": {"type": "integer"},
        "color": {"enum": ["red", "blue"]},
        "rgb": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "fitting"),
    [
        ('{"name": "Lamp"}', True),
        ('{"name": "Lamp", "area": null, "brightness": 3.0, "color": "red", "rgb": [1, 2.5]}', True),
        ("{}", False),
        ('{"name": 3}', False),
        ('{"name": "Lamp", "brightness": true}', False),
        ('{"name": "Lamp", "brightness": 2.5}', False),
        ('{"name": "Lamp", "color": "green"}', False),
        ('{"name": "Lamp", "rgb": [1, "2"]}', False),
        ('{"name": "Lamp", "other": 1}', False),
        ('{"name": "La', False),
        ("", False),
        ("[]", False),
        ('"Lamp"', False),
        ("[" * 100_000, False),
        ('{"name": ' + "9" * 5000 + "}", False),
    ],
)
def test_arguments_of_a_lamp(arguments: str, fitting: bool) -> None:
    assert fits(arguments, LAMP) is fitting


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "thing"},
        {"type": []},
        {"type": 7, "properties": 7, "required": 7, "enum": 7, "additionalProperties": 7},
        {"properties": {"name": {"$ref": "https://home.example/schema"}}},
        {"properties": {"name": {"pattern": "(a+)+$"}}},
        {"required": [1, None]},
        {"patternProperties": {"^n": {}}, "additionalProperties": False},
        {"properties": {"name": {"prefixItems": [{}], "items": False}}},
    ],
)
def test_a_schema_that_makes_no_sense_or_asks_for_too_much_says_nothing(schema: dict[str, Any]) -> None:
    assert fits('{"name": ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"]}', schema)


def test_what_is_nested_too_deep_is_taken_for_good() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(40):
        schema = {"properties": {"a": schema}}
    assert fits('{"a": ' * 40 + "1" + "}" * 40, schema)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-2, 2).map(lambda number: round(number, 1))
    | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_TYPES = st.sampled_from(["object", "array", "string", "boolean", "null", "number", "integer"])
_SCHEMAS = st.recursive(
    st.booleans()
    | st.fixed_dictionaries({"type": _TYPES})
    | st.fixed_dictionaries({"enum": st.lists(st.text(max_size=1), min_size=1)}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": _TYPES | st.lists(_TYPES, min_size=1, unique=True),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "required": st.lists(st.sampled_from("abc"), unique=True),
            "additionalProperties": inner,
            "items": inner,
            "const": st.text(max_size=1) | st.none(),
        },
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3),
    _SCHEMAS.filter(lambda schema: isinstance(schema, dict)),
)
def test_it_agrees_with_a_whole_implementation(arguments: dict[str, Any], schema: dict[str, Any]) -> None:
    assert fits(json.dumps(arguments), schema) is Draft202012Validator(schema).is_valid(arguments)
