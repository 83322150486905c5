"""Reads calls that are no JSON: keyword arguments as in Python, and Gemma's own way of writing values.

    on(name="Lamp", brightness=50)             keyword_call
    on.call(name="Lamp")                       keyword_call with the suffix `.call`
    on{brightness:50,name:<escape>Lamp<escape>}  braces_call, behind `call:`; Gemma 4 quotes with `<|"|>`

The arguments are known when the call is complete. A reader is a script, a generator that is sent one character after
the other, so that it can be written as if it read a whole text.
Source of the braces: Gemma 4's chat template, `format_argument`; FunctionGemma's model card.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from zoe_server.llama.constraint.grammar import json_text
from zoe_server.llama.dialects.call_reader import Call, CallReader

T = TypeVar("T")
Script = Generator[None, str, T]
Arguments = dict[str, Any]

_QUOTES: Final = ('"', "'", "<escape>", '<|"|>')
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_HEX_DIGITS: Final = {"u": 4, "x": 2}
_WORDS: Final = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_NUMBER: Final = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")
_NAME: Final = re.compile(r"[\w.:/-]{1,256}")
_MAX_WORD: Final = 400
_MAX_DEPTH: Final = 64
"""Values nested deeper are no call: reading them recurses."""
_KEY_END: Final = frozenset(":=,(){}[]")


class NotACallError(ValueError):
    """What was read cannot become a call any more."""


class LiteralCall(CallReader):
    """Reads the one call that a script describes."""

    def __init__(self, script: Callable[[_Characters], Script[tuple[str, Arguments]]], *ends: str) -> None:
        self.ends = ends
        self._characters = _Characters()
        self._script = script(self._characters)
        self._call: tuple[str, Arguments] | None = None
        next(self._script)

    @property
    def tool(self) -> str | None:
        """The name, as soon as the arguments begin."""
        return self._characters.tool

    @property
    def likely(self) -> bool:
        """Whether the arguments began."""
        return self.tool is not None

    def feed(self, char: str) -> bool:
        """Take the next character; False if the call does not go on like this."""
        try:
            self._script.send(char)
        except StopIteration as end:
            self._call, self.complete = end.value, True
        except NotACallError:
            return False
        return True

    def call(self) -> Call | None:
        """Return the name, and the arguments as JSON."""
        return (self._call[0], json_text(self._call[1])) if self._call else None


class _Characters:
    """The characters that a script is sent; it can put one of them back."""

    def __init__(self) -> None:
        self._back = ""
        self.tool: str | None = None

    def take(self) -> Script[str]:
        """Return the next character."""
        char, self._back = self._back, ""
        return char or (yield)

    def put_back(self, char: str) -> None:
        """Let `char` be the next character."""
        self._back = char

    def solid(self) -> Script[str]:
        """Return the next character that is no white space."""
        while (char := (yield from self.take())).isspace():
            pass
        return char

    def word(self, ends: Callable[[str], bool]) -> Script[str]:
        """Return the characters up to one that ends the word, which stays where it is."""
        word = yield from self.solid()
        while not ends(char := (yield from self.take())):
            word += char
            if len(word) > _MAX_WORD:
                raise NotACallError(word)
        self.put_back(char)
        return word.rstrip()


def keyword_call(suffix: str = "") -> Callable[[_Characters], Script[tuple[str, Arguments]]]:
    """Return the script of `name(key=value, ...)`, with `suffix` behind the name."""

    def script(characters: _Characters) -> Script[tuple[str, Arguments]]:
        name = yield from _name(characters, "(")
        if not name.endswith(suffix):
            raise NotACallError(name)
        characters.tool = name.removesuffix(suffix)
        return characters.tool, (yield from _members(characters, "=", ")", 1))

    return script


def braces_call(characters: _Characters) -> Script[tuple[str, Arguments]]:
    """Read `name{key:value,...}`."""
    characters.tool = name = yield from _name(characters, "{")
    return name, (yield from _members(characters, ":", "}", 1))


def _name(characters: _Characters, end: str) -> Script[str]:
    name = ""
    while (char := (yield from characters.take())) != end:
        name += char
        if not _NAME.fullmatch(name):
            raise NotACallError(name)
    return name


def _members(characters: _Characters, assign: str, end: str, depth: int) -> Script[Arguments]:
    """Read keys and values up to `end`."""
    found: Arguments = {}
    char = yield from characters.solid()
    while char != end:
        key = yield from _key(characters, char)
        if (yield from characters.solid()) != assign:
            raise NotACallError(key)
        found[key] = yield from _value(characters, (yield from characters.solid()), depth)
        char = yield from _behind_value(characters, end)
    return found


def _items(characters: _Characters, depth: int) -> Script[list[Any]]:
    found = []
    char = yield from characters.solid()
    while char != "]":
        found.append((yield from _value(characters, char, depth)))
        char = yield from _behind_value(characters, "]")
    return found


def _behind_value(characters: _Characters, end: str) -> Script[str]:
    """Return the first character of what follows a value: of the next one, or `end`."""
    char = yield from characters.solid()
    if char == ",":
        return (yield from characters.solid())
    if char != end:
        raise NotACallError(char)
    return char


def _key(characters: _Characters, first: str) -> Script[str]:
    if any(quote.startswith(first) for quote in _QUOTES):
        return (yield from _string(characters, first))
    characters.put_back(first)
    return (yield from characters.word(lambda char: char in _KEY_END))


def _value(characters: _Characters, first: str, depth: int) -> Script[Any]:
    if depth > _MAX_DEPTH:
        raise NotACallError("too deep")
    if first == "[":
        return (yield from _items(characters, depth + 1))
    if first == "{":
        return (yield from _members(characters, ":", "}", depth + 1))
    if any(quote.startswith(first) for quote in _QUOTES):
        return (yield from _string(characters, first))
    characters.put_back(first)
    word = yield from characters.word(lambda char: char.isspace() or char in _KEY_END)
    return _WORDS[word] if word in _WORDS else _number(word)


def _number(word: str) -> int | float:
    if not _NUMBER.fullmatch(word):
        raise NotACallError(word)
    number = float(word) if set(word) & set(".eE") else int(word)
    if not math.isfinite(number):
        raise NotACallError(word)
    return number


def _string(characters: _Characters, quote: str) -> Script[str]:
    """Read a string from the first character of its quotes on."""
    while quote not in _QUOTES:
        quote += yield from characters.take()
        if not any(each.startswith(quote) for each in _QUOTES):
            raise NotACallError(quote)
    text = ""
    while True:
        char = yield from characters.take()
        if char == "\\" and len(quote) == 1:
            text += yield from _escaped(characters)
            continue
        text += char
        if text.endswith(quote):
            break
    return text.removesuffix(quote).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _escaped(characters: _Characters) -> Script[str]:
    """Return what an escape means; the backslash is already read."""
    char = yield from characters.take()
    if char not in _HEX_DIGITS:
        return _ESCAPES.get(char, char)
    digits = ""
    while len(digits) < _HEX_DIGITS[char]:
        digits += yield from characters.take()
    try:
        return chr(int(digits, 16))
    except ValueError as error:
        raise NotACallError(digits) from error
