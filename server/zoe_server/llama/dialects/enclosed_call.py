"""Reads a call that may stand in a code fence and in a list, as models write it that print their calls as text.

    ```json
    [{"name": "on", "arguments": {...}}, {"name": "off", "arguments": {...}}]
    ```

    {{"name": "on", "arguments": {...}}}

Each call of a list has a reader of its own, which the reader before it makes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from string import ascii_letters
from typing import Final

from zoe_server.llama.dialects.call_reader import Call, CallReader, JsonCall

FENCE: Final = "```"
OPENERS: Final = ("{", "[", FENCE)
"""How such a call may begin."""

Choice = Callable[[str, bool], CallReader | None]
"""Says who reads a call from its first character on, and whether it is enclosed; None if nobody does."""

_BEFORE_FIRST: Final = re.compile(r"(?:`{1,2}|```[a-z_]*+(?:\n\s*+\[?\s*+)?|\s*+\[?\s*+)")
_BEFORE_NEXT: Final = re.compile(r"\s*+[,;]?\s*+")
_FENCE_LINE: Final = re.compile(r"`+[a-z_]*")
_FIRSTS: Final = "{_" + ascii_letters


_FIRST_KEY: Final = re.compile(r'\s*\{\s*"(?:type|name|function|arguments|parameters|id)"\s*:')
_LIKELY: Final = re.compile(r'\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"(?:name|function)"\s*:')


class PlainJsonCall(JsonCall):
    """An object without a marker; one that begins with another key than calls do is none, so that it need not wait."""

    @property
    def likely(self) -> bool:
        """Whether the object begins with a name."""
        return _LIKELY.match(self.text) is not None

    def feed(self, char: str) -> bool:
        """Take the next character; False if no call goes on like this."""
        return super().feed(char) and (char != ":" or _FIRST_KEY.match(self.text) is not None)


def json_only(char: str, _enclosed: bool) -> CallReader | None:
    """Let JSON objects be calls, and nothing else."""
    return PlainJsonCall() if char == "{" else None


class EnclosedCall(CallReader):
    """One call with what stands before it; `separator` may stand between calls that are in no list."""

    def __init__(self, choice: Choice = json_only, separator: str = "") -> None:
        self._choice = choice
        self._separator = separator
        self._pattern = _BEFORE_FIRST
        self._before = ""
        self._fenced = self._in_list = self._doubled = False
        self._inner: CallReader | None = None

    @property
    def tool(self) -> str | None:
        """The name of the call itself."""
        return self._inner.tool if self._inner else None

    @property
    def begun(self) -> bool:
        """Whether the call itself began."""
        return self._inner is not None

    @property
    def likely(self) -> bool:
        """Whether the call itself is likely one."""
        return self._inner is not None and self._inner.likely

    @property
    def following(self) -> Mapping[str, Callable[[], CallReader]]:
        """What stands before the next call; in a fence, the next call itself may follow."""
        separator = "," if self._in_list else self._separator
        found = [separator] if separator else []
        if self._fenced and not self._in_list:
            found += [char for char in _FIRSTS if self._choice(char, True)]
        return dict.fromkeys(found, self._next)

    def feed(self, char: str) -> bool:
        """Take the next character; False if no call goes on like this."""
        if self._inner is None and not self._begin(char):
            self._before += char
            return self._pattern.fullmatch(self._before) is not None
        if self._inner is None or not (self._inner.feed(char) or self._double(char)):
            return False
        self.name, self.fragment, self.complete = self._inner.name, self._inner.fragment, self._inner.complete
        return True

    def call(self) -> Call | None:
        """Return the call that is complete."""
        if self._inner is None:
            return None
        call = self._inner.call()
        self.repaired = self._doubled or self._inner.repaired
        around = (("}", self._doubled), ("]", self._in_list), (FENCE, self._fenced))
        self.ends = (*self._inner.ends, *(end for end, wanted in around if wanted))
        return call

    def _begin(self, char: str) -> bool:
        """Return whether `char` is the first of the call itself."""
        if _FENCE_LINE.fullmatch(self._before):
            return False
        self._fenced |= self._before.startswith(FENCE)
        self._in_list |= "[" in self._before
        self._inner = self._choice(char, self._fenced or self._in_list)
        return self._inner is not None

    def _double(self, char: str) -> bool:
        """Return whether this is the second brace of a call in doubled ones, as Qwen2.5's template shows them."""
        if self._doubled or char != "{" or not isinstance(self._inner, JsonCall) or self._inner.text != "{":
            return False
        self._doubled = True
        self._inner = self._choice(char, self._fenced or self._in_list)
        return self._inner is not None and self._inner.feed(char)

    def _next(self) -> EnclosedCall:
        reader = EnclosedCall(self._choice, self._separator)
        reader._pattern, reader._fenced, reader._in_list = _BEFORE_NEXT, self._fenced, self._in_list
        return reader
