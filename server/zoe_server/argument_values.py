"""Limits the arguments of tools to the values that exist: the names, the areas of a home.

Schemas of tools may have been written by anybody. Every question about one has an answer and nothing is raised: what
makes no sense is taken as saying nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

Schema = Mapping[str, Any]

TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")
MAX_NODES: Final = 5_000
"""One document is followed for that many nodes; what unfolds further (references that multiply) is left open."""
MAX_GROUNDING_DEPTH: Final = 8
"""Strings further inside arrays and alternatives of an argument are not limited to values that exist."""
MAX_VALUES: Final = 20_000
"""Values in all arguments of a tool together; further arguments are not limited to those that exist."""


def target(reference: str, document: object) -> object:
    """Return what a reference such as `#/$defs/area` points to in `document`, None if nothing."""
    node = document if reference.startswith("#") else None
    for part in unquote(reference.removeprefix("#")).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list | tuple):
            node = node[int(key)] if key.isdecimal() and int(key) < len(node) else None
        else:
            node = node.get(key) if isinstance(node, Mapping) else None
    return node


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


def values_of(tool: str, argument_values: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return the values by argument: `tool.argument` wins over `argument`; empty, it lifts the limit."""
    own = {key[len(tool) + 1 :]: values for key, values in argument_values.items() if key.startswith(f"{tool}.")}
    return {**argument_values, **own}


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


def _merged(first: Schema, second: Schema) -> Schema:
    """Return a schema that admits at least what satisfies both; what both say, `first` says."""
    result = {**second, **first}
    if isinstance(a := first.get("properties"), Mapping) and isinstance(b := second.get("properties"), Mapping):
        result["properties"] = {**b, **a}
    if (a := branches(first, "required")) and (b := branches(second, "required")):
        result["required"] = [*a, *(item for item in b if item not in a)]
    return result
