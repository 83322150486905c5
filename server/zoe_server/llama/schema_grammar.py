"""JSON schema to GBNF: which texts satisfy a tool's parameters, in JSON as `json.dumps` writes it or another notation.

Honoured: type (also a list), properties in the order of the schema with `required`, nested objects and arrays with
minItems/maxItems, enum, const, minLength/maxLength, minimum/maximum (also exclusive), additionalProperties where there
are no properties, anyOf/oneOf/allOf, local `$ref` with recursion, nullable. Everything else (pattern, format, not, if,
...) is ignored, so that the grammar admits more than the schema but never less, except for the fixed order of the
properties. Whoever calls a tool still validates its arguments. A schema that makes no sense admits any JSON value;
nothing is raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from zoe_server.llama import json_schema
from zoe_server.llama.grammar import Rules, alternatives, choice, literal, sequence
from zoe_server.llama.json_schema import Document, Schema
from zoe_server.llama.notation import JSON, Notation
from zoe_server.llama.number_grammar import integer_between, number_between

MAX_DEPTH: Final = 40
"""Schemas nested deeper admit any JSON value from there on."""
MAX_STRING: Final = 512
"""Larger bounds on a string's length are not counted: llama.cpp writes one rule per character."""
MAX_ITEMS: Final = 128
"""Larger bounds on the number of items are not counted."""


def arguments(rules: Rules, parameters: Schema, values: Mapping[str, Sequence[str]], notation: Notation = JSON) -> str:
    """Return the expression for a tool's arguments; rules it needs are added to `rules`.

    `values` limits arguments by name to strings that exist (see `json_schema.grounded`). A tool without properties
    takes none.
    """
    document = Document(parameters)
    schema = {"type": "object", "properties": {}, **document.resolve(parameters)}
    properties = schema["properties"]
    if isinstance(properties, Mapping):
        schema["properties"] = {
            name: json_schema.grounded(value, values[name], document) if values.get(name) else value
            for name, value in properties.items()
        }
    grammar = _SchemaGrammar(rules, document, notation)
    return grammar.value(schema, 0, frozenset(), outermost=bool(notation.assign))


