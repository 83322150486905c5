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
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llguidance import LLMatcher, LLTokenizer

from zoe_server.argument_values import target
from zoe_server.llama.constraint.recent import remembered
from zoe_server.llama.constraint.schema_check import (
    BOUNDS,
    COUNTS,
    DEFINED_FORMATS,
    LISTED,
    MAX_DEPTH,
    NAMED,
    SINGLE,
    SchemaError,
    problem_with,
    step_to,
)

MAX_NODES: Final = 5_000
"""Documents with more schemas are refused."""

_SAYS: Final = frozenset(
    (
        *("properties", "patternProperties", *LISTED, *SINGLE, *COUNTS, *BOUNDS),
        *("$ref", "type", "enum", "const", "pattern", "format", "required"),
    )
)
_MAX_SEARCHED_CHARACTERS: Final = 20_000
"""In longer documents the place that llguidance refuses is not looked for: each step compiles the whole of it."""
_COMBINING: Final = frozenset(("allOf", "anyOf", "oneOf", "$ref"))
_FREE: Final = _COMBINING | {"enum", "const"}
_ABOUT: Final = {
    "object": frozenset(("properties", "patternProperties", "required", "additionalProperties", *COUNTS[4:])),
    "array": frozenset(("items", "prefixItems", *COUNTS[2:4])),
    "string": frozenset(("pattern", "format", *COUNTS[:2])),
    "number": frozenset(BOUNDS),
}
_MAX_NUMBER: Final = 10**15
_SMALLEST: Final = 1e-12
"""The number next to 0: llguidance 1.9.1 takes 0 for greater than 0 where the other bound is a fraction."""
_YEAR: Final = r"(000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"
_DAYS: Final = r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_LEAP_YEAR: Final = r"(\d\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_DATE: Final = f"({_YEAR}-{_DAYS}|{_LEAP_YEAR}-02-29)"
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
_DATES: Final[Mapping[str, str]] = {"date": f"^{_DATE}$", "date-time": f"^{_DATE}T{_TIME}$", "time": f"^{_TIME}$"}
"""What llguidance takes for dates has a 29th of February in every year. Source: RFC 3339, 5.6, without leap seconds."""
_ADDRESS: Final = {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}
"""Pydantic's format for an address of either kind."""


