"""Reads the regular expressions of JSON schemas into trees (`regular.py`).

The subset: characters, classes, `\\d \\w \\s` and their opposites, `.`, groups, `|`, the quantifiers (greedy or not),
`^` at the very beginning and `$` at the very end of an alternative; without them a pattern may match anywhere in the
string. What is not regular (references, looking around, word boundaries) or differs from one dialect of regular
expressions to the next is refused. Source: ECMA-262, 22.2, with the flag `u`.
"""

from __future__ import annotations

import re
from typing import Final

from zoe_server.llama.regular import (
    ANY,
    Chars,
    Node,
    Ranges,
    TooLargeError,
    complement,
    either,
    limited,
    repeat,
    sequence,
    union,
    weight,
)

MAX_COUNT: Final = 1000
"""Larger numbers in a quantifier are refused."""
MAX_LENGTH: Final = 4000
"""Longer patterns are refused."""
MAX_WEIGHT: Final = 5000
"""Patterns whose parts are repeated more often in all, nested quantifiers multiplied, are refused."""
MAX_GROUPS: Final = 30
"""Groups nested deeper are refused."""

_DIGIT: Final = ((0x30, 0x39),)
_WORD: Final = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACES: Final = (0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF)
_SPACE: Final = union([(0x09, 0x0D), *((code, code) for code in _SPACES)])
_SETS: Final = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_SETS_AND_OPPOSITES: Final = {**_SETS, **{name.upper(): complement(ranges) for name, ranges in _SETS.items()}}
_DOT: Final = complement(((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)))
_CONTROLS: Final = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}
_CODE: Final = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}")
_COUNT: Final = re.compile(r"\{([0-9]{1,9})(,?)([0-9]{0,9})\}")
_QUANTIFIERS: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_QUANTIFIER_STARTS: Final = frozenset("*+?{")
_GROUP_NAME: Final = re.compile(r"<[A-Za-z_][A-Za-z0-9_]*>")
_SURROGATES: Final = range(0xD800, 0xE000)


class PatternError(ValueError):
    """The pattern is wrong or not in the subset; the message says why."""


def parse(pattern: str) -> Node:
    """Return the tree of the strings in which `pattern` matches.

    Raises:
        PatternError: the pattern is wrong, too large, or not in the subset.
    """
    if len(pattern) > MAX_LENGTH:
        raise PatternError(f"is longer than {MAX_LENGTH} characters")
    try:
        node = limited(_Reader(pattern).whole())
    except TooLargeError as error:
        raise PatternError(str(error)) from error
    if weight(node) > MAX_WEIGHT:
        raise PatternError(f"repeats its parts more than {MAX_WEIGHT} times in all")
    return node


