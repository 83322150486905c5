"""JSON schema to GBNF, strictly: every text of the grammar satisfies the schema, or the schema is refused.

What is written is the JSON of `json.dumps`, properties in the order of the schema. Where a schema leaves open whether
there is more than it describes, there is not: no other properties beside those it names, no items behind `prefixItems`,
and without a `type` only the types of which its keywords speak. Numbers have at most 18 digits on each side.
`schema_check.py` says which keywords are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from zoe_server.llama import pattern
from zoe_server.llama.grammar import Rules, alternatives, choice, json_text, literal, sequence
from zoe_server.llama.grammar_places import Places
from zoe_server.llama.regular import NOTHING, TooLargeError, within
from zoe_server.llama.schema_cases import Cases
from zoe_server.llama.schema_check import check
from zoe_server.llama.schema_document import MAX_DEPTH, SchemaError, step_to
from zoe_server.llama.schema_merge import ALL_TYPES, KEYWORDS_OF, Schema
from zoe_server.llama.schema_numbers import number_expression
from zoe_server.llama.schema_openings import n_alike
from zoe_server.llama.schema_values import satisfying, types_of
from zoe_server.llama.string_formats import FORMATS
from zoe_server.llama.string_grammar import string_between, string_of, string_other_than

_WORDS: Final = {"boolean": '("true" | "false")', "null": '"null"'}
_COMMA: Final = literal(", ")


def value_of(rules: Rules, schema: Schema) -> str:
    """Return the expression for the JSON texts that satisfy `schema`; rules it needs are added to `rules`.

    Raises:
        SchemaError: it cannot be honoured exactly, or nothing satisfies it.
    """
    check(schema)
    found = _StrictGrammar(rules, Cases(schema)).value(schema, "", 0)
    if found is None:
        raise SchemaError("", "no value satisfies it")
    return found


class _StrictGrammar:
    """Turns the schemas of one document into rules of `rules`; what no value satisfies is None.

    Equal plain schemas are one rule, and that is how references end: what refers to itself meets its own rule again.
    """

    def __init__(self, rules: Rules, cases: Cases) -> None:
        self._rules = rules
        self._cases = cases
        self._known: dict[str, str | None] = {}
        self._in_work: dict[str, str | None] = {}
        """The schemas being turned into rules, with the name that some rule already gave to theirs."""
        self._places = Places()

    def value(self, schema: object, path: str, depth: int) -> str | None:
        """Return the expression for `schema`, which is one unit: a name, a literal, an alternation in parentheses."""
        if depth > MAX_DEPTH:
            raise SchemaError(path, f"is nested more than {MAX_DEPTH} deep")
        cases = self._cases.of(schema, path)
        parts: list[str] = []
        for case, times in zip(cases, n_alike(self._cases, cases, path), strict=True):
            with self._places.times(times):
                parts += self._case(case, path, depth)
        return alternatives(parts) if parts else None

    def _case(self, case: Schema, path: str, depth: int) -> list[str]:
        if "enum" in case:
            values = satisfying(case, path)
            return [self._rules.add("enum", choice({json_text(value): "" for value in values}))] if values else []
        names = types_of(case)
        if not case.keys() - {"type"} and {*names} >= {*ALL_TYPES}:
            return ["json-value"]
        found = [self._typed(name, _about(name, case), path, depth) for name in names]
        return [part for part in found if part is not None]

    def _typed(self, name: str, case: Schema, path: str, depth: int) -> str | None:
        match name:
            case "object" | "array":
                return self._known_or_made(name, case, path, depth)
            case "string":
                return self._string(case, path)
            case "integer" | "number":
                return self._number(name, case, path)
        return _WORDS[name]

    def _known_or_made(self, name: str, case: Schema, path: str, depth: int) -> str | None:
        key = json.dumps([name, case])
        if key in self._known:
            self._places.again(key, path)
            return self._known[key]
        if key in self._in_work:
            self._places.again(key, path)
            self._in_work[key] = self._in_work[key] or self._rules.reserve(name)
            return self._in_work[key]
        self._in_work[key] = None
        with self._places.rule(key, path):
            body = self._object(case, path, depth) if name == "object" else self._array(case, path, depth)
        reserved = self._in_work.pop(key)
        if reserved is None:
            self._known[key] = None if body is None else self._rules.add(name, body)
        elif body is None:
            raise SchemaError(path, "no value satisfies it")
        else:
            self._rules.define(reserved, body)
            self._known[key] = reserved
        return self._known[key]

    def _object(self, case: Schema, path: str, depth: int) -> str | None:
        described, required = case.get("properties", {}), case.get("required", ())
        rest = case.get("additionalProperties", True)
        members: list[tuple[str, bool]] = []
        for name in dict.fromkeys((*described, *required)):
            where = f"{path}.properties{step_to(name)}" if name in described else f"{path}.required"
            value = self.value(described.get(name, rest), where, depth + 1)
            if value is not None:
                members.append((sequence(literal(json_text(name) + ": "), value), name in required))
            elif name in required:
                return None
        other = self._other_member(case, path, depth)
        return self._counted_members(members, other, case, path)

    def _other_member(self, case: Schema, path: str, depth: int) -> str | None:
        """Return the expression for a member that is not named, None if there may be none."""
        names = [*case.get("properties", ()), *case.get("required", ())]
        schema = case.get("additionalProperties", "properties" not in case and not names)
        value = self.value(schema, f"{path}.additionalProperties", depth + 1)
        if value is None:
            return None
        name = string_other_than(self._rules, names) if names else "json-string"
        return self._rules.add("member", sequence(name, literal(": "), value))

    def _counted_members(
        self, members: Sequence[tuple[str, bool]], other: str | None, case: Schema, path: str
    ) -> str | None:
        """Return the expression for the object, with as many members as it may have."""
        least, most = case.get("minProperties", 0), case.get("maxProperties")
        n_required = sum(required for _, required in members)
        if (most is not None and (least > most or n_required > most)) or (other is None and least > len(members)):
            return None
        if n_required == most:
            members, other = [member for member in members if member[1]], None
        if other is None and least == len(members):
            members = [(member, True) for member, _ in members]
        elif least > max(1, n_required):
            raise SchemaError(f"{path}.minProperties", "supported only up to the number of required properties")
        if most is not None and most < len(members):
            raise SchemaError(f"{path}.maxProperties", "supported only from the number of properties on")
        more = None if most is None else int(most) - len(members)
        inside = self._members(members, other, more)
        return sequence(literal("{"), inside if least or any(r for _, r in members) else _maybe(inside), literal("}"))

    def _members(self, members: Sequence[tuple[str, bool]], other: str | None, more: int | None) -> str:
        """Return at least one of the members in their order and at most `more` others behind them."""
        others = "" if other is None else _times(f"({_COMMA} {other})", 0, more)
        tails = [others]
        for member, required in reversed(members):
            following = sequence(_COMMA, member)
            tails.insert(0, self._rules.add("more", sequence(following if required else _maybe(following), tails[0])))
        firsts = []
        for (member, required), tail in zip(members, tails[1:], strict=True):
            firsts.append(sequence(member, tail))
            if required:
                return alternatives(firsts)
        if other is not None and more != 0:
            firsts.append(sequence(other, _times(f"({_COMMA} {other})", 0, None if more is None else more - 1)))
        return alternatives(firsts) if firsts else ""

    def _array(self, case: Schema, path: str, depth: int) -> str | None:
        least, most = int(case.get("minItems", 0)), case.get("maxItems")
        prefix, item = self._items(case, path, depth)
        if item is None or ("prefixItems" in case and "items" not in case):
            longest = len(prefix) if item is None else max(len(prefix), least)
            most = longest if most is None else min(longest, int(most))
        if most is not None and least > most:
            return None
        n_prefix = len(prefix) if most is None else min(len(prefix), int(most))
        bounds = max(0, least - n_prefix), None if most is None else int(most) - n_prefix
        inside = self._listed(item, *bounds, first=n_prefix == 0)
        for index in reversed(range(n_prefix)):
            body = sequence(_COMMA if index else "", prefix[index], inside)
            inside = self._rules.add("items", body if index < least else _maybe(body))
        return sequence(literal("["), inside, literal("]"))

    def _items(self, case: Schema, path: str, depth: int) -> tuple[list[str], str | None]:
        """Return the expressions for the first items, as far as there may be any, and for those behind them."""
        prefix: list[str] = []
        for index, schema in enumerate(case.get("prefixItems", ())):
            found = self.value(schema, f"{path}.prefixItems[{index}]", depth + 1)
            if found is None:
                return prefix, None
            prefix.append(found)
        return prefix, self.value(case.get("items", True), f"{path}.items", depth + 1)

    def _listed(self, item: str | None, least: int, most: int | None, *, first: bool) -> str:
        """Return so many items; `first` says that nothing stands before them."""
        if item is None or most == 0:
            return ""
        following = f"({_COMMA} {item})"
        if not first:
            return _times(following, least, most)
        more = sequence(item, _times(following, max(0, least - 1), None if most is None else most - 1))
        return more if least else _maybe(more)

    def _string(self, case: Schema, path: str) -> str | None:
        least, most = int(case.get("minLength", 0)), case.get("maxLength")
        most = None if most is None else int(most)
        if most is not None and least > most:
            return None
        keyword = next((key for key in ("pattern", "format") if key in case), None)
        if keyword is None:
            return string_between(self._rules, least, most)
        if "pattern" in case and "format" in case:
            raise SchemaError(f"{path}.format", "not supported next to a pattern")
        node = pattern.parse(case["pattern"] if keyword == "pattern" else FORMATS[case["format"]])
        try:
            held = within(node, least, most)
        except TooLargeError as error:
            raise SchemaError(f"{path}.{keyword}", str(error)) from error
        if held is None:
            raise SchemaError(f"{path}.{keyword}", "not supported next to these bounds of the length")
        return None if held == NOTHING else string_of(self._rules, held)

    def _number(self, name: str, case: Schema, path: str) -> str | None:
        try:
            body = number_expression(name, case)
        except ValueError as error:
            raise SchemaError(f"{path}.multipleOf", str(error)) from error
        return body if body is None or body.startswith("json-") else self._rules.add(name, body)


def _about(name: str, case: Schema) -> Mapping[str, Any]:
    """Return the keywords of `case` that say something about values of type `name`."""
    keywords = KEYWORDS_OF.get("number" if name == "integer" else name, ())
    return {key: case[key] for key in keywords if key in case}


def _maybe(expression: str) -> str:
    return f"({expression})?" if expression else ""


def _times(item: str, least: int, most: int | None) -> str:
    return "" if most == 0 else f"{item}{{{least},{'' if most is None else most}}}"
