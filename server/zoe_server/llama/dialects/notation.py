"""How values are written: as JSON, as Python's keyword arguments, or in the braces of Gemma.

    {"name": "Lamp", "on": true, "to": [1, 2]}                      JSON
    (name="Lamp", on=True, to=[1, 2])                               KEYWORDS, inside them as in JSON
    {name:<escape>Lamp<escape>,on:true,to:[1,2]}                    ESCAPED, of FunctionGemma; keys in alphabetic order
    {name:<|"|>Lamp<|"|>,on:true,to:[1,2]}                          QUOTED, of Gemma 4; likewise

JSON is held to its schema by llguidance, which knows no other notation; in those, calls are held to the names, types,
values and numbers of the schema, and to none of its patterns and lengths.
Source of Gemma's braces: Gemma 4's chat template, `format_argument`; FunctionGemma's model card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from zoe_server.argument_values import Schema, branches, types
from zoe_server.llama.constraint.grammar import Rules, alternatives, json_text, literal, sequence
from zoe_server.llama.constraint.tool_schema import properties

_MAX_DEPTH: Final = 8
"""Schemas nested deeper admit any value from there on."""
_NUMBERS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_STRINGS: Final = ("minLength", "maxLength", "pattern")


@dataclass(frozen=True, slots=True)
class Notation:
    """The texts between values.

    Objects have braces and `colon`; the arguments as a whole have `brackets` and `assign`. `quote` stands on both sides
    of a string, and of a key where keys are `quoted`. `words` are true, false and null. In `alphabetic` notations keys
    are sorted.
    """

    quote: str = '"'
    comma: str = ", "
    colon: str = ": "
    quoted: bool = True
    brackets: tuple[str, str] = ("{", "}")
    assign: str = ": "
    words: tuple[str, str, str] = ("true", "false", "null")
    alphabetic: bool = False

    def text(self, value: object) -> str:
        """Return how a JSON value is written."""
        if value is None or isinstance(value, bool):
            return self.words[2 if value is None else int(not value)]
        if isinstance(value, str):
            return json_text(value) if self.quote == '"' else f"{self.quote}{value}{self.quote}"
        if isinstance(value, list | tuple):
            return f"[{self.comma.join(self.text(each) for each in value)}]"
        if isinstance(value, Mapping):
            return f"{{{self.comma.join(self.key(key) + self.text(each) for key, each in value.items())}}}"
        return json_text(value)

    def key(self, name: str) -> str:
        """Return how a key inside a value is written, up to that key's value."""
        return (json_text(name) if self.quoted else name) + self.colon

    def arguments(self, rules: Rules, schema: Schema) -> str:
        """Return the expression for the arguments of a tool with this schema; rules it needs are added to `rules`."""
        return rules.json(schema, lenient=True) if self == JSON else _Values(self, rules).arguments(schema)


JSON: Final = Notation()
KEYWORDS: Final = Notation(brackets=("(", ")"), assign="=", words=("True", "False", "None"))
ESCAPED: Final = Notation("<escape>", ",", ":", quoted=False, assign=":", alphabetic=True)
QUOTED: Final = Notation('<|"|>', ",", ":", quoted=False, assign=":", alphabetic=True)


