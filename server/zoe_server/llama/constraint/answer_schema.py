"""Schemas that an answer is promised to satisfy: held to exactly, or refused with the path of the keyword.

What llguidance cannot hold an answer to is refused, unless an alternative remains: a value may satisfy any branch of
`anyOf`. Where a schema leaves open whether there is more than it describes, there is not: no other properties beside
those that an object names. Formats that JSON schema does not define say nothing, and neither do unknown keywords.
`uniqueItems` is a wish: no grammar can hold to it, and those who ask for it (sets) read lists with repetitions, too.
Source: JSON Schema 2020-12, "Validation"; llguidance, `docs/json_schema.md`.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from llguidance import LLMatcher, LLTokenizer

MAX_NODES: Final = 5_000
"""Documents with more schemas are refused."""
MAX_DEPTH: Final = 60
"""Schemas nested deeper are refused."""

_TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")
_UNSUPPORTED: Final = frozenset(
    (
        *("not", "if", "then", "else", "propertyNames", "unevaluatedProperties", "unevaluatedItems"),
        *("dependentRequired", "dependentSchemas", "dependencies", "contains", "minContains", "maxContains"),
        *("$dynamicRef", "$recursiveRef"),
    )
)
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions")
_LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties", "additionalItems")
_COUNTS: Final = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_BOUNDS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_SAYS: Final = frozenset(
    (
        *("properties", "patternProperties", *_LISTED, *_SINGLE, *_COUNTS, *_BOUNDS),
        *("$ref", "type", "enum", "const", "pattern", "format", "required"),
    )
)
_HELD_FORMATS: Final = frozenset(
    ("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
_DEFINED_FORMATS: Final = _HELD_FORMATS | {
    *("idn-email", "idn-hostname", "uri-reference", "iri", "iri-reference", "uri-template"),
    *("json-pointer", "relative-json-pointer", "regex"),
}
_ADDRESS: Final = {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}
"""Pydantic's format for an address of either kind."""
_LONGEST_NAME: Final = 60
_PLAIN_NAME: Final = re.compile(r"[\w$-]{1,60}")


class SchemaError(ValueError):
    """A schema cannot be honoured exactly; `path` says where, beginning with a dot or a bracket unless it is empty."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def promised(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return `schema` such that llguidance holds an answer to it.

    Raises:
        SchemaError: an answer cannot be held to it.
    """
    found = _promised(json.dumps(schema))
    if isinstance(found, SchemaError):
        raise found
    return found


@functools.lru_cache(maxsize=64)
def _promised(schema: str) -> dict[str, Any] | SchemaError:
    """Return what `promised` returns or raises; `schema` is JSON, a cache key."""
    document = json.loads(schema)
    try:
        found = _Document(document).schema(document, "", 0, combined=False)
    except SchemaError as error:
        return error
    if not isinstance(found, dict):
        return SchemaError("", "no value satisfies it")
    refusal = _refusal(found, found, "")
    if refusal is None:
        matcher = LLMatcher(_bytes_only(), LLMatcher.grammar_from_json_schema(found), log_level=0)
        matcher.compute_bitmask()
        if matcher.is_error():  # what refers to nothing but itself
            refusal = SchemaError("", "no value satisfies it")
    return refusal or found


@functools.cache
def _bytes_only() -> LLTokenizer:
    return LLTokenizer("byte")


def _refusal(schema: object, document: Mapping[str, Any], path: str) -> SchemaError | None:
    """Return why llguidance refuses a schema of `document`, at the innermost place that it refuses by itself."""
    if not isinstance(schema, Mapping):
        return None
    definitions = {key: document[key] for key in ("$defs", "definitions") if key in document}
    told = LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema({**schema, **definitions}))
    if not told:
        return None
    inner = (_refusal(child, document, path + step) for step, child in _children(schema))
    reason = told.splitlines()[0].split("failed to compile JSON schema: ")[-1].removeprefix("Unsatisfiable schema: ")
    if "oneOf" in schema and reason.startswith("oneOf"):
        path, reason = f"{path}.oneOf", "supported only where the alternatives exclude each other for all to see"
    return next((found for found in inner if found is not None), None) or SchemaError(path, reason)


