"""How the texts of plain schemas begin, and so how many of several cases stay possible at once while a text is read.

The matcher of llama.cpp follows all that are still possible: alternatives that begin alike and hold others that begin
alike multiply. A first required property, or a first item, that is fixed tells cases apart. This module knows no
grammars.
"""

from __future__ import annotations

import json
from typing import Final

from zoe_server.llama.schema_cases import Cases
from zoe_server.llama.schema_merge import Schema
from zoe_server.llama.schema_values import types_of

CONTAINERS: Final = ("object", "array")
Opening = tuple[str, frozenset[str] | None]
"""The name of the first property, and the texts of its values if they are fixed; for arrays, of the first item."""


def n_alike(cases: Cases, found: list[Schema], path: str) -> list[int]:
    """Return for each of the cases how many of them, itself included, may begin as it does and go on inside."""
    openings = [{name: _opening(cases, name, case, path) for name in _containers(case)} for case in found]
    return [max(1, sum(_begin_alike(own, other) for other in openings)) for own in openings]


def _containers(case: Schema) -> list[str]:
    return [] if "enum" in case else [name for name in CONTAINERS if name in types_of(case)]


def _opening(cases: Cases, name: str, case: Schema, path: str) -> Opening | None:
    """Return how texts of `case` begin as type `name`, None if that is open."""
    if name == "array":
        first = ("", case["prefixItems"][0]) if case.get("prefixItems") and case.get("minItems", 0) else None
    else:
        first = next(((key, value) for key, value in case.get("properties", {}).items()), None)
        first = first if first is not None and first[0] in case.get("required", ()) else None
    if first is None:
        return None
    inner = cases.of(first[1], path)
    fixed = all("enum" in each for each in inner)
    return first[0], frozenset(json.dumps(value) for each in inner for value in each["enum"]) if fixed else None


def _begin_alike(first: dict[str, Opening | None], second: dict[str, Opening | None]) -> bool:
    return any(_overlap(first[name], second[name]) for name in first if name in second)


def _overlap(first: Opening | None, second: Opening | None) -> bool:
    if first is None or second is None:
        return True
    values = first[1] is None or second[1] is None or bool(first[1] & second[1])
    return first[0] == second[0] and values
