"""Random schemas, against a validator of our own that knows nothing of grammars: what is drawn conforms."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoe_server.llama import grammar, strict_grammar
from zoe_server.llama.schema_document import SchemaError

Draw = Callable[[str, Random], str]
"""Returns a text that a grammar admits."""
Schemas = st.SearchStrategy[dict[str, Any]]


def fraction(value: float) -> Fraction:
    return Fraction(str(value))


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_type(name: str, value: object) -> bool:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    if name in ("number", "integer"):
        return is_number(value) and (name == "number" or fraction(value).denominator == 1)  # type: ignore[arg-type]
    return isinstance(value, kinds[name])


def count_within(schema: dict[str, Any], what: str, count: int) -> bool:
    return bool(schema.get(f"min{what}", 0) <= count <= schema.get(f"max{what}", count))


def number_conforms(schema: dict[str, Any], value: float) -> bool:
    return (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        and ("multipleOf" not in schema or fraction(value) % fraction(schema["multipleOf"]) == 0)
    )


def string_conforms(schema: dict[str, Any], value: str) -> bool:
    return count_within(schema, "Length", len(value)) and re.search(schema.get("pattern", ""), value) is not None


def array_conforms(schema: dict[str, Any], value: list[Any], root: Any) -> bool:  # noqa: ANN401 -- a schema
    prefix = schema.get("prefixItems", [])
    schemas = [prefix[n] if n < len(prefix) else schema.get("items", True) for n in range(len(value))]
    pairs = zip(schemas, value, strict=True)
    return count_within(schema, "Items", len(value)) and all(conforms(part, item, root) for part, item in pairs)


def object_conforms(schema: dict[str, Any], value: dict[str, Any], root: Any) -> bool:  # noqa: ANN401 -- a schema
    named, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
    return (
        count_within(schema, "Properties", len(value))
        and value.keys() >= set(schema.get("required", ()))
        and all(conforms(named.get(name, rest), item, root) for name, item in value.items())
    )


def combinations_conform(schema: dict[str, Any], value: object, root: Any) -> bool:  # noqa: ANN401 -- a schema
    counts = {
        key: sum(conforms(branch, value, root) for branch in schema[key])
        for key in ("anyOf", "oneOf", "allOf")
        if key in schema
    }
    return (
        counts.get("anyOf", 1) > 0
        and counts.get("oneOf", 1) == 1
        and counts.get("allOf", 0) == len(schema.get("allOf", ()))
        and ("$ref" not in schema or conforms(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root))
    )


def same(first: object, second: object) -> bool:
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def conforms(schema: Any, value: object, root: Any) -> bool:  # noqa: ANN401 -- any schema, with a document around it
    if isinstance(schema, bool):
        return schema
    names = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type")
    if names is not None and not any(is_type(name, value) for name in names):
        return False
    fixed = [[schema["const"]]] if "const" in schema else []
    fixed += [schema["enum"]] if "enum" in schema else []
    if not all(any(same(option, value) for option in options) for options in fixed):
        return False
    return kind_conforms(schema, value, root) and combinations_conform(schema, value, root)


def kind_conforms(schema: dict[str, Any], value: Any, root: Any) -> bool:  # noqa: ANN401 -- any schema
    if is_number(value):
        return number_conforms(schema, value)
    if isinstance(value, list):
        return array_conforms(schema, value, root)
    if isinstance(value, dict):
        return object_conforms(schema, value, root)
    return not isinstance(value, str) or string_conforms(schema, value)


PLAIN: Schemas = st.sampled_from(
    [
        *({"type": "boolean"}, {"type": "null"}, {"type": "integer"}, {"type": ["integer", "null"]}, {"const": "é"}),
        *({"type": "integer", "minimum": -3, "maximum": 120}, {"type": "integer", "minimum": 98, "multipleOf": 5}),
        *({"type": "number", "minimum": 0.5, "maximum": 20}, {"type": "number", "exclusiveMaximum": 0.3, "minimum": 0}),
        *({"multipleOf": 0.25, "minimum": -1}, {"type": "integer", "multipleOf": 3, "maximum": 30, "minimum": 1}),
        *({"type": "string", "minLength": 1, "maxLength": 3}, {"type": "string", "maxLength": 2}),
        *({"pattern": "^[a-c]{2}(x|yz)?$"}, {"type": "string", "pattern": "^\\d+$", "maxLength": 4}),
        *({"enum": ["on", "off", 1, None, [1]]}, {"enum": [1, 2.5, "on"], "type": ["number", "string"], "maximum": 2}),
        *({"$ref": "#/$defs/word"}, {"$ref": "#/$defs/list"}, {"$ref": "#/$defs/word", "minLength": 2}),
    ]
)  # fmt: skip
DEFINITIONS = {
    "word": {"type": "string", "maxLength": 4},
    "list": {"anyOf": [{"type": "null"}, {"prefixItems": [{"const": 0}, {"$ref": "#/$defs/list"}], "minItems": 2}]},
}
BOUNDS = st.sampled_from([{}, {"minItems": 1}, {"maxItems": 2}, {"minItems": 2, "maxItems": 3}])
COUNTS = st.sampled_from([{}, {"minProperties": 1}, {"maxProperties": 4}])
NAMES = st.sampled_from(["a", "ab", "ü", '"'])


def arrays(inner: Schemas) -> Schemas:
    parts = st.fixed_dictionaries({}, optional={"items": inner, "prefixItems": st.lists(inner, min_size=1, max_size=2)})
    return st.builds(lambda own, bounds: {"type": "array", **own, **bounds}, parts, BOUNDS)


def objects(inner: Schemas) -> Schemas:
    parts = st.fixed_dictionaries(
        {"properties": st.dictionaries(NAMES, inner, max_size=3)},
        optional={"required": st.lists(NAMES, max_size=2), "additionalProperties": st.booleans() | inner},
    )
    return st.builds(lambda own, counts: {"type": "object", **own, **counts}, parts, COUNTS)


def unions(inner: Schemas) -> Schemas:
    branches = st.lists(inner, min_size=1, max_size=3)
    return st.builds(lambda key, found: {key: found}, st.sampled_from(["anyOf", "oneOf", "allOf"]), branches)


SCHEMAS = st.recursive(PLAIN, lambda inner: arrays(inner) | objects(inner) | unions(inner), max_leaves=6)


def gbnf_of(schema: Mapping[str, Any]) -> str | None:
    """Return the grammar, None if the schema is refused."""
    rules = grammar.Rules()
    try:
        return rules.render(strict_grammar.value_of(rules, schema))
    except SchemaError:
        return None


@given(SCHEMAS, st.integers(0, 2**32))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_a_grammar_admits_conforms(draw: Draw, schema: dict[str, Any], seed: int) -> None:
    document = {**schema, "$defs": DEFINITIONS}
    gbnf = gbnf_of(document)
    if gbnf is None:
        return
    text = draw(gbnf, Random(seed))
    assert conforms(document, json.loads(text), document), text


KEYWORDS = st.sampled_from(
    [
        *("type", "properties", "required", "items", "prefixItems", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"),
        *("$defs", "minimum", "maximum", "exclusiveMinimum", "multipleOf", "minItems", "maxItems", "minLength"),
        *("maxLength", "pattern", "format", "additionalProperties", "minProperties", "maxProperties", "not", "x"),
    ]
)
NONSENSE = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 10**30, float("inf"), "string", "object", "#", "#/$defs/x", "[a", "^a+$"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYWORDS, NONSENSE, max_size=5))
@settings(max_examples=300, deadline=None)
def test_any_json_at_all_is_refused_or_makes_a_grammar_that_llama_cpp_takes(
    check: Callable[[str, Mapping[str, bool]], None], schema: dict[str, Any]
) -> None:
    gbnf = gbnf_of(schema)
    if gbnf is not None:
        check(gbnf, {"<": False})


@given(st.text("abc01.*+?()[]{}|^$\\dws-,", max_size=12), st.text("abc01. -", max_size=4))
@settings(max_examples=300, deadline=None)
def test_patterns_mean_what_they_mean_elsewhere(
    check: Callable[[str, Mapping[str, bool]], None], pattern: str, text: str
) -> None:
    gbnf = gbnf_of({"type": "string", "pattern": pattern})
    if gbnf is not None:  # `$` of Python also matches before a line break, which the texts have not
        check(gbnf, {json.dumps(text): re.search(pattern, text) is not None})
