"""May an answer be promised to satisfy this JSON schema? Its keywords are known, sane, and of a size to be held to.

Unknown keywords say nothing, as JSON schema wants it; known ones that no grammar can hold an answer to are refused,
each with its path. This module looks at each schema by itself; what does not go together, `strict_grammar.py` finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from zoe_server.llama import pattern
from zoe_server.llama.schema_document import MAX_DEPTH, MAX_NODES, SchemaError, find, pointer, step_to
from zoe_server.llama.schema_merge import Schema
from zoe_server.llama.string_formats import FORMATS

MAX_STRING: Final = 100_000
"""Larger bounds on a string's length are refused."""
MAX_ITEMS: Final = 1_000
"""Larger bounds on the number of items or properties are refused."""
MAX_VALUES: Final = 5_000
"""Longer enums are refused."""
MAX_PROPERTIES: Final = 500
"""Objects with more properties are refused: where all are optional, each is a place at which the text may be."""

MAX_NAME: Final = 200
"""Longer names of properties are refused."""

_TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")
_UNSUPPORTED: Final = (
    *("not", "if", "then", "else", "patternProperties", "propertyNames", "unevaluatedProperties", "unevaluatedItems"),
    *("dependentRequired", "dependentSchemas", "dependencies", "contains", "minContains", "maxContains"),
    *("additionalItems", "$dynamicRef", "$recursiveRef"),
)


def check(document: Schema) -> None:
    """Return if the schema and all that it refers to can be held to.

    Raises:
        SchemaError: with the path of the first keyword that cannot.
    """
    walk = _Walk(document)
    walk.schema(document, "", 0, None)
    walk.refuse_circles()


class _Walk:
    """One way through a document; references are followed once.

    `_starts` says which references mean, at the very same place of the text, which others: a grammar that starts with
    itself has no first character. Of None, everything else, nobody asks.
    """

    def __init__(self, document: Schema) -> None:
        self._document = document
        self._n_schemas = 0
        self._starts: dict[str | None, list[str]] = {None: []}
        self._paths: dict[str, str] = {}

    def schema(self, schema: object, path: str, depth: int, start: str | None) -> None:
        """Check one schema and those inside it; `start` is the reference it is, or is a part of, if any."""
        self._n_schemas += 1
        if depth > MAX_DEPTH:
            raise SchemaError(path, f"is nested more than {MAX_DEPTH} deep")
        if self._n_schemas > MAX_NODES:
            raise SchemaError(path, f"the document has more than {MAX_NODES} schemas")
        if isinstance(schema, bool):
            return
        if not isinstance(schema, Mapping):
            raise SchemaError(path, "must be a schema: an object, true or false")
        for keyword, value in schema.items():
            if keyword in _UNSUPPORTED:
                raise SchemaError(path + step_to(keyword), "not supported")
            if (problem := _CHECKS[keyword](value) if keyword in _CHECKS else None) is not None:
                raise SchemaError(path + step_to(keyword), problem)
        self._inside(schema, path, depth + 1)
        self._combined(schema, path, depth + 1, start)

    def _inside(self, schema: Schema, path: str, depth: int) -> None:
        """Check the schemas of what the value holds."""
        inner = {f".properties{step_to(name)}": value for name, value in schema.get("properties", {}).items()}
        inner |= {f".prefixItems[{index}]": value for index, value in enumerate(schema.get("prefixItems", ()))}
        inner |= {f".{keyword}": schema[keyword] for keyword in ("items", "additionalProperties") if keyword in schema}
        for step, value in inner.items():
            self.schema(value, path + step, depth, None)

    def _combined(self, schema: Schema, path: str, depth: int, start: str | None) -> None:
        """Check the other schemas of the value itself."""
        for keyword in ("anyOf", "oneOf", "allOf"):
            for index, value in enumerate(schema.get(keyword, ())):
                self.schema(value, f"{path}.{keyword}[{index}]", depth, start)
        if "$ref" in schema:
            self._reference(schema["$ref"], f"{path}.$ref", depth, start)

    def _reference(self, reference: str, path: str, depth: int, start: str | None) -> None:
        found = find(self._document, reference)
        if not isinstance(found, Mapping | bool):
            raise SchemaError(path, f"there is no schema at {reference[:200]!r} in this document")
        self._starts[start].append(reference)
        if reference not in self._paths:
            self._paths[reference], self._starts[reference] = path, []
            self.schema(found, "".join(map(step_to, pointer(reference))), depth, reference)

    def refuse_circles(self) -> None:
        """Return if no reference means itself.

        Raises:
            SchemaError: one does.
        """
        safe: set[str] = set()
        for reference, path in self._paths.items():
            if self._meets_itself(reference, frozenset(), safe):
                raise SchemaError(path, "refers to itself, with nothing in between")

    def _meets_itself(self, reference: str, above: frozenset[str], safe: set[str]) -> bool:
        if reference in safe:
            return False
        if len(above) > MAX_DEPTH:
            raise SchemaError(self._paths[reference], f"leads on to more than {MAX_DEPTH} others")
        if reference in above or any(
            self._meets_itself(other, above | {reference}, safe) for other in self._starts[reference]
        ):
            return True
        safe.add(reference)
        return False


