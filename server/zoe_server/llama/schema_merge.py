"""Two plain JSON schemas as one: what satisfies both satisfies the result, and nothing else does.

A plain schema has no `$ref`, `anyOf`, `oneOf` or `allOf` of its own, and says `enum` for `const` and a list for `type`;
`plain` makes one. What cannot be written as one schema is refused. This module knows nothing of grammars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final

from zoe_server.llama.schema_document import SchemaError, step_to

Schema = Mapping[str, Any]

ALL_TYPES: Final = ("object", "array", "string", "number", "boolean", "null")
KEYWORDS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "object": ("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_PLAIN: Final = frozenset(("type", "enum", *(keyword for names in KEYWORDS_OF.values() for keyword in names)))


def plain(schema: Schema) -> Schema:
    """Return what `schema` says by itself, without its combinations and annotations."""
    result = {key: value for key, value in schema.items() if key in _PLAIN}
    if isinstance(schema.get("type"), str):
        result["type"] = [schema["type"]]
    if "const" in schema:
        const = [schema["const"]]
        result["enum"] = _shared_values(const, schema["enum"]) if "enum" in schema else const
    return result


def merged(first: Schema, second: Schema, path: str) -> Schema:
    """Return the plain schema for what satisfies both.

    Raises:
        SchemaError: two keywords cannot be written as one; the path, which begins with `path`, names it.
    """
    result = {**first, **second}
    for keyword in [key for key in first if key in second and key in _TOGETHER]:
        together = _TOGETHER[keyword](first[keyword], second[keyword])
        if together is None:
            raise SchemaError(path + step_to(keyword), "two of them for one value cannot be combined")
        result[keyword] = together
    return result | _members(first, second) | _items(first, second)


def _members(first: Schema, second: Schema) -> dict[str, Any]:
    """Return `properties` and `additionalProperties`: a property of one side is an additional one of the other."""
    a, b = first.get("properties", {}), second.get("properties", {})
    mine, theirs = first.get("additionalProperties", True), second.get("additionalProperties", True)
    result: dict[str, Any] = {}
    if a or b:
        result["properties"] = {name: _both(a.get(name, mine), b.get(name, theirs)) for name in {**a, **b}}
    if "additionalProperties" in first or "additionalProperties" in second:
        result["additionalProperties"] = _both(mine, theirs)
    return result


def _items(first: Schema, second: Schema) -> dict[str, Any]:
    """Return `prefixItems` and `items`: an item beyond one side's prefix is one of its `items`."""
    a, b = first.get("prefixItems", []), second.get("prefixItems", [])
    mine, theirs = first.get("items", True), second.get("items", True)
    result: dict[str, Any] = {}
    if a or b:
        pairs = range(max(len(a), len(b)))
        result["prefixItems"] = [_both(_at(a, index, mine), _at(b, index, theirs)) for index in pairs]
    if "items" in first or "items" in second:
        result["items"] = _both(mine, theirs)
    return result


def _at(prefix: list[Any], index: int, rest: object) -> object:
    return prefix[index] if index < len(prefix) else rest


def _both(first: object, second: object) -> object:
    if first is False or second is False:
        return False
    if first is True or first == second:
        return second
    return first if second is True else {"allOf": [first, second]}


def shared_types(first: list[str], second: list[str]) -> list[str]:
    """Return the types that are in both lists; an integer is a number, too."""
    found = [name for name in first if name in second or (name == "integer" and "number" in second)]
    return found + [name for name in second if name == "integer" and "number" in first and name not in found]


def _shared_values(first: list[Any], second: list[Any]) -> list[Any]:
    return [value for value in first if any(is_same(value, other) for other in second)]


def _shared_names(first: list[str], second: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _multiple(first: float, second: float) -> float | None:
    small, large = sorted((first, second))
    return large if Fraction(str(large)) % Fraction(str(small)) == 0 else None


def _equal(first: str, second: str) -> str | None:
    return first if first == second else None


_TOGETHER: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "type": shared_types,
    "enum": _shared_values,
    "required": _shared_names,
    "multipleOf": _multiple,
    **dict.fromkeys(("pattern", "format"), _equal),
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}


def is_same(first: object, second: object) -> bool:
    """Return whether two JSON values are equal: unlike in Python, true is not 1."""
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(is_same, first, second))
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(is_same(first[key], second[key]) for key in first)
    return first == second and isinstance(first, bool) == isinstance(second, bool)