class _Reader:
    """The pattern, and how far it was read."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._n_open = 0

    def whole(self) -> Node:
        """Return the tree of the pattern, each alternative of which may be anchored."""
        options = [self._anchored()]
        while self._take("|"):
            options.append(self._anchored())
        if self._at < len(self._pattern):
            raise PatternError("has a ')' without its '('")
        return either(options)

    def _take(self, text: str) -> bool:
        """Step over `text` if it comes next."""
        found = self._pattern.startswith(text, self._at)
        self._at += len(text) * found
        return found

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise PatternError("ends too early")
        self._at += 1
        return self._pattern[self._at - 1]

    @property
    def _coming(self) -> str:
        """The next character; empty at the end."""
        return self._pattern[self._at : self._at + 1]

    def _anchored(self) -> Node:
        anything = repeat(ANY, 0, None)
        first = [] if self._take("^") else [anything]
        middle = self._sequence()
        last = [] if self._take("$") else [anything]
        if self._coming not in ("", "|", ")"):
            raise PatternError("has '^' or '$' elsewhere than at the beginning or the end of an alternative")
        return sequence([*first, middle, *last])

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._coming not in ("", "|", ")", "$"):
            parts.append(self._quantified(self._atom()))
        return sequence(parts)

    def _quantified(self, item: Node) -> Node:
        if self._coming not in _QUANTIFIER_STARTS:
            return item
        least, most = self._quantifier()
        self._take("?")
        if self._coming in _QUANTIFIER_STARTS:
            raise PatternError("repeats a repetition")
        return repeat(item, least, most)

    def _quantifier(self) -> tuple[int, int | None]:
        if (known := _QUANTIFIERS.get(self._pattern[self._at])) is not None:
            self._at += 1
            return known
        found = _COUNT.match(self._pattern, self._at)
        if found is None or (found[3] and not found[2]):
            raise PatternError("has a '{' that begins no quantifier; write '\\{' for the character")
        self._at = found.end()
        least = int(found[1])
        most = int(found[3]) if found[3] else None if found[2] else least
        if max(least, most or 0) > MAX_COUNT:
            raise PatternError(f"repeats more than {MAX_COUNT} times")
        if most is not None and most < least:
            raise PatternError("has a quantifier whose numbers are in the wrong order")
        return least, most

    def _atom(self) -> Node:
        match self._next():
            case "(":
                return self._group()
            case "[":
                return Chars(self._class())
            case ".":
                return Chars(_DOT)
            case "\\":
                return Chars(self._escape())
            case "^":
                raise PatternError("has '^' elsewhere than at the beginning of an alternative")
            case "*" | "+" | "?" | "{":
                raise PatternError("has a quantifier with nothing before it")
            case "]" | "}" as char:
                raise PatternError(f"has a {char!r} of its own; write '\\{char}' for the character")
            case char:
                return Chars(((ord(char), ord(char)),))

    def _group(self) -> Node:
        self._n_open += 1
        if self._n_open > MAX_GROUPS:
            raise PatternError(f"has groups nested more than {MAX_GROUPS} deep")
        if self._take("?") and not self._take(":"):
            named = _GROUP_NAME.match(self._pattern, self._at)
            if named is None:
                raise PatternError("looks ahead, looks behind or sets flags")
            self._at = named.end()
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        if not self._take(")"):
            raise PatternError("has '$' inside a group" if self._take("$") else "has a '(' without its ')'")
        self._n_open -= 1
        return either(options)

    def _escape(self) -> Ranges:
        """Return the characters of what follows a backslash."""
        if (found := _CODE.match(self._pattern, self._at)) is not None:
            self._at = found.end()
            code = int(found[1] or found[2] or found[3], 16)
            if code in _SURROGATES or code > ord("\U0010ffff"):
                raise PatternError("names a code that is no character")
            return ((code, code),)
        char = self._next()
        if char in _SETS_AND_OPPOSITES:
            return _SETS_AND_OPPOSITES[char]
        if (char.isalnum() and char not in _CONTROLS) or ord(char) < ord(" "):
            raise PatternError(f"has '\\{char}', which is not supported")
        code = _CONTROLS.get(char, ord(char))
        return ((code, code),)

    def _class(self) -> Ranges:
        negated = self._take("^")
        if self._take("]"):
            raise PatternError("has an empty class")
        found: list[tuple[int, int]] = []
        while not self._take("]"):
            found += self._class_member()
        ranges = union(found)
        ranges = complement(ranges) if negated else ranges
        if not ranges:
            raise PatternError("has a class that no character is in")
        return ranges

    def _class_member(self) -> Ranges:
        """Return one character, one set such as `\\d`, or one range."""
        low = self._class_char()
        if not self._take("-"):
            return low
        if self._coming == "]":
            return (*low, (ord("-"), ord("-")))
        high = self._class_char()
        if any(len(end) != 1 or end[0][0] != end[0][1] for end in (low, high)) or high[0][0] < low[0][0]:
            raise PatternError("has a class with a range of no order")
        return ((low[0][0], high[0][0]),)

    def _class_char(self) -> Ranges:
        char = self._next()
        if char == "[":
            raise PatternError("has a '[' inside a class; write '\\[' for the character")
        return self._escape() if char == "\\" else ((ord(char), ord(char)),)
