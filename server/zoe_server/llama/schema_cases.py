"""A JSON schema as cases: plain schemas (`schema_merge.py`) of which a value satisfies at least one.

References are followed, and `anyOf`, `oneOf` and `allOf` multiplied out. The cases of different branches of a `oneOf`
must exclude each other for all to see, by their types, their values, or a required property's. The schema has passed
`schema_check.check`. This module knows nothing of grammars.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

from zoe_server.llama.schema_document import MAX_DEPTH, MAX_NODES, SchemaError, find
from zoe_server.llama.schema_merge import ALL_TYPES, Schema, merged, plain
from zoe_server.llama.schema_values import satisfying, types_of

MAX_CASES: Final = 300
"""Schemas that multiply out to more cases are refused."""
_MAX_LOOK: Final = 4
"""So deep inside required properties, cases are looked at to see that they exclude each other."""


class Cases:
    """Finds the cases of the schemas of one document, and refuses one that never ends."""

    def __init__(self, document: Schema) -> None:
        self._document = document
        self._schemas_left = MAX_NODES

    def of(self, schema: object, path: str, depth: int = 0) -> list[Schema]:
        """Return the cases of `schema`; none if no value satisfies it.

        Raises:
            SchemaError: it cannot be honoured exactly; `path` is where it stands.
        """
        self._schemas_left -= 1
        if self._schemas_left < 0 or depth > MAX_DEPTH:
            raise SchemaError(path, "refers to itself in a way that never ends, or unfolds to something too large")
        if not isinstance(schema, Mapping):
            return [{}] if schema else []
        cases = [plain(schema)]
        if "$ref" in schema:
            cases = _both(cases, self.of(find(self._document, schema["$ref"]), f"{path}.$ref", depth + 1), path)
        for index, branch in enumerate(schema.get("allOf", ())):
            cases = _both(cases, self.of(branch, f"{path}.allOf[{index}]", depth + 1), path)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                cases = self._branched(cases, schema[keyword], f"{path}.{keyword}", depth)
        return cases

    def _branched(self, cases: list[Schema], branches: Sequence[object], path: str, depth: int) -> list[Schema]:
        found = [
            _both(cases, self.of(branch, f"{path}[{index}]", depth + 1), f"{path}[{index}]")
            for index, branch in enumerate(branches)
        ]
        if path.endswith(".oneOf"):
            for first, second in itertools.combinations(found, 2):
                self._refuse_shared(first, second, path)
        return [case for cases_of_branch in found for case in cases_of_branch]

    def _refuse_shared(self, first: list[Schema], second: list[Schema], path: str) -> None:
        for a, b in itertools.product(first, second):
            if self.possible(merged(_typed(a), b, path), path) or self.possible(merged(a, _typed(b), path), path):
                raise SchemaError(path, "supported only where the branches exclude each other; write anyOf")

    def possible(self, case: Schema, path: str, look: int = 0) -> bool:
        """Return False only if no value satisfies the plain schema `case`."""
        if "enum" in case:
            return _has_values(case, path)
        return any(self._possible_as(name, case, path, look) for name in case.get("type", ALL_TYPES))

    def _possible_as(self, name: str, case: Schema, path: str, look: int) -> bool:
        if name != "object" or look > _MAX_LOOK:
            return True
        described, rest = case.get("properties", {}), case.get("additionalProperties", True)
        return all(
            any(self.possible(inner, path, look + 1) for inner in self.of(described.get(key, rest), path))
            for key in case.get("required", ())
        )


def _typed(case: Schema) -> Schema:
    """Return `case` for the types that an answer may have, which are fewer where it names none."""
    return case if "enum" in case else {**case, "type": types_of(case)}


def _has_values(case: Schema, path: str) -> bool:
    try:
        return bool(satisfying(case, path))
    except SchemaError:  # not known, so it may have some
        return True


def _both(first: list[Schema], second: list[Schema], path: str) -> list[Schema]:
    """Return the cases that are a case of both."""
    if len(first) * len(second) > MAX_CASES:
        raise SchemaError(path, f"has more than {MAX_CASES} combinations of its alternatives")
    return [merged(a, b, path) for a, b in itertools.product(first, second)]
