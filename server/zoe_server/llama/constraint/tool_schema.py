"""Schemas of tools, which anybody may have written: made such that calls can be held to them as far as possible.

Every question has an answer and nothing is raised: what makes no sense is taken as saying nothing, so that what is held
to admits all that the schema admits, with two exceptions. Properties come in the order of the schema, and beside those
that an object names there are no others, unless the schema speaks of them. Whoever calls a tool still validates its
arguments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llguidance import LLMatcher

from zoe_server.argument_values import TYPES, Document, Schema, branches, fixed_values, limited, types
from zoe_server.llama.constraint.recent import remembered
from zoe_server.llama.constraint.schema_check import COUNTS, MAX_FLOAT, MAX_INTEGER

MAX_DEPTH: Final = 40
"""Schemas nested deeper admit any JSON value from there on."""
MAX_COUNT: Final = 4_096
"""Larger bounds on the lengths of strings and arrays are not counted."""

MAX_NUMBER: Final = 10**15
"""Bounds further away are not counted."""

_KEPT: Final = frozenset(("$ref", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))


def arguments(parameters: Schema, values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return `limited` arguments such that llguidance can hold calls to them.

    A tool without properties takes none; one whose schema llguidance refuses all the same takes any.
    """
    document = Document(parameters)
    whole = relaxed({"properties": {}, **limited(parameters, values)}, document)
    for key in ("$defs", "definitions"):
        if isinstance(found := parameters.get(key), Mapping):
            whole[key] = {name: relaxed(value, document) for name, value in found.items()}
    return whole if _is_held(json.dumps(whole)) else {"type": "object"}


def relaxed(schema: object, document: Document, depth: int = 0, *, combined: bool = False) -> dict[str, Any]:
    """Return `schema` without what nobody can be held to; `combined` is a part of an object described in several."""
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH or not document.spend():
        return {}
    if "$ref" in schema and not document.leads_on(schema["$ref"]):
        schema = {key: value for key, value in schema.items() if key != "$ref"}
    result: dict[str, Any] = {key: schema[key] for key in _KEPT & schema.keys()}
    result |= {key: schema[key] for key in COUNTS[:4] if _is_countable(schema.get(key))}
    for keyword in ("anyOf", "oneOf", "allOf"):
        if found := branches(schema, keyword):
            parts = combined or keyword == "allOf" or "properties" in schema
            inner = [relaxed(branch, document, depth + 1, combined=parts) for branch in found]
            combined = True
            result["anyOf" if keyword == "oneOf" else keyword] = inner
    _say_type(schema, result)
    if (fixed := fixed_values(schema)) is not None:
        result |= {"enum": values} if (values := [value for value in fixed if _is_writable(value)]) else {}
    if isinstance(pattern := schema.get("pattern"), str) and _is_regular(pattern):
        result["pattern"] = pattern
    _describe_items(schema, result, document, depth)
    _describe_members(schema, result, document, depth, combined=combined)
    return _with_sane_bounds(result)


def _say_type(schema: Schema, result: dict[str, Any]) -> None:
    names = [name for name in types(schema) if name in TYPES]
    if names and "any" not in types(schema):
        result["type"] = names if len(names) > 1 else names[0]


def _describe_items(schema: Schema, result: dict[str, Any], document: Document, depth: int) -> None:
    if "prefixItems" not in schema and isinstance(items := schema.get("items"), Mapping | bool):
        result["items"] = items if isinstance(items, bool) else relaxed(items, document, depth + 1)


def _describe_members(
    schema: Schema, result: dict[str, Any], document: Document, depth: int, *, combined: bool
) -> None:
    members = list(properties(schema))
    named = isinstance(schema.get("properties"), Mapping)
    if members or named:
        result["properties"] = {
            name: relaxed(value, document, depth + 1, combined=combined) for name, value, _ in members
        }
    if required := [name for name, _, is_required in members if is_required]:
        result["required"] = required
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        result["additionalProperties"] = relaxed(additional, document, depth + 1)
    elif named and not combined and "$ref" not in schema:
        result["additionalProperties"] = additional is True and not members
    elif additional is False and not combined:
        result["additionalProperties"] = False


def _with_sane_bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` without bounds that are no numbers or exclude each other; drafts differ in exclusive ones."""
    for limit in ("inimum", "aximum"):
        exclusive = schema.get(f"exclusiveM{limit}")
        if exclusive is True and _is_number(schema.get(f"m{limit}")):
            schema[f"exclusiveM{limit}"] = schema.pop(f"m{limit}")
        elif not _is_number(exclusive):
            schema.pop(f"exclusiveM{limit}", None)
        if not _is_number(schema.get(f"m{limit}")):
            schema.pop(f"m{limit}", None)
    step = schema.get("multipleOf")
    if step is not None and not (_is_number(step) and step > 0):
        del schema["multipleOf"]
    for least, most in (("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum")):
        if least in schema and most in schema and schema[least] > schema[most]:
            del schema[least], schema[most]
    return schema


def properties(schema: Schema) -> Iterator[tuple[str, Any, bool]]:
    """Yield name, schema and whether it is required; a required name without a schema comes last."""
    found = schema.get("properties")
    named = found if isinstance(found, Mapping) else {}
    required = [name for name in branches(schema, "required") if isinstance(name, str)]
    for name, value in named.items():
        yield name, value, name in required
    for name in dict.fromkeys(required):
        if name not in named:
            yield name, {}, True


@remembered(2 << 20)
def _is_held(schema: str) -> bool:
    """Return whether llguidance can hold arguments to `schema`, which is JSON."""
    made = LLMatcher.grammar_from_json_schema(schema, overrides={"lenient": True})
    return not LLMatcher.validate_grammar(made)


@remembered(64 << 10)
def _is_regular(pattern: str) -> bool:
    """Return whether llguidance can hold a text to `pattern`: it may not look ahead or behind, for example."""
    return not LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema({"type": "string", "pattern": pattern}))


def _is_countable(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _is_writable(value: object) -> bool:
    """Return whether a value has a form in JSON that everybody reads."""
    if isinstance(value, str):
        return not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, Mapping):
        return all(_is_writable(key) and _is_writable(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_writable, value))
    return not isinstance(value, int | float) or abs(value) <= (MAX_INTEGER if isinstance(value, int) else MAX_FLOAT)
