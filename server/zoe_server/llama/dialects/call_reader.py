"""Reads one call, character by character: the part that differs between the ways of writing one.

    {"name": "on", "arguments": {"name": "Lamp"}}      JsonCall
               {"name": "Lamp"}                        ArgumentsCall("on"), behind a marker that names the tool

What surrounds the calls is read by `call_parser.py`. This module knows no tools: a name is any name.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from zoe_server.llama.constraint.grammar import json_text
from zoe_server.llama.dialects.json_scanner import JsonScanner

Call = tuple[str, str]
"""A tool's name, and its arguments as JSON."""

_HEAD: Final = re.compile(
    r'\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,'
    r'\s*"(?:arguments|parameters)"\s*:\s*\{'
)


class CallReader(ABC):
    """Reads one call. `name` is set as soon as the arguments can be sent while they come, piece by piece.

    `fragment` is what the last character added to those arguments. Their last brace never is a fragment: it is sent
    when the call is complete.
    """

    name: str | None = None
    fragment = ""
    complete = False
    repaired = False
    """Whether `call` had to correct what it returned."""
    ends: tuple[str, ...] = ()
    """What may follow a complete call, each once, and is no text."""

    @abstractmethod
    def feed(self, char: str) -> bool:
        """Take the next character; False if no call goes on like this."""

    @abstractmethod
    def call(self) -> Call | None:
        """Return the call that is complete; None if it turned out to be none."""

    @property
    def tool(self) -> str | None:
        """The name, as soon as it is known."""
        return self.name

    @property
    def begun(self) -> bool:
        """Whether more came than what may stand before a call."""
        return True

    @property
    def likely(self) -> bool:
        """Whether what came so far can hardly be anything but a call."""
        return True

    @property
    def following(self) -> Mapping[str, Callable[[], CallReader]]:
        """What stands between a complete call and another one, and who reads that one."""
        return {}


class JsonCall(CallReader):
    """An object with name and arguments, which some models call parameters.

    In this order the arguments are sent as they come; any other order is read when the object is complete.
    """

    def __init__(self, *ends: str) -> None:
        self.ends = ends
        self.text = ""
        self._scanner = JsonScanner()
        self._streaming = False

    def feed(self, char: str) -> bool:
        """Take the next character; False if no JSON object goes on like this."""
        self.fragment = ""
        if not self._scanner.feed(char):
            return False
        self.text += char
        depth = self._scanner.depth
        self.complete = self._scanner.complete
        if self._streaming:
            self._streaming = depth > 1
        elif self.name is None and char == "{" and depth == 2:  # noqa: PLR2004 -- the call and its arguments
            self._streaming = self._find_name()
        self.fragment = char if self._streaming else ""
        return True

    def call(self) -> Call | None:
        """Return the name and the arguments."""
        call = decoded(self.text)
        if not isinstance(call, dict):
            return None
        function = call.get("function")
        call = function if isinstance(function, dict) else call
        name, arguments = call.get("name"), _arguments(call)
        self.repaired = function is call or call.get("arguments", call.get("parameters")) is not arguments
        return (name, json_text(arguments)) if isinstance(name, str) and arguments is not None else None

    def _find_name(self) -> bool:
        head = _HEAD.fullmatch(self.text)
        name = decoded(head[1]) if head else None
        self.name = name if isinstance(name, str) else None
        return self.name is not None


class ArgumentsCall(CallReader):
    """An object of arguments behind a marker that names the tool."""

    def __init__(self, name: str, *ends: str) -> None:
        self._tool = name
        self.ends = ends
        self._text = ""
        self._scanner = JsonScanner()

    def feed(self, char: str) -> bool:
        """Take the next character; False if no JSON object goes on like this."""
        if not self._scanner.feed(char):
            return False
        self._text += char
        self.complete = self._scanner.complete
        if self._scanner.depth:
            self.name = self._tool
        self.fragment = char if self._scanner.depth else ""
        return True

    def call(self) -> Call | None:
        """Return the name and the arguments."""
        arguments = decoded(self._text)
        return (self._tool, json_text(arguments)) if isinstance(arguments, dict) else None


def decoded(text: str) -> object:
    """Return the value of a JSON text; None if it is none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _arguments(call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a call's arguments, which some models write as a string of JSON, or not at all if there are none."""
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = decoded(arguments or "{}")
    return arguments if isinstance(arguments, dict) else None
