"""GBNF, the language of llama.cpp's grammars: literals, alternations without common beginnings, and a book of rules.

The matcher in llama.cpp keeps one stack per way the text could still go on and tries every candidate token on each of
them, so alternatives are written as a trie: forty names cost as many stacks as there are different next characters.
This module knows nothing of JSON schemas, tools or models. Source of the syntax: llama.cpp, `grammars/README.md`.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

MAX_TRIE_DEPTH: Final = 40
"""Deeper tries are cut off into plain alternations: llama.cpp's parser and ours both recurse once per level."""

_GBNF_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Grammar:
    """A GBNF grammar whose root rule is `root`.

    A lazy grammar sleeps until the generated text contains one of `triggers`, or until the answer begins with one of
    `openings`: at its start or behind one of `reasoning_ends`, white space aside. From the first character of that on,
    the text must match. After a complete match only the end of generation is possible.
    """

    gbnf: str
    lazy: bool = False
    triggers: tuple[str, ...] = ()
    openings: tuple[str, ...] = ()
    reasoning_ends: tuple[str, ...] = ()


def json_text(value: object) -> str:
    """Return `value` as models trained on `json.dumps` write it: `", "` and `": "`, unicode unescaped.

    A lone surrogate, which has no UTF-8 form, stays an escape.
    """
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() else _LONE_SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def literal(text: str) -> str:
    """Return the GBNF expression that matches exactly `text`."""
    return '"' + "".join(_escape(char) for char in text) + '"'


def _escape(char: str) -> str:
    if char in _GBNF_ESCAPES:
        return _GBNF_ESCAPES[char]
    return f"\\x{ord(char):02X}" if char < " " or char == "\x7f" else char


def sequence(*parts: str) -> str:
    """Return the expression that matches the parts one after the other; empty parts vanish."""
    return " ".join(part for part in parts if part) or '""'


def alternatives(parts: Iterable[str]) -> str:
    """Return the expression that matches one of `parts`, each written once and in the order given."""
    unique = list(dict.fromkeys(parts))
    return unique[0] if len(unique) == 1 else "(" + " | ".join(unique) + ")"


def choice(options: Mapping[str, str]) -> str:
    """Return the expression that matches one of the keys followed by that key's expression (empty: nothing follows).

    Equal options in any order give equal text.
    """
    return _trie(sorted(options.items()), 0)


def _trie(options: list[tuple[str, str]], depth: int) -> str:
    if depth >= MAX_TRIE_DEPTH:
        return alternatives(sequence(literal(text) if text else "", tail) for text, tail in options)
    branches = []
    for _first, group in itertools.groupby(options, key=lambda option: option[0][:1]):
        members = list(group)
        shared = _common_beginning(members[0][0], members[-1][0])
        rest = [(text[len(shared) :], tail) for text, tail in members]
        tail = rest[0][1] if len(rest) == 1 else _trie(rest, depth + 1)
        branches.append(sequence(literal(shared) if shared else "", tail))
    return alternatives(branches)


def _common_beginning(first: str, last: str) -> str:
    """Return the common beginning of a sorted list of strings, given its first and last."""
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


# JSON without any white space but that of `json.dumps`. An escape of a high surrogate must be followed by its low one,
# so that one `json-char` is always one character of the decoded string.
_HEX: Final = "[0-9a-fA-F]"
JSON_RULES: Final[Mapping[str, str]] = {
    "json-value": 'json-object | json-array | json-string | json-number | "true" | "false" | "null"',
    "json-object": '"{" (json-member (", " json-member)*)? "}"',
    "json-member": 'json-string ": " json-value',
    "json-array": '"[" (json-value (", " json-value)*)? "]"',
    "json-string": '"\\"" json-char* "\\""',
    "json-char": '[ !#-\\x5B\\x5D-\\uD7FF\\uE000-\\U0010FFFF] | "\\\\" (["\\\\/bfnrt] | "u" json-code)',
    "json-code": (
        f"[0-9a-cA-CefEF] {_HEX} {_HEX} {_HEX} | [dD] [0-7] {_HEX} {_HEX}"
        f' | [dD] [89abAB] {_HEX} {_HEX} "\\\\u" [dD] [c-fC-F] {_HEX} {_HEX}'
    ),
    "json-number": '"-"? ("0" | [1-9] [0-9]{0,17}) ("." [0-9]{1,18})? ([eE] [-+]? [0-9]{1,2})?',
    "json-integer": '"0" | "-"? [1-9] [0-9]{0,17}',
}
_BASE_RULE_NAME: Final = re.compile("[a-z]+-[a-z]+")


class Rules:
    """The rules of one grammar. Equal bodies become one rule, so what forty tools share is written once.

    Bodies may refer to the rules of `base`, whose names have no digits.
    """

    def __init__(self, base: Mapping[str, str] = JSON_RULES) -> None:
        self._base = base
        self._bodies: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def add(self, stem: str, body: str) -> str:
        """Return the name of the rule with this body, which is new or already there; `stem` is made of a-z."""
        if body not in self._names:
            self._names[body] = self.reserve(stem)
            self._bodies[self._names[body]] = body
        return self._names[body]

    def reserve(self, stem: str) -> str:
        """Return a new name whose body `define` gives later, for rules that refer to themselves."""
        name = f"{stem}-{len(self._bodies)}"
        self._bodies[name] = ""
        return name

    def define(self, name: str, body: str) -> None:
        """Give a reserved name its body."""
        self._bodies[name] = body

    def render(self, root: str) -> str:
        """Return the GBNF text with `root` as the body of the root rule and the base rules that are used."""
        lines = [f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._bodies.items())]
        wanted = list(dict.fromkeys(name for line in lines for name in _references(line)))
        for name in wanted:  # grows while it is walked
            wanted += [other for other in _references(self._base[name]) if other not in wanted]
        return "\n".join([*lines, *(f"{name} ::= {self._base[name]}" for name in wanted)]) + "\n"


_STRINGS_AND_CLASSES: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]')


def _references(body: str) -> list[str]:
    """Return the base rules that `body` refers to, in order; the contents of literals do not count."""
    return list(dict.fromkeys(_BASE_RULE_NAME.findall(_STRINGS_AND_CLASSES.sub(" ", body))))
