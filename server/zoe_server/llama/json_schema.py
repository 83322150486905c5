"""Reading JSON schemas that anybody may have written: every question has an answer, nothing is raised.

An answer never excludes what the schema admits: what makes no sense is taken as saying nothing.
This module knows nothing of grammars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

Schema = Mapping[str, Any]

MAX_NODES: Final = 5_000
"""One document is followed for that many nodes; what unfolds further (references that multiply) is left open."""

MAX_GROUNDING_DEPTH: Final = 8
"""Strings further inside arrays and alternatives of an argument are not limited to values that exist."""

ANNOTATIONS: Final = frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$id", "$schema")
)


class Document:
    """A schema and what its local references point to, with a budget that ends every recursion."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._nodes_left = MAX_NODES

    def spend(self, nodes: int = 1) -> bool:
        """Take nodes off the budget; False when it is used up."""
        self._nodes_left -= nodes
        return self._nodes_left >= 0

    def resolve(self, schema: object) -> Schema:
        """Return `schema` with a `$ref` at its top followed and merged; a broken or circular one says nothing."""
        seen: set[str] = set()
        while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str) and self.spend():
            if schema["$ref"] in seen:
                return {}
            seen.add(schema["$ref"])
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = merged(rest, self.target(schema["$ref"]))
        return schema if self.spend() and isinstance(schema, Mapping) else {}

    def target(self, reference: str) -> Schema:
        """Return what a reference such as `#/$defs/area` points to; an empty schema if there is nothing."""
        node: Any = self.schema if reference.startswith("#") else {}
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            node = node.get(key, {}) if isinstance(node, Mapping) else {}
        return node if isinstance(node, Mapping) else {}


def merged(first: Schema, second: Schema) -> Schema:
    """Return a schema that admits at least what satisfies both.

    `required`, `properties`, `allOf`, `enum` and `type` are combined; of any other keyword `first` keeps its own.
    """
    result = {**second, **first}
    if isinstance(a := first.get("properties"), Mapping) and isinstance(b := second.get("properties"), Mapping):
        shared = {name: {"allOf": [a[name], b[name]]} for name in a.keys() & b.keys() if a[name] != b[name]}
        result["properties"] = {**a, **b, **shared}
    for key in ("required", "allOf"):
        if isinstance(a := first.get(key), list | tuple) and isinstance(b := second.get(key), list | tuple):
            result[key] = [*a, *(item for item in b if item not in a)]
    if (a := fixed_values(first)) is not None and (b := fixed_values(second)) is not None:
        result["enum"] = [value for value in a if value in b] or list(a)
        result.pop("const", None)
    if first.get("type") and second.get("type"):
        names = list(types(first))
        result["type"] = [name for name in names if name in types(second)] or names
    return result


def branches(schema: Schema, keyword: str) -> list[Any]:
    """Return the schemas under `anyOf`, `oneOf` or `allOf`; none if there is no such list."""
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


def types(schema: Schema) -> Iterator[str]:
    """Yield the JSON types that a schema names, or means by its other keywords; `any` if it says nothing."""
    declared = schema.get("type")
    if declared is None and "properties" in schema:
        declared = "object"
    if declared is None and "items" in schema:
        declared = "array"
    names = list(declared) if isinstance(declared, list | tuple) else [declared]
    if schema.get("nullable") is True and names != [None]:
        names.append("null")
    yield from dict.fromkeys(name if isinstance(name, str) else "any" for name in names or [None])


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


def counts(schema: Schema, least_key: str, most_key: str, countable: int) -> tuple[int, int | None]:
    """Return the smallest and largest count; None is unbounded, as are bounds beyond `countable`."""
    least, most = (_count(schema.get(key)) for key in (least_key, most_key))
    most = None if most is None or most > countable else most
    least = min(least or 0, countable)
    return (least, most) if most is None or least <= most else (0, None)


def _count(value: object) -> int | None:
    number = _decimal(value)
    return int(number) if number is not None and number >= 0 else None


def integer_limits(schema: Schema) -> tuple[int | None, int | None]:
    """Return the smallest and the largest integer, both included; None is unbounded."""
    low, high = _limit(schema, "inimum", max), _limit(schema, "aximum", min)
    least = None if low is None else math.floor(low[0]) + 1 if low[1] else math.ceil(low[0])
    most = None if high is None else math.ceil(high[0]) - 1 if high[1] else math.floor(high[0])
    return least, most


def number_limits(schema: Schema) -> tuple[Decimal | None, Decimal | None]:
    """Return the bounds of a number; an exclusive bound counts as included."""
    low, high = _limit(schema, "inimum", max), _limit(schema, "aximum", min)
    return None if low is None else low[0], None if high is None else high[0]


def _limit(schema: Schema, suffix: str, tightest: Callable[..., Any]) -> tuple[Decimal, bool] | None:
    """Return the bound `minimum` or `maximum` (given without the first letter) and whether it is itself excluded."""
    inclusive, exclusive = _decimal(schema.get(f"m{suffix}")), schema.get(f"exclusiveM{suffix}")
    if isinstance(exclusive, bool):  # the form of JSON schema draft 4
        return None if inclusive is None else (inclusive, exclusive)
    limits = [] if inclusive is None else [(inclusive, False)]
    if (bound := _decimal(exclusive)) is not None:
        limits.insert(0, (bound, True))  # wins where both are equal
    found: tuple[Decimal, bool] | None = tightest(limits, key=lambda limit: limit[0], default=None)
    return found


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None


def is_only(schema: Schema, keyword: str) -> bool:
    """Return whether nothing but `keyword` restricts the value."""
    return schema.keys() - ANNOTATIONS - {"$defs", "definitions"} == {keyword}


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
    return {**schema, **combined} if combined else {"anyOf": list(_grounded_types(schema, values, document, depth))}


def _grounded_types(schema: Schema, values: Sequence[str], document: Document, depth: int) -> Iterator[Schema]:
    for name in types(schema):
        if name in ("string", "any"):
            yield {"enum": list(values)}
        elif name == "array":
            yield {**schema, "type": name, "items": grounded(schema.get("items", {}), values, document, depth + 1)}
        else:
            yield {**schema, "type": name, "nullable": False}
