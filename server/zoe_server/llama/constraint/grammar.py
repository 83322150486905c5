"""Grammars in the Lark dialect of llguidance: expressions, and the book of rules that they stand in.

This module knows no tools, no dialects and no models. Source of the syntax: llguidance, `docs/syntax.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_JSON_TEXT: Final = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": '"\\bfnrt',
}
"""Models were trained on what `json.dumps` writes; a character has one spelling, so that a name is no other name."""
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_MARKER: Final = re.compile(r"(<\|[^|<>]*\|>)")
_SLASH: Final = re.compile(r"(?<!\\)/")


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar whose first rule is `start`.

    A lazy grammar sleeps until the answer contains one of `triggers`, or until a line of it begins with one of
    `openings`, or with one of `json_openings` however white space stands in it; lines of reasoning do not count, which
    stands between one of the pairs of markers in `thinking`, at the start of the answer, and may have begun before it.
    From the first character of that on, the text must match. After a complete match only the end of generation is
    possible.
    """

    lark: str
    lazy: bool = False
    triggers: tuple[str, ...] = ()
    openings: tuple[str, ...] = ()
    json_openings: tuple[str, ...] = ()
    thinking: tuple[tuple[str, str], ...] = ()
    reasoning_open: bool = False


def json_text(value: object) -> str:
    """Return `value` as models trained on `json.dumps` write it: `", "` and `": "`, unicode unescaped.

    A lone surrogate, which has no UTF-8 form, stays an escape.
    """
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() else _LONE_SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def literal(text: str) -> str:
    """Return the expression that matches exactly `text`."""
    return json_text(text).replace("\x7f", "\\u007f")


def marked(text: str) -> str:
    """Return the expression for `text` with every marker such as `<|end|>` in it a word of its own.

    Words are told apart by looking one character ahead: where one text may go on differently behind a marker, so may
    all that begin with that marker.
    """
    return sequence(*(literal(part) for part in _MARKER.split(text) if part))


def sequence(*parts: str) -> str:
    """Return the expression that matches the parts one after the other; empty parts vanish."""
    return " ".join(part for part in parts if part) or '""'


def alternatives(parts: Iterable[str]) -> str:
    """Return the expression that matches one of `parts`, each written once and in the order given."""
    unique = list(dict.fromkeys(parts))
    return unique[0] if len(unique) == 1 else "(" + " | ".join(unique) + ")"


def choice(options: Mapping[str, str]) -> str:
    """Return the expression that matches one of the keys followed by that key's expression (empty: nothing follows)."""
    return alternatives(sequence(literal(text), tail) for text, tail in options.items())


def repeated(item: str, between: str, most: int) -> str:
    """Return the expression for one to `most` items with the expression `between` between them."""
    return f"{item} ({sequence(between, item)}){{0,{most - 1}}}" if most > 1 else item


class Rules:
    """The rules of one grammar. Equal bodies become one rule, so what forty tools share is written once."""

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def add(self, stem: str, body: str) -> str:
        """Return the name of the rule with this body, which is new or already there; `stem` is made of a-z."""
        return self._named(stem, "", body)

    def json(self, schema: Mapping[str, Any] | bool, *, lenient: bool) -> str:
        """Return the name of the rule for JSON that satisfies `schema`; `lenient` ignores keywords unknown to it."""
        whole = {**(schema if isinstance(schema, Mapping) else {} if schema else {"not": {}})}
        whole["x-guidance"] = {**_JSON_TEXT, "lenient": lenient}
        return self.add("json", f"%json {json.dumps(whole)}")

    def pattern(self, pattern: str) -> str:
        """Return the name of the rule for text that matches `pattern`, which must not match nothing."""
        return self._named("text", "", f"/{_SLASH.sub(chr(92) + '/', pattern)}/")

    def until(self, marker: str) -> str:
        """Return the name of the rule for any text without `marker`, and `marker` behind it."""
        return self._named("until", "[lazy]", f"/(.|\\n)*{_SLASH.sub(chr(92) + '/', re.escape(marker))}/")

    def reserve(self, stem: str) -> str:
        """Return a new name whose body `define` gives later, for rules that refer to themselves."""
        name = f"{stem}_{len(self._bodies)}"
        self._bodies[name] = ""
        return name

    def define(self, name: str, body: str) -> None:
        """Give a reserved name its body."""
        self._bodies[name] = f"{name}: {body}"

    def render(self, start: str) -> str:
        """Return the grammar with `start` as the body of its first rule."""
        return "\n".join(["%llguidance {}", f"start: {start}", *self._bodies.values()]) + "\n"

    def _named(self, stem: str, attributes: str, body: str) -> str:
        key = attributes + body
        if key not in self._names:
            name = self._names[key] = self.reserve(stem)
            self._bodies[name] = f"{name}{attributes}: {body}"
        return self._names[key]