class _SchemaGrammar:
    """Turns the schemas of one document into rules of `rules`.

    In `value`, `above` are the references being built for the very same position of the text: a rule must not start
    with itself, which llama.cpp refuses as left recursion. `outermost` says that the value is all arguments at once,
    in a notation that writes them otherwise than an object inside them.
    """

    def __init__(self, rules: Rules, document: Document, notation: Notation) -> None:
        self._rules = rules
        self._document = document
        self._notation = notation
        self._any_value = notation.rule("value")
        self._references: dict[str, str] = {}
        self._starts: dict[str, set[str]] = {}
        """The references whose text may start with another reference's text, and with which; free of cycles."""

    def value(self, schema: object, depth: int, above: frozenset[str], *, outermost: bool = False) -> str:
        """Return the expression for `schema`, which is a rule's name, a literal or an alternation in parentheses."""
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH or not self._document.spend():
            return self._anything(outermost=outermost)
        if isinstance(schema.get("$ref"), str) and json_schema.is_only(schema, "$ref") and not outermost:
            return self._reference(schema["$ref"], depth, above)
        if "$ref" in schema:
            schema = self._document.resolve(schema)
        if json_schema.branches(schema, "allOf"):
            return self._all_of(schema, depth, above, outermost=outermost)
        if (fixed := json_schema.fixed_values(schema)) is not None and not outermost:
            return self._rules.add("enum", choice({self._notation.text(value): "" for value in fixed}))
        for keyword in ("anyOf", "oneOf"):
            if json_schema.branches(schema, keyword):
                return self._any_of(schema, keyword, depth, above, outermost=outermost)
        return self._of_type(schema, depth, outermost=outermost)

    def _of_type(self, schema: Schema, depth: int, *, outermost: bool) -> str:
        if outermost:
            return self._rules.add("object", self._object(schema, depth, outermost=True))
        return self._one_of("types", [self._typed(name, schema, depth) for name in json_schema.types(schema)])

    def _anything(self, *, outermost: bool) -> str:
        return self._map({}, 0, outermost=True) if outermost else self._any_value

    def _one_of(self, stem: str, parts: Sequence[str]) -> str:
        return parts[0] if len(set(parts)) == 1 else self._rules.add(stem, alternatives(parts))

    def _reference(self, reference: str, depth: int, above: frozenset[str]) -> str:
        if above & self._reachable(reference):
            return self._any_value
        for other in above:
            self._starts[other].add(reference)
        if reference not in self._references:
            self._starts[reference] = set()
            name = self._references[reference] = self._rules.reserve("ref")
            self._rules.define(name, self.value(self._document.target(reference), depth + 1, above | {reference}))
        return self._references[reference]

    def _reachable(self, reference: str) -> set[str]:
        """Return the references with which a text of this reference may start, itself included."""
        found = [reference]
        for name in found:  # grows while it is walked
            found += [other for other in self._starts.get(name, ()) if other not in found]
        return set(found)

    def _all_of(self, schema: Schema, depth: int, above: frozenset[str], *, outermost: bool) -> str:
        found = json_schema.branches(schema, "allOf")
        if len(found) == 1 and json_schema.is_only(schema, "allOf"):
            return self.value(found[0], depth + 1, above, outermost=outermost)
        if not self._document.spend(len(found)):
            return self._anything(outermost=outermost)
        whole: Schema = {key: value for key, value in schema.items() if key != "allOf"}
        for branch in found:
            whole = json_schema.merged(whole, self._document.resolve(branch))
        return self.value(whole, depth + 1, above, outermost=outermost)

    def _any_of(self, schema: Schema, keyword: str, depth: int, above: frozenset[str], *, outermost: bool) -> str:
        found = json_schema.branches(schema, keyword)
        if not json_schema.is_only(schema, keyword):
            rest = {key: value for key, value in schema.items() if key != keyword}
            found = [json_schema.merged(self._document.resolve(branch), rest) for branch in found]
        return self._one_of("any", [self.value(branch, depth + 1, above, outermost=outermost) for branch in found])

    def _typed(self, name: str, schema: Schema, depth: int) -> str:
        match name:
            case "object":
                return self._rules.add("object", self._object(schema, depth))
            case "array":
                return self._rules.add("array", self._array(schema, depth))
            case "string":
                return self._string(schema)
            case "integer" | "number":
                return self._number(name, schema)
        true, false, null = map(literal, self._notation.words)
        return {"boolean": f"({true} | {false})", "null": null}.get(name, self._any_value)

    def _object(self, schema: Schema, depth: int, *, outermost: bool = False) -> str:
        properties = list(json_schema.properties(schema))
        if self._notation.alphabetic:
            properties.sort(key=lambda each: each[0].lower())
        members = []
        for name, value, required in properties:
            key = literal(self._notation.key(name, outermost=outermost))
            members.append((sequence(key, self.value(value, depth + 1, frozenset())), required))
        if not members:
            return self._map(schema, depth, outermost=outermost)
        start, end = self._notation.brackets if outermost else ("{", "}")
        return sequence(literal(start), self._members(members), literal(end))

    def _members(self, members: Sequence[tuple[str, bool]]) -> str:
        """Return the expression for the members in their order; a rule for each tail keeps the size linear."""
        tails = [""]
        for member, required in reversed(members):
            following = sequence(literal(self._notation.comma), member)
            body = sequence(following if required else f"({following})?", tails[0])
            tails.insert(0, self._rules.add("more", body))
        firsts = []
        for (member, required), tail in zip(members, tails[1:], strict=True):
            firsts.append(sequence(member, tail))
            if required:
                return alternatives(firsts)
        return "(" + " | ".join(firsts) + ")?"

    def _map(self, schema: Schema, depth: int, *, outermost: bool) -> str:
        """Return the expression for an object without named properties: free if the schema does not say otherwise."""
        notation = self._notation
        start, end = notation.brackets if outermost else ("{", "}")
        additional = schema.get("additionalProperties", "properties" not in schema)
        if additional is False:
            return literal(start + end)
        value = self.value(additional, depth + 1, frozenset()) if isinstance(additional, Mapping) else self._any_value
        key, colon = (notation.name_rule, notation.assign) if outermost else (notation.key_rule, notation.colon)
        member = self._rules.add("member", sequence(key, literal(colon), value))
        return self._repeated(
            start, member, end, *json_schema.counts(schema, "minProperties", "maxProperties", MAX_ITEMS)
        )

    def _array(self, schema: Schema, depth: int) -> str:
        items = {} if "prefixItems" in schema else schema.get("items", {})
        item = self.value(items, depth + 1, frozenset())
        least, most = json_schema.counts(schema, "minItems", "maxItems", MAX_ITEMS)
        return self._repeated("[", item, "]", least, most)

    def _string(self, schema: Schema) -> str:
        least, most = json_schema.counts(schema, "minLength", "maxLength", MAX_STRING)
        if least == 0 and most is None:
            return self._notation.rule("string")
        quote, char = literal(self._notation.quote), self._notation.rule("char")
        times = f"{{{least},{'' if most is None else most}}}"
        return self._rules.add("string", f"{quote} {char}{times} {quote}" if most != 0 else f"{quote} {quote}")

    def _number(self, name: str, schema: Schema) -> str:
        low, high = json_schema.number_limits(schema)
        if low is None and high is None:
            return f"json-{name}"
        body = integer_between(*json_schema.integer_limits(schema)) if name == "integer" else number_between(low, high)
        return f"json-{name}" if body is None else self._rules.add(name, body)

    def _repeated(self, start: str, item: str, end: str, least: int, most: int | None) -> str:
        if most == 0:
            return literal(start + end)
        times = f"{{{max(0, least - 1)},{'' if most is None else most - 1}}}"
        inner = item if most == 1 else f"{item} ({literal(self._notation.comma)} {item}){times}"
        return sequence(literal(start), inner if least else f"({inner})?", literal(end))
