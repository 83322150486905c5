"""Random schemas, against a validator that knows nothing of grammars: what is drawn conforms."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import jsonschema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoe_server.llama.constraint.answer_schema import promised
from zoe_server.llama.constraint.grammar import Rules
from zoe_server.llama.constraint.schema_check import SchemaError

Draw = Callable[[str, Random], str]
"""Returns a text that a grammar admits."""
Schemas = st.SearchStrategy[dict[str, Any]]

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
        optional={"required": st.lists(NAMES, max_size=2, unique=True), "additionalProperties": st.booleans() | inner},
    )
    return st.builds(lambda own, counts: {"type": "object", **own, **counts}, parts, COUNTS)


def unions(inner: Schemas) -> Schemas:
    branches = st.lists(inner, min_size=1, max_size=3)
    return st.builds(lambda key, found: {key: found}, st.sampled_from(["anyOf", "oneOf", "allOf"]), branches)


SCHEMAS = st.recursive(PLAIN, lambda inner: arrays(inner) | objects(inner) | unions(inner), max_leaves=6)


def lark_of(schema: Mapping[str, Any]) -> str | None:
    """Return the grammar, None if the schema is refused."""
    rules = Rules()
    try:
        return rules.render(rules.json(promised(schema), lenient=False))
    except SchemaError:
        return None


@given(SCHEMAS, st.integers(0, 2**32))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_a_grammar_admits_conforms(draw: Draw, schema: dict[str, Any], seed: int) -> None:
    document = {**schema, "$defs": DEFINITIONS}
    lark = lark_of(document)
    if lark is None:
        return
    text = draw(lark, Random(seed))
    jsonschema.validate(json.loads(text), document)


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
def test_any_json_at_all_is_refused_or_makes_a_grammar_that_is_taken(
    check: Callable[[str, Mapping[str, bool]], None], schema: dict[str, Any]
) -> None:
    lark = lark_of(schema)
    if lark is not None:
        check(lark, {"<": False})
