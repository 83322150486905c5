"""Which of a few JSON values satisfy a plain schema, and whether any value at all can.

This module knows nothing of grammars.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from zoe_server.llama.schema_document import SchemaError, step_to
from zoe_server.llama.schema_merge import ALL_TYPES, KEYWORDS_OF, Schema

_NOT_BESIDE_VALUES: Final = ("pattern", "format", "properties", "additionalProperties", "items", "prefixItems")
_COUNTED: Final = {"string": "Length", "array": "Items", "object": "Properties"}


def type_of(value: object) -> str:
    """Return the JSON type of a value; a number without a fraction is an `integer`."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        return "integer" if value == int(value) else "number"
    if isinstance(value, Mapping):
        return "object"
    return "string" if isinstance(value, str) else "array"


def types_of(schema: Schema) -> list[str]:
    """Return the types a plain schema names; if it names none, those of which its keywords speak, or else all."""
    if "type" in schema:
        return list(schema["type"])
    return [name for name, keys in KEYWORDS_OF.items() if any(key in schema for key in keys)] or list(ALL_TYPES)


def satisfying(schema: Schema, path: str) -> list[Any]:
    """Return the values of the plain schema's `enum` that satisfy all of it.

    Raises:
        SchemaError: it has a keyword for which that is not known.
    """
    found = [value for value in schema["enum"] if _has_type(schema, value) and _within(schema, value)]
    spoken_of = {keyword for value in found for keyword in KEYWORDS_OF.get(type_of(value), ())}
    for keyword in _NOT_BESIDE_VALUES:
        if keyword in schema and keyword in spoken_of:
            raise SchemaError(path + step_to(keyword), "not supported next to enum or const")
    return found


def _has_type(schema: Schema, value: object) -> bool:
    name = type_of(value)
    return "type" not in schema or name in schema["type"] or (name == "integer" and "number" in schema["type"])


def _within(schema: Schema, value: Any) -> bool:  # noqa: ANN401 -- any JSON value
    name = type_of(value)
    if name in ("integer", "number"):
        return _number_within(schema, Fraction(str(value)))
    if name not in _COUNTED:
        return True
    least, most = (schema.get(f"{bound}{_COUNTED[name]}") for bound in ("min", "max"))
    has_names = name != "object" or all(key in value for key in schema.get("required", ()))
    return has_names and len(value) >= (least or 0) and (most is None or len(value) <= most)


def _number_within(schema: Schema, value: Fraction) -> bool:
    low, high, above, below, step = (
        None if key not in schema else Fraction(str(schema[key])) for key in KEYWORDS_OF["number"]
    )
    return not (
        (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
        or (step is not None and value % step != 0)
    )
