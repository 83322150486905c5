"""Does a tool call fit the schema of its tool? As far as types, names and listed values go.

It looks at every value and at nothing that takes long (no patterns, no references), and a schema that makes no sense
says nothing.
Source: JSON Schema 2020-12, "Validation".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

_MAX_DEPTH: Final = 16
"""Values further inside are taken for good."""

_IS_OF: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: not isinstance(value, bool) and (isinstance(value, int) or _is_whole(value)),
}


def fits(arguments: str, schema: Mapping[str, Any]) -> bool:
    """Whether `arguments` is a JSON object that nothing in `schema` speaks against."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and _fits(value, schema, 0)


def _fits(value: Any, schema: object, depth: int) -> bool:  # noqa: ANN401 -- any JSON value
    if schema is False:
        return False
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return True
    if not (_has_type(value, schema) and _is_listed(value, schema) and _fits_a_branch(value, schema, depth)):
        return False
    if isinstance(value, dict):
        return _has_members(value, schema, depth)
    items = schema.get("items") if "prefixItems" not in schema else None
    return not isinstance(value, list) or all(_fits(item, items, depth + 1) for item in value)


def _has_type(value: object, schema: Mapping[str, Any]) -> bool:
    wanted = schema.get("type")
    names = wanted if isinstance(wanted, list | tuple) else [wanted]
    known = [_IS_OF[name] for name in names if isinstance(name, str) and name in _IS_OF]
    nullable = value is None and schema.get("nullable") is True
    return nullable or not names or len(known) < len(names) or any(is_of(value) for is_of in known)


def _is_listed(value: object, schema: Mapping[str, Any]) -> bool:
    if "const" in schema and value != schema["const"]:
        return False
    listed = schema.get("enum")
    return not isinstance(listed, list | tuple) or value in listed


def _fits_a_branch(value: Any, schema: Mapping[str, Any], depth: int) -> bool:  # noqa: ANN401 -- any JSON value
    lists = [schema[keyword] for keyword in ("anyOf", "oneOf") if isinstance(schema.get(keyword), list | tuple)]
    return all(not branches or any(_fits(value, branch, depth + 1) for branch in branches) for branches in lists)


def _has_members(value: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> bool:
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(required, list | tuple) and not all(name in value for name in required if isinstance(name, str)):
        return False
    known = properties if isinstance(properties, Mapping) else {}
    others = schema.get("additionalProperties") if "patternProperties" not in schema else None
    return all(_fits(member, known.get(name, others), depth + 1) for name, member in value.items())


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()
