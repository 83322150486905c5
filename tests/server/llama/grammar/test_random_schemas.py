"""A brute-force reference for random schemas: `conforms` says the same as the grammar, for every value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.llama import grammar, schema_grammar

Check = Callable[[str, Mapping[str, bool]], None]
"""Fails unless llama.cpp takes the grammar and admits exactly the texts marked True."""


Schemas = st.SearchStrategy[dict[str, Any]]


def dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def schemas() -> Schemas:
    plain: Schemas = st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"type": "integer"},
            {"type": "integer", "minimum": -3, "maximum": 12},
            {"type": "number", "minimum": 0.5, "maximum": 20},
            {"type": "string", "minLength": 1, "maxLength": 3},
            {"enum": ["on", "off", "on/off", 1, None]},
            {"const": "é"},
        ]
    )
    return st.recursive(plain, lambda inner: arrays(inner) | objects(inner) | unions(inner), max_leaves=6)


def arrays(inner: Schemas) -> Schemas:
    bounds = st.sampled_from([{}, {"minItems": 1}, {"maxItems": 2}, {"minItems": 2, "maxItems": 3}])
    return st.builds(lambda items, more: {"type": "array", "items": items, **more}, inner, bounds)


def objects(inner: Schemas) -> Schemas:
    def build(properties: dict[str, Any], optional: set[str]) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "required": [n for n in properties if n not in optional]}

    names = st.sampled_from(["a", "ab", "ü", '"'])
    return st.builds(build, st.dictionaries(names, inner, min_size=1, max_size=3), st.sets(names))


def unions(inner: Schemas) -> Schemas:
    return st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})


def conforms(schema: dict[str, Any], value: object) -> bool:
    if "anyOf" in schema:
        return any(conforms(branch, value) for branch in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return dumped(value) in map(dumped, schema.get("enum", [schema.get("const")]))
    return JUDGES[schema["type"]](schema, value)


def _object_conforms(schema: dict[str, Any], value: object) -> bool:
    if not isinstance(value, dict) or not value.keys() >= set(schema["required"]):
        return False
    in_order = [name for name in schema["properties"] if name in value] == list(value)
    return in_order and all(conforms(schema["properties"][name], item) for name, item in value.items())


def _array_conforms(schema: dict[str, Any], value: object) -> bool:
    if not isinstance(value, list) or not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 99):
        return False
    return all(conforms(schema["items"], item) for item in value)


def _number_conforms(schema: dict[str, Any], value: object) -> bool:
    kinds = int if schema["type"] == "integer" else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool):
        return False
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


JUDGES: dict[str, Callable[[dict[str, Any], Any], bool]] = {
    "object": _object_conforms,
    "array": _array_conforms,
    "integer": _number_conforms,
    "number": _number_conforms,
    "string": lambda schema, value: isinstance(value, str) and schema["minLength"] <= len(value) <= schema["maxLength"],
    "boolean": lambda _, value: isinstance(value, bool),
    "null": lambda _, value: value is None,
}


@st.composite
def instances(draw: st.DrawFn, schema: dict[str, Any]) -> Any:  # noqa: ANN401 -- any JSON value
    """Draw a value that conforms, or nearly: now and then a value of another kind."""
    if draw(st.integers(0, 11)) == 0:
        return draw(st.sampled_from([None, True, 3, 13, 2.5, "on", "long text", [], {}, {"a": 1}]))
    if "anyOf" in schema:
        return draw(instances(draw(st.sampled_from(schema["anyOf"]))))
    if schema.get("type") == "object":
        names = [name for name in schema["properties"] if name in schema["required"] or draw(st.booleans())]
        return {name: draw(instances(schema["properties"][name])) for name in names}
    if schema.get("type") == "array":
        return [draw(instances(schema["items"])) for _ in range(draw(st.integers(0, 3)))]
    return draw(
        SIMPLE[schema["type"]] if "type" in schema else st.sampled_from(schema.get("enum", [schema.get("const")]))
    )


SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    "boolean": st.booleans(),
    "null": st.none(),
    "integer": st.integers(-5, 14),
    "number": st.decimals(0, 21, places=2).map(float),
}


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_random_schemas_admit_what_conforms_and_nothing_else(check: Check, data: st.DataObject) -> None:
    schema = data.draw(schemas())
    values = [data.draw(instances(schema)) for _ in range(4)]
    rules = grammar.Rules()
    parameters = {"properties": {"x": schema}, "required": ["x"]}
    gbnf = rules.render(schema_grammar.arguments(rules, parameters, {}))
    check(gbnf, {dumped({"x": value}): conforms(schema, value) for value in values})


KEYWORDS = st.sampled_from(
    [
        *(
            "type",
            "properties",
            "required",
            "items",
            "enum",
            "const",
            "anyOf",
            "allOf",
            "$ref",
            "$defs",
            "nullable",
            "x",
        ),
        *("minimum", "maximum", "exclusiveMinimum", "minItems", "maxItems", "minLength", "maxLength"),
        "additionalProperties",
    ]
)
NONSENSE = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 10**30, float("inf"), "string", "object", "array", "#", "#/$defs/x", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYWORDS, NONSENSE, max_size=5), NONSENSE)
@settings(max_examples=300, deadline=None)
def test_any_json_at_all_makes_a_grammar_that_llama_cpp_takes(check: Check, document: Any, schema: Any) -> None:  # noqa: ANN401
    parameters = {"properties": {"x": schema}, **document}
    for values in ({}, {"x": ("value",)}):
        rules = grammar.Rules()
        check(rules.render(schema_grammar.arguments(rules, parameters, values)), {"<": False})