def _children(schema: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the schemas inside `schema`, with the step that leads to each."""
    for keyword in _NAMED:
        for name, child in schema.get(keyword, {}).items():
            yield f".{keyword}{step_to(name)}", child
    for keyword in _LISTED:
        for index, child in enumerate(schema.get(keyword, ())):
            yield f".{keyword}[{index}]", child
    for keyword in _SINGLE:
        yield f".{keyword}", schema.get(keyword)


class _Document:
    """One way through a document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._n_schemas = 0

    def schema(self, schema: object, path: str, depth: int, *, combined: bool) -> dict[str, Any] | bool:
        """Return one schema; `combined` is a part of an object that is described in several."""
        self._n_schemas += 1
        if depth > MAX_DEPTH:
            raise SchemaError(path, f"is nested more than {MAX_DEPTH} deep")
        if self._n_schemas > MAX_NODES:
            raise SchemaError(path, f"the document has more than {MAX_NODES} schemas")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise SchemaError(path, "must be a schema: an object, true or false")
        for keyword, value in schema.items():
            if problem := _problem(keyword, value):
                raise SchemaError(path + step_to(keyword), problem)
        if schema.get("format") == "ipvanyaddress":
            return dict(_ADDRESS)
        if "$ref" in schema:
            self._check_reference(schema["$ref"], f"{path}.$ref")
        result: dict[str, Any] = {key: value for key, value in schema.items() if key in _SAYS}
        if "format" in result and (result["format"] not in _DEFINED_FORMATS or "pattern" in result):
            del result["format"]
        combined = combined or bool(schema.keys() & {"allOf", "anyOf", "oneOf", "$ref"})
        self._follow(schema, result, path, depth + 1, combined=combined)
        return result

    def _follow(
        self, schema: Mapping[str, Any], result: dict[str, Any], path: str, depth: int, *, combined: bool
    ) -> None:
        """Put the schemas inside `schema` into `result`."""
        for keyword in _NAMED:
            if keyword in schema:
                result[keyword] = {
                    name: self.schema(value, f"{path}.{keyword}{step_to(name)}", depth, combined=False)
                    for name, value in schema[keyword].items()
                }
        for keyword in _LISTED:
            if keyword in schema:
                both = "properties" in schema or keyword == "allOf"
                result[keyword] = self._branches(schema[keyword], keyword, f"{path}.{keyword}", depth, combined=both)
        for keyword in _SINGLE:
            if keyword in schema:
                result[keyword] = self.schema(schema[keyword], f"{path}.{keyword}", depth, combined=False)
        if "properties" in schema and not combined:
            self._close(schema, result)

    @staticmethod
    def _close(schema: Mapping[str, Any], result: dict[str, Any]) -> None:
        """Admit no other properties than those that the schema names, unless it speaks of them."""
        if "type" not in schema and not schema.keys() & {"enum", "const"}:
            result["type"] = "object"
        if "additionalProperties" not in schema and "patternProperties" not in schema:
            result["additionalProperties"] = False
            missing = [name for name in schema.get("required", ()) if name not in schema["properties"]]
            result["properties"] |= {name: {} for name in missing}

    def _branches(
        self, branches: list[object], keyword: str, path: str, depth: int, *, combined: bool
    ) -> list[dict[str, Any] | bool]:
        """Return the branches; of alternatives, those that an answer can be held to, if there are any."""
        kept: list[dict[str, Any] | bool] = []
        refused: SchemaError | None = None
        for index, branch in enumerate(branches):
            try:
                kept.append(self.schema(branch, f"{path}[{index}]", depth, combined=combined))
            except SchemaError as error:
                if keyword != "anyOf" or error.reason.startswith("there is no schema"):
                    raise
                refused = refused or error
        if not kept and refused is not None:
            raise refused
        return kept

    def _check_reference(self, reference: str, path: str) -> None:
        node: Any = self._document
        for key in (part.replace("~1", "/").replace("~0", "~") for part in unquote(reference[1:]).split("/")[1:]):
            if isinstance(node, list):
                node = node[int(key)] if key.isdecimal() and int(key) < len(node) else None
            else:
                node = node.get(key) if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping | bool):
            raise SchemaError(path, f"there is no schema at {reference[:200]!r} in this document")


def step_to(key: str | int) -> str:
    """Return how a path goes on to a member: `.name`, `[0]`, `["any text"]`."""
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN_NAME.fullmatch(key) else f"[{json.dumps(key[:_LONGEST_NAME], ensure_ascii=False)}]"


def _problem(keyword: str, value: Any) -> str | None:  # noqa: ANN401 -- any JSON value
    """Return why an answer cannot be held to this keyword."""
    return "not supported" if keyword in _UNSUPPORTED else _CHECKS[keyword](value) if keyword in _CHECKS else None


def _check_type(value: object) -> str | None:
    names = value if isinstance(value, list) and value else [value]
    fine = all(isinstance(name, str) and name in _TYPES for name in names)
    return None if fine else f"must be one of {', '.join(_TYPES)}, or a list of them"


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
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
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
    refused = value in _DEFINED_FORMATS - _HELD_FORMATS
    return f"not supported; supported are {', '.join(sorted(_HELD_FORMATS))}" if refused else None


def _problem_in(value: object, depth: int) -> str | None:
    """Return why `value` cannot be written; a number is infinite if it was `1e999` before it was read."""
    if depth > MAX_DEPTH:
        return f"is nested more than {MAX_DEPTH} deep"
    if isinstance(value, float) and not math.isfinite(value):
        return "has a number that JSON cannot hold"
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
    **dict.fromkeys(_NAMED, _check_named),
    **dict.fromkeys(_LISTED, _check_listed),
    "items": _check_items,
    "required": _check_required,
    "$ref": _check_local,
    **dict.fromkeys(_COUNTS, _check_count),
    **dict.fromkeys(_BOUNDS, _check_number),
    "multipleOf": _check_multiple,
    "enum": _check_enum,
    "const": _check_const,
    "pattern": _check_pattern,
    "format": _check_format,
}
