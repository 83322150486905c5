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

from zoe_server.llama.constraint.recent import remembered
from zoe_server.llama.constraint.schema_check import COUNTS, MAX_FLOAT, MAX_INTEGER, TYPES, target

Schema = Mapping[str, Any]

MAX_NODES: Final = 5_000
"""One document is followed for that many nodes; what unfolds further (references that multiply) is left open."""
MAX_DEPTH: Final = 40
"""Schemas nested deeper admit any JSON value from there on."""
MAX_GROUNDING_DEPTH: Final = 8
"""Strings further inside arrays and alternatives of an argument are not limited to values that exist."""
MAX_COUNT: Final = 4_096
"""Larger bounds on the lengths of strings and arrays are not counted."""

MAX_VALUES: Final = 20_000
"""Values in all arguments of a tool together; further arguments are not limited to those that exist."""
MAX_NUMBER: Final = 10**15
"""Bounds further away are not counted."""

_KEPT: Final = frozenset(("$ref", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))


class Document:
    """A schema and what its local references point to, with a budget that ends every recursion."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._nodes_left = MAX_NODES
        self._values_left = MAX_VALUES

    def spend(self, nodes: int = 1) -> bool:
        """Take nodes off the budget; False when it is used up."""
        self._nodes_left -= nodes
        return self._nodes_left >= 0

    def spend_values(self, values: int) -> bool:
        """Take values off their budget; False when it is used up."""
        self._values_left -= values
        return self._values_left >= 0

    def resolve(self, schema: object) -> Schema:
        """Return `schema` with a `$ref` at its top followed and merged; a broken or circular one says nothing."""
        seen: set[str] = set()
        while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str) and self.spend():
            if schema["$ref"] in seen:
                return {}
            seen.add(schema["$ref"])
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = _merged(rest, self.target(schema["$ref"]) or {})
        return schema if self.spend() and isinstance(schema, Mapping) else {}

    def leads_on(self, reference: object) -> bool:
        """Return whether there is a schema behind a reference, and not only references that lead back to it."""
        seen: set[str] = set()
        while isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            target = self.target(reference)
            if target is None or "$ref" not in target:
                return target is not None
            reference = target["$ref"]
        return False

    def target(self, reference: str) -> Schema | None:
        """Return the schema that a reference such as `#/$defs/area` points to, None if there is none."""
        found = target(reference, self.schema)
        return found if isinstance(found, Mapping) else None


def limited(parameters: Schema, values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the schema of a tool's arguments with those that `values` names limited to strings that exist."""
    document = Document(parameters)
    schema = {"type": "object", **document.resolve(parameters)}
    if isinstance(found := schema.get("properties"), Mapping):
        schema["properties"] = {
            name: grounded(value, values[name], document) if values.get(name) else value
            for name, value in found.items()
        }
    return schema


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


def grounded(schema: object, values: Sequence[str], document: Document, depth: int = 0) -> Schema:
    """Return `schema` with its strings, or the strings in its arrays, limited to `values`.

    An enum is cut down to the values, or stays whole if none of them is in it.
    """
    schema = document.resolve(schema)
    if "const" in schema or depth > MAX_GROUNDING_DEPTH:
        return schema
    if (fixed := fixed_values(schema)) is not None:
        kept = [value for value in fixed if value in values]
        return {**schema, "enum": [*kept, *(v for v in fixed if not isinstance(v, str))]} if kept else schema
    combined = {
        keyword: [grounded(branch, values, document, depth + 1) for branch in found]
        for keyword in ("anyOf", "oneOf", "allOf")
        if (found := branches(schema, keyword))
    }
    if combined:
        return {**schema, **combined}
    kinds = list(_grounded_types(schema, values, document, depth))
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _grounded_types(schema: Schema, values: Sequence[str], document: Document, depth: int) -> Iterator[Schema]:
    for name in types(schema):
        if name in ("string", "any"):
            yield {"enum": list(values)} if document.spend_values(len(values)) else {**schema, "type": "string"}
        elif name == "array":
            yield {**schema, "type": name, "items": grounded(schema.get("items", {}), values, document, depth + 1)}
        else:
            yield {**schema, "type": name, "nullable": False}


def branches(schema: Schema, keyword: str) -> list[Any]:
    """Return the list under a keyword such as `anyOf`; none if there is no such list."""
    found = schema.get(keyword)
    return list(found) if isinstance(found, list | tuple) else []


def fixed_values(schema: Schema) -> list[Any] | None:
    """Return the only values that `const` or `enum` admit; None if there is no such keyword."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    if isinstance(values, list | tuple) and values:
        return [*values, None] if schema.get("nullable") is True else list(values)
    return None


def types(schema: Schema) -> list[str]:
    """Return the JSON types that a schema names, or means by its other keywords; `any` if it says nothing."""
    declared = schema.get("type")
    if declared is None and "properties" in schema:
        declared = "object"
    if declared is None and "items" in schema:
        declared = "array"
    names = list(declared) if isinstance(declared, list | tuple) else [declared]
    if schema.get("nullable") is True and names != [None]:
        names.append("null")
    return list(dict.fromkeys(name if name in TYPES else "any" for name in names or [None]))


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


def _merged(first: Schema, second: Schema) -> Schema:
    """Return a schema that admits at least what satisfies both; what both say, `first` says."""
    result = {**second, **first}
    if isinstance(a := first.get("properties"), Mapping) and isinstance(b := second.get("properties"), Mapping):
        result["properties"] = {**b, **a}
    if (a := branches(first, "required")) and (b := branches(second, "required")):
        result["required"] = [*a, *(item for item in b if item not in a)]
    return result


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