def promised(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return `schema` such that llguidance holds an answer to it.

    Raises:
        SchemaError: an answer cannot be held to it.
    """
    found = _promised(json.dumps(schema))
    if isinstance(found, SchemaError):
        raise found
    return found


@remembered(2 << 20)
def _promised(schema: str) -> dict[str, Any] | SchemaError:
    """Return what `promised` returns or raises; `schema` is JSON, a cache key."""
    document = json.loads(schema)
    try:
        found = _Document(document, closing=True).whole()
        # Whether alternatives exclude each other is a question about the schema as it is written.
        as_written = _Document(document, closing=False).whole() if "oneOf" in schema else True
    except SchemaError as error:
        return error
    if not isinstance(found, dict):
        return SchemaError("", "no value satisfies it")
    refusal = _refusal(as_written, as_written, "") if isinstance(as_written, dict) else None
    refusal = refusal or _refusal(found, found, "")
    if refusal is None:
        matcher = LLMatcher(_bytes_only(), LLMatcher.grammar_from_json_schema(json.dumps(found)), log_level=0)
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
    told = LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(json.dumps({**schema, **definitions})))
    if not told:
        return None
    if len(json.dumps(document)) > _MAX_SEARCHED_CHARACTERS:
        children: Iterator[tuple[str, object]] = iter(())
    else:
        children = ((step, child) for step, child in _children(schema) if step[1] != "$")
    inner = (_refusal(child, document, path + step) for step, child in children)
    reason = told.splitlines()[0].split("failed to compile JSON schema: ")[-1].removeprefix("Unsatisfiable schema: ")
    if "oneOf" in schema and reason.startswith("oneOf"):
        path, reason = f"{path}.oneOf", "supported only where the alternatives exclude each other for all to see"
    return next((found for found in inner if found is not None), None) or SchemaError(path, reason)


def _children(schema: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the schemas inside `schema`, with the step that leads to each."""
    for keyword in NAMED:
        for name, child in schema.get(keyword, {}).items():
            yield f".{keyword}{step_to(name)}", child
    for keyword in LISTED:
        for index, child in enumerate(schema.get(keyword, ())):
            yield f".{keyword}[{index}]", child
    for keyword in SINGLE:
        yield f".{keyword}", schema.get(keyword)


class _Document:
    """One way through a document; `closing` says that there is nothing but what it describes."""

    def __init__(self, document: Mapping[str, Any], *, closing: bool) -> None:
        self._document = document
        self._is_closing = closing
        self._n_schemas = 0
        self._refused: dict[str, SchemaError] = {}
        self._references: list[str] = []

    def whole(self) -> dict[str, Any] | bool:
        """Return the schema of the document; definitions that it does not use may be anything."""
        found = self.schema(self._document, "", 0, combined=False)
        for reference in self._references:
            if reference in self._refused:
                raise self._refused[reference]
        return found

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
            if problem := problem_with(keyword, value):
                raise SchemaError(path + step_to(keyword), problem)
        if schema.get("format") == "ipvanyaddress":
            return dict(_ADDRESS)
        if "$ref" in schema:
            self._check_reference(schema["$ref"], f"{path}.$ref")
            self._references.append(schema["$ref"])
        result: dict[str, Any] = {key: value for key, value in schema.items() if key in _SAYS}
        if self._is_closing:
            _say_type(result)
        _bound_numbers(result)
        _say_format(result)
        combined = combined or not _COMBINING.isdisjoint(schema)
        self._follow(schema, result, path, depth + 1, combined=combined)
        self._close(schema, result, combined=combined)
        return result

    def _follow(
        self, schema: Mapping[str, Any], result: dict[str, Any], path: str, depth: int, *, combined: bool
    ) -> None:
        """Put the schemas inside `schema` into `result`."""
        for keyword in NAMED:
            if keyword in schema:
                result[keyword] = {
                    name: self._named(value, keyword, f"{path}.{keyword}{step_to(name)}", name, depth)
                    for name, value in schema[keyword].items()
                }
        for keyword in LISTED:
            if keyword in schema:
                both = "properties" in schema or keyword == "allOf"
                result[keyword] = self._branches(schema[keyword], keyword, f"{path}.{keyword}", depth, combined=both)
        for keyword in SINGLE:
            if keyword in schema:
                result[keyword] = self.schema(schema[keyword], f"{path}.{keyword}", depth, combined=False)

    def _close(self, schema: Mapping[str, Any], result: dict[str, Any], *, combined: bool) -> None:
        """Admit no other items and properties than those that the schema describes, unless it speaks of them."""
        if combined or not self._is_closing:
            return
        if "prefixItems" in result and "items" not in result:
            result["items"] = result.get("minItems", 0) > len(result["prefixItems"])
        if "properties" not in schema:
            return
        if "additionalProperties" not in schema and "patternProperties" not in schema:
            result["additionalProperties"] = False
            missing = [name for name in schema.get("required", ()) if name not in schema["properties"]]
            result["properties"] |= {name: {} for name in missing}
        if result.get("additionalProperties") is False:
            _count_members(result)

    def _named(self, schema: object, keyword: str, path: str, name: str, depth: int) -> dict[str, Any] | bool:
        """Return a schema with a name; whether an answer can be held to a definition counts only where it is used."""
        try:
            return self.schema(schema, path, depth, combined=False)
        except SchemaError as error:
            if not keyword.startswith(("$", "def")):
                raise
            self._refused[f"#/{keyword}/{name.replace('~', '~0').replace('/', '~1')}"] = error
            return False

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
        # Elsewhere these alternatives may be one of another choice, which is about all types.
        if keyword == "oneOf" and path.count(".oneOf") == 1 and not path.startswith((".$defs", ".definitions")):
            _say_common_type(kept)
        return kept

    def _check_reference(self, reference: str, path: str) -> None:
        if not isinstance(target(reference, self._document), Mapping | bool):
            raise SchemaError(path, f"there is no schema at {reference[:200]!r} in this document")


def _say_format(schema: dict[str, Any]) -> None:
    """Leave formats that are defined nowhere, and say what dates are."""
    form = schema.get("format")
    if form is not None and form not in DEFINED_FORMATS:
        del schema["format"]
    if form in _DATES and "pattern" not in schema:
        schema["pattern"] = _DATES[schema.pop("format")]


def _say_type(schema: dict[str, Any]) -> None:
    """Where a schema has no type, say of which its keywords speak."""
    if "type" in schema or not _FREE.isdisjoint(schema):
        return
    names = [name for name, keywords in _ABOUT.items() if not keywords.isdisjoint(schema)]
    if names:
        schema["type"] = names if len(names) > 1 else names[0]


def _say_common_type(branches: list[dict[str, Any] | bool]) -> None:
    """Where all branches speak of one and the same type, say so: of what has another type, no answer is made."""
    said = [dict(branch) for branch in branches if isinstance(branch, dict)]
    for branch in said:
        _say_type(branch)
    if len(said) == len(branches) and len({json.dumps(branch.get("type")) for branch in said}) == 1:
        branches[:] = said


def _bound_numbers(schema: dict[str, Any]) -> None:
    """Draw bounds nearer that are further away than the digits which are counted, and leave 0 out where it is one."""
    if "number" in schema.get("type", ()):
        for exclusive, inclusive, sign in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
            if schema.get(exclusive) == 0:
                del schema[exclusive]
                nearest = [sign * schema[inclusive]] if inclusive in schema else []
                schema[inclusive] = sign * max([_SMALLEST, *nearest])
    for keyword, sign in (("minimum", -1), ("exclusiveMinimum", -1), ("maximum", 1), ("exclusiveMaximum", 1)):
        if keyword in schema and sign * schema[keyword] > _MAX_NUMBER:
            schema[keyword] = sign * _MAX_NUMBER


def _count_members(schema: dict[str, Any]) -> None:
    """Say with `required` and `properties` how many properties an object has, as far as that is possible."""
    named, required = schema["properties"], schema.get("required", [])
    least, most = schema.get("minProperties", 0), schema.get("maxProperties", len(named))
    if least <= len(required):
        schema.pop("minProperties", None)
    elif least == len(named):
        schema["required"] = list(named)
        del schema["minProperties"]
    if most >= len(named):
        schema.pop("maxProperties", None)
    elif most == len(required):
        schema["properties"] = {name: value for name, value in named.items() if name in required}
        del schema["maxProperties"]
