"""What a keyword of an answer's schema may say, and how a place in a schema is named.

Each keyword is looked at by itself; what does not go together, llguidance finds.
Source: JSON Schema 2020-12, "Validation".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from llguidance import LLMatcher

from zoe_server.argument_values import TYPES

MAX_FLOAT: Final = 1e308
MAX_INTEGER: Final = 2**63 - 1
MAX_DEPTH: Final = 60
"""Schemas nested deeper are refused."""
NAMED: Final = ("properties", "patternProperties", "$defs", "definitions")
LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
SINGLE: Final = ("items", "additionalProperties", "additionalItems")
COUNTS: Final = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
BOUNDS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
HELD_FORMATS: Final = frozenset(
    ("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
DEFINED_FORMATS: Final = HELD_FORMATS | {
    *("idn-email", "idn-hostname", "uri-reference", "iri", "iri-reference", "uri-template"),
    *("json-pointer", "relative-json-pointer", "regex"),
}

_UNSUPPORTED: Final = frozenset(
    (
        *("not", "if", "then", "else", "propertyNames", "unevaluatedProperties", "unevaluatedItems"),
        *("dependentRequired", "dependentSchemas", "dependencies", "contains", "minContains", "maxContains"),
        *("$dynamicRef", "$recursiveRef"),
    )
)
_LONGEST_NAME: Final = 60
_PLAIN_NAME: Final = re.compile(r"[\w$-]{1,60}")


class SchemaError(ValueError):
    """A schema cannot be honoured exactly; `path` says where, beginning with a dot or a bracket unless it is empty."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def step_to(key: str | int) -> str:
    """Return how a path goes on to a member: `.name`, `[0]`, `["any text"]`."""
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN_NAME.fullmatch(key) else f"[{json.dumps(key[:_LONGEST_NAME], ensure_ascii=False)}]"


def problem_with(keyword: str, value: Any) -> str | None:  # noqa: ANN401 -- any JSON value
    """Return why an answer cannot be held to this keyword."""
    return "not supported" if keyword in _UNSUPPORTED else _CHECKS[keyword](value) if keyword in _CHECKS else None


def _check_type(value: object) -> str | None:
    names = value if isinstance(value, list) and value else [value]
    fine = all(isinstance(name, str) and name in TYPES for name in names)
    return None if fine else f"must be one of {', '.join(TYPES)}, or a list of them"


def _check_named(value: object) -> str | None:
    return None if isinstance(value, Mapping) else "must be an object of schemas"


def _check_listed(value: object) -> str | None:
    return None if isinstance(value, list) and value else "must be a list of at least one schema"


def _check_items(value: object) -> str | None:
    return "must be one schema; write prefixItems for several" if isinstance(value, list) else None


def _check_required(value: object) -> str | None:
    fine = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return None if fine else "must be a list of names"


def _check_local(value: object) -> str | None:
    local = isinstance(value, str) and (value == "#" or value.startswith("#/"))
    return None if local else "only references inside the same document are supported, such as '#/$defs/name'"


def _check_count(value: object) -> str | None:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value % 1 == 0
    return None if whole else "must be a whole number that is not negative"


def _check_number(value: object) -> str | None:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_FLOAT
    return None if fine else "must be a number"


def _check_multiple(value: object) -> str | None:
    problem = _check_number(value)
    return problem or (None if isinstance(value, int | float) and value > 0 else "must be greater than 0")


def _check_enum(value: object) -> str | None:
    fine = isinstance(value, list) and value
    return _problem_in(value, 0) if fine else "must be a list of at least one value"


def _check_const(value: object) -> str | None:
    return _problem_in(value, 0)


def _check_format(value: object) -> str | None:
    refused = not isinstance(value, str) or value in DEFINED_FORMATS - HELD_FORMATS
    return f"not supported; supported are {', '.join(sorted(HELD_FORMATS))}" if refused else None


def _problem_in(value: object, depth: int) -> str | None:
    """Return why `value` cannot be written; a number is infinite if it was `1e999` before it was read."""
    if depth > MAX_DEPTH:
        return f"is nested more than {MAX_DEPTH} deep"
    if isinstance(value, int | float) and not abs(value) <= (MAX_INTEGER if isinstance(value, int) else MAX_FLOAT):
        return "has a number that not everybody can read"
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        return "has half of a surrogate pair, which is no character"
    inner = [*value, *value.values()] if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return next((problem for item in inner if (problem := _problem_in(item, depth + 1)) is not None), None)


def _check_pattern(pattern: object) -> str | None:
    if not isinstance(pattern, str):
        return "must be a string"
    made = LLMatcher.grammar_from_json_schema({"type": "string", "pattern": pattern})
    told = LLMatcher.validate_grammar(made)
    if not told:
        return None
    reason = next((line for line in reversed(told.splitlines()) if line.startswith("error: ")), told.splitlines()[0])
    return f"not supported: {reason.removeprefix('error: ')}"


_CHECKS: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "type": _check_type,
    **dict.fromkeys(NAMED, _check_named),
    **dict.fromkeys(LISTED, _check_listed),
    "items": _check_items,
    "required": _check_required,
    "$ref": _check_local,
    **dict.fromkeys(COUNTS, _check_count),
    **dict.fromkeys(BOUNDS, _check_number),
    "multipleOf": _check_multiple,
    "enum": _check_enum,
    "const": _check_const,
    "pattern": _check_pattern,
    "format": _check_format,
}