class _Values:
    """Turns schemas into expressions of `rules`, in a notation that is not JSON."""

    def __init__(self, notation: Notation, rules: Rules) -> None:
        self._notation = notation
        self._rules = rules
        self._any_value = ""

    def arguments(self, schema: Schema) -> str:
        notation = self._notation
        start, end = notation.brackets
        members = [(f"{name}{notation.assign}", value, required) for name, value, required in self._sorted(schema)]
        if not members and (found := [each for each in branches(schema, "anyOf") if isinstance(each, Mapping)]):
            return alternatives(map(self.arguments, found))
        if not members:
            additional = schema.get("additionalProperties", True)
            return literal(start + end) if additional is False else self._map(additional, start, notation.assign, end)
        return self._rules.add("args", self._object(start, members, end, 0))

    def _sorted(self, schema: Schema) -> list[tuple[str, object, bool]]:
        members = list(properties(schema))
        return sorted(members, key=lambda each: each[0].lower()) if self._notation.alphabetic else members

    def _value(self, schema: object, depth: int) -> str:
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or schema.keys() & {"$ref", "allOf"}:
            return self._anything()
        if values := branches(schema, "enum"):
            return self._rules.add("enum", alternatives(literal(self._notation.text(value)) for value in values))
        if found := branches(schema, "anyOf"):
            return self._rules.add("any", alternatives(self._value(branch, depth + 1) for branch in found))
        return alternatives(self._typed(name, schema, depth) for name in types(schema))

    def _typed(self, name: str, schema: Schema, depth: int) -> str:
        true, false, null = map(literal, self._notation.words)
        match name:
            case "object":
                members = [(self._notation.key(key), value, required) for key, value, required in self._sorted(schema)]
                additional = schema.get("additionalProperties", True)
                if members or additional is False:
                    return self._rules.add("object", self._object("{", members, "}", depth + 1))
                return self._map(additional, "{", self._notation.colon, "}")
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._string(schema)
            case "integer" | "number":
                return self._rules.json({"type": name, **_only(schema, _NUMBERS)}, lenient=True)
        return {"boolean": f"({true} | {false})", "null": null}.get(name) or self._anything()

    def _string(self, schema: Schema) -> str:
        quote = self._notation.quote
        if quote == '"':
            return self._rules.json({"type": "string", **_only(schema, _STRINGS)}, lenient=True)
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if not least and most is None:
            return self._rules.add("string", sequence(literal(quote), self._rules.until(quote)))
        char = f"[^{quote[0]}]"  # with a bound, no string has the first character of a quote
        text = "" if most == 0 else self._rules.pattern(f"{char}{{{max(1, least)},{'' if most is None else most}}}")
        return self._rules.add(
            "string", sequence(literal(quote), text if least or not text else f"{text}?", literal(quote))
        )

    def _array(self, schema: Schema, depth: int) -> str:
        most = schema.get("maxItems")
        if most == 0:
            return literal("[]")
        item, comma = self._value(schema.get("items", {}), depth + 1), literal(self._notation.comma)
        least = schema.get("minItems", 0)
        inner = f"{item} ({comma} {item}){{{max(0, least - 1)},{'' if most is None else most - 1}}}"
        return self._rules.add("array", sequence(literal("["), inner if least else f"({inner})?", literal("]")))

    def _object(self, start: str, members: Sequence[tuple[str, object, bool]], end: str, depth: int) -> str:
        written = [
            (sequence(literal(key), self._value(value, depth + 1)), required) for key, value, required in members
        ]
        return sequence(literal(start), self._members(written) if written else "", literal(end))

    def _members(self, members: Sequence[tuple[str, bool]]) -> str:
        """Return the expression for the members in their order; a rule for each tail keeps the size linear."""
        tails = [""]
        for member, required in reversed(members):
            following = sequence(literal(self._notation.comma), member)
            tails.insert(0, self._rules.add("more", sequence(following if required else f"({following})?", tails[0])))
        firsts = []
        for (member, required), tail in zip(members, tails[1:], strict=True):
            firsts.append(sequence(member, tail))
            if required:
                return alternatives(firsts)
        return "(" + " | ".join(firsts) + ")?"

    def _map(self, additional: object, start: str, colon: str, end: str) -> str:
        """Return the expression for an object whose keys nobody names."""
        value = self._value(additional, 1) if isinstance(additional, Mapping) else self._anything()
        return self._rules.add("map", self._mapping(start, colon, value, end))

    def _mapping(self, start: str, colon: str, value: str, end: str) -> str:
        quoted = self._notation.quoted and start == "{"
        key = self._rules.json({"type": "string"}, lenient=True) if quoted else self._rules.pattern("[a-zA-Z0-9_-]+")
        member = sequence(key, literal(colon), value)
        return sequence(literal(start), f"({member} ({literal(self._notation.comma)} {member})*)?", literal(end))

    def _anything(self) -> str:
        if not self._any_value:
            name = self._any_value = self._rules.reserve("value")
            kinds = [self._string({}), self._rules.json({"type": "number"}, lenient=True)]
            kinds += map(literal, self._notation.words)
            comma = literal(self._notation.comma)
            kinds.append(sequence(literal("["), f"({name} ({comma} {name})*)?", literal("]")))
            kinds.append(self._mapping("{", self._notation.colon, name, "}"))
            self._rules.define(name, " | ".join(kinds))
        return self._any_value


def _only(schema: Schema, keywords: tuple[str, ...]) -> dict[str, object]:
    """Return those keywords of `schema`."""
    return {key: schema[key] for key in keywords if key in schema}