def _check_type(value: object) -> str | None:
    names = value if isinstance(value, list) and value else [value]
    fine = all(isinstance(name, str) and name in _TYPES for name in names)
    return None if fine else f"must be one of {', '.join(_TYPES)}, or a list of them"


def _check_enum(value: object) -> str | None:
    if not isinstance(value, list) or not value:
        return "must be a list of at least one value"
    return f"has more than {MAX_VALUES} values" if len(value) > MAX_VALUES else _check_const(value)


def _check_const(value: object) -> str | None:
    return _problem_in(value, 0)


def _problem_in(value: object, depth: int) -> str | None:
    """Return why `value` cannot be written; a number is infinite if it was `1e999` before it was read."""
    if depth > MAX_DEPTH:
        return f"is nested more than {MAX_DEPTH} deep"
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    if isinstance(value, float) and not math.isfinite(value):
        return "has a number that JSON cannot hold"
    return next((problem for item in inner if (problem := _problem_in(item, depth + 1)) is not None), None)


def _check_number(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    return _problem_in(value, 0)


def _check_multiple(value: object) -> str | None:
    problem = _check_number(value)
    return problem or (None if isinstance(value, int | float) and value > 0 else "must be greater than 0")


def _count_up_to(most: int) -> Callable[[object], str | None]:
    def check_count(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
            return "must be a whole number that is not negative"
        return None if value <= most else f"must be at most {most}"

    return check_count


def _check_pattern(value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    try:
        pattern.parse(value)
    except pattern.PatternError as error:
        return str(error)
    return None


def _check_format(value: object) -> str | None:
    return None if isinstance(value, str) and value in FORMATS else f"not supported; supported are {', '.join(FORMATS)}"


def _check_unique(value: object) -> str | None:
    return None if value is False else "not supported"


def _check_names(value: object) -> str | None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return "must be a list of names"
    return _problem_with_names(value)


def _problem_with_names(names: Collection[str]) -> str | None:
    if len(names) > MAX_PROPERTIES:
        return f"has more than {MAX_PROPERTIES} names"
    return f"has a name of more than {MAX_NAME} characters" if any(len(name) > MAX_NAME for name in names) else None


def _check_schemas(value: object) -> str | None:
    return None if isinstance(value, list) and value else "must be a list of at least one schema"


def _check_object(value: object) -> str | None:
    return None if isinstance(value, Mapping) else "must be an object of schemas"


def _check_properties(value: object) -> str | None:
    return _problem_with_names(value.keys()) if isinstance(value, Mapping) else _check_object(value)


def _check_items(value: object) -> str | None:
    return "must be one schema; write prefixItems for several" if isinstance(value, list) else None


def _check_reference(value: object) -> str | None:
    local = isinstance(value, str) and (value == "#" or value.startswith("#/"))
    return None if local else "only references inside the same document are supported, such as '#/$defs/name'"


_CHECKS: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "type": _check_type,
    "enum": _check_enum,
    "const": _check_const,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _check_number),
    "multipleOf": _check_multiple,
    **dict.fromkeys(("minLength", "maxLength"), _count_up_to(MAX_STRING)),
    **dict.fromkeys(("minItems", "maxItems", "minProperties", "maxProperties"), _count_up_to(MAX_ITEMS)),
    "pattern": _check_pattern,
    "format": _check_format,
    "uniqueItems": _check_unique,
    "required": _check_names,
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), _check_schemas),
    "properties": _check_properties,
    **dict.fromkeys(("$defs", "definitions"), _check_object),
    "items": _check_items,
    "$ref": _check_reference,
}
