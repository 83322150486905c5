"""Calls that a model prints into its answer instead of making them: what they look like, and what they say.

{"name": "intent__HassTurnOn", "arguments": {"name": "Lamp"}}      {{"HassTurnOn": {"name": "Lamp"}}}
{"type": "function", "function": {"name": "HassTurnOn", "parameters": "{\\"name\\": \\"Lamp\\"}"}}
HassTurnOn(name="Lamp")     <function=HassTurnOn>{"name": "Lamp"}</function>     {'name': 'HassTurnOn', 'args': {}}
<tool_call>HassTurnOn <arg_key>name</arg_key><arg_value>Lamp</arg_value></tool_call>
"""

import json
import re
from collections.abc import Collection, Iterator
from enum import Enum, auto
from typing import Any, Final

type Call = tuple[str, dict[str, Any]]
"""The name of a tool, and its arguments."""

# The likeliest first.
_NAME_KEYS: Final = ("name", "tool_name", "function_name", "recipient_name", "tool", "function", "action")
_ARGUMENT_KEYS: Final = ("arguments", "parameters", "args", "params", "kwargs", "input", "tool_input", "action_input")
_WRAPPERS: Final = frozenset({"function", "tool_call", "tool_calls", "function_call", "tool_uses", "calls", "tool"})
_CALL_KEYS: Final = frozenset({*_NAME_KEYS, *_ARGUMENT_KEYS, "id", "type", "index"}) | _WRAPPERS
_TOOL: Final = re.compile(r"(?:[A-Za-z]\w*[.:])*(?:\w+?__\w+|Hass[A-Z]\w+)")
_FIRST_KEY: Final = re.compile(r"""[\[{\s]*["']?(\w*)""")
_KEY: Final = re.compile(r"""["']?(\w+)["']?\s*:""")
_NAMED: Final = re.compile(rf"""\b(?:{"|".join(_NAME_KEYS)})["']?\s*:\s*["']([\w.:]+)["']""")
_LONGEST: Final = 300  # an object that has not shown by then that it is a call is none

BRACKETS: Final = {"{": "}", "[": "]", "(": ")"}
"""Those that open, and those that close them."""
_CLOSING: Final = frozenset(BRACKETS.values())
_QUOTES: Final = {'"': '"', "'": "'", "“": "”", "„": "“"}

_MOST: Final = 20
_DEEPEST: Final = 30
_DECODER: Final = json.JSONDecoder(strict=False, parse_constant=str)
_BRACKET: Final = re.compile(r"[\[{]")
_TOKENS: Final = re.compile(
    r"""
    (?P<opens>[{(](?=\s*{) | \bprint\()  # one bracket too many
    | "(?P<double>(?:[^"\\]|\\.|"(?=\w))*)" | (?<!\w)'(?P<single>(?:[^'\\]|\\.|'(?=\w))*)' | [“„](?P<curly>[^”“]*)[”“]
    | (?P<word>(?<!\w)[A-Za-z_][\w.]*)
    | (?P<sign>[()=])
    """,
    re.VERBOSE | re.DOTALL,
)
_SIGNS: Final = {"(": "{", ")": "}", "=": ":"}
_WORDS: Final = {"True": "true", "False": "false", "None": "null"} | {word: word for word in ("true", "false", "null")}
_PARAMETER: Final = re.compile(
    r"<(?:parameter|param)(?:=|\s+name=)[\"']?(\w+)[\"']?\s*>([^<]*)<|<arg_key>([^<]*)</arg_key>\s*<arg_value>([^<]*)<"
)
_WITHOUT_ARGUMENTS: Final = re.compile(r"<(?:function=|invoke name=\")[\w.]+\"?>\s*(?:</|\Z)")


def tool_of(name: str, tools: Collection[str]) -> str | None:
    """Return which of `tools` is called `name`, with its prefix or without; None if none is, or more than one."""
    name = re.split(r"[.:]", name)[-1]
    if name in tools:
        return name
    bare = name.rpartition("__")[2]
    same = [tool for tool in tools if tool.rpartition("__")[2] == bare and ("__" not in name or "__" not in tool)]
    return same[0] if bare and len(same) == 1 else None


def is_tool_name(name: str, tools: Collection[str]) -> bool:
    """Return whether this can only be the name of a tool: one of `tools`, or written as Home Assistant names them."""
    return bool(_TOOL.fullmatch(name)) or tool_of(name, tools) is not None


def is_object_call(held: str, tools: Collection[str]) -> bool | None:
    """Return whether an object, or a list of them, is a call, by the beginning of it; None if that is open yet."""
    first, end = _first_key(held)
    if end == len(held):
        return None if end <= _LONGEST else False
    is_tool = is_tool_name(first, tools)
    if not is_tool and first not in _CALL_KEYS:
        return False
    if held[-1] in "\"':[{}":
        keys = _KEY.findall(held)
        named = _NAMED.search(held)
        has_both = any(key in _NAME_KEYS for key in keys) and any(key in _ARGUMENT_KEYS for key in keys)
        if has_both or (is_tool and keys) or (named and is_tool_name(named[1], tools)):
            return True
    return None if len(held) <= _LONGEST and held.count("}") < held.count("{") else False


def is_cut_call(held: str, tools: Collection[str]) -> bool:
    """Return whether an object, or a list, that the text ends in began like a call."""
    key, _ = _first_key(held)
    return ("{" in held and key in _CALL_KEYS) or is_tool_name(key, tools)


def _first_key(held: str) -> tuple[str, int]:
    """Return the first word behind the brackets, and where it ends."""
    key = _FIRST_KEY.match(held)
    return (key[1], key.end()) if key else ("", 0)


class Reading(Enum):
    """What a character says: there is more, it is the last, or what is read has ended before it."""

    MORE = auto()
    LAST = auto()
    BEHIND = auto()


class Brackets:
    """Follows brackets and quotes up to the bracket that closes the first.

    A quote before a letter ends no string, as in 'Anna's lamp'. Behind a bracket that closes only a comma or another
    one may come, so that a bracket too few does not take all that follows.
    """

    def __init__(self) -> None:
        self.is_call = False
        """Whether there is more than a list of words, such as [ARGS]."""
        self._open: list[str] = []
        self._quote = self._last = ""
        self._is_closing = self._is_escaped = False

    def feed(self, char: str) -> Reading:
        """Read the next character."""
        if self._last and not self._open:
            return Reading.BEHIND
        if self._quote and not (self._is_closing and not char.isalnum()):
            self._is_closing = char == self._quote and not self._is_escaped
            self._is_escaped = char == "\\" and not self._is_escaped
            return Reading.MORE
        if self._quote:
            self._quote, self._is_closing, self._last = "", False, '"'
        return Reading.MORE if char.isspace() else self._feed_sign(char)

    def _feed_sign(self, char: str) -> Reading:
        last, self._last = self._last, char
        if self._open and char == self._open[-1]:
            self._open.pop()
            return Reading.MORE if self._open else Reading.LAST
        if char in _CLOSING or (last in _CLOSING and char not in ",:;") or len(self._open) > _DEEPEST:
            return Reading.BEHIND
        if closer := BRACKETS.get(char):
            self._open.append(closer)
            self.is_call = self.is_call or char != "["
        elif char in _QUOTES and not last.isalnum():
            self._quote = _QUOTES[char]
        return Reading.MORE


def calls_of(passage: str, tools: Collection[str]) -> Iterator[Call]:
    """Yield the calls of `tools` in a passage: objects, with the name of the tool in them or before them, or XML.

    The name is the one in `tools`. A call that was cut off in its arguments is none.
    """
    parameters = [(key or other, value or rest) for key, value, other, rest in _PARAMETER.findall(passage)]
    text = _as_json(passage)
    if parameters or not _BRACKET.search(text):
        tool = _named(passage, tools)
        if tool and (parameters or _WITHOUT_ARGUMENTS.search(passage)):
            yield tool, {key.strip(): _scalar(value.strip()) for key, value in parameters}
        return
    header = at = 0
    for _ in range(_MOST):
        if not (bracket := _BRACKET.search(text, at)):
            return
        value, at = _decoded(text, bracket.start())
        if at < 0 and bracket[0] == "{":
            return
        tool = _named(text[header : bracket.start()], tools)
        calls = [(tool, value)] if tool and isinstance(value, dict) else list(_calls_in(value, tools))
        at = max(at, bracket.end())
        header = at if calls else header
        yield from calls


def _named(header: str, tools: Collection[str]) -> str | None:
    """Return the first tool that is named in `header`."""
    words = re.findall(r"[A-Za-z_]\w*", header[:_LONGEST])
    return next((tool for word in words if (tool := tool_of(word, tools))), None)


def _calls_in(value: object, tools: Collection[str], depth: int = 0) -> Iterator[Call]:
    """Yield the calls that a value describes."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value:
            yield from _calls_in(item, tools, depth + 1)
    elif isinstance(value, dict):
        name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
        if name is not None:
            arguments = _arguments(next((value[key] for key in _ARGUMENT_KEYS if key in value), None))
            if (tool := tool_of(name, tools)) and arguments is not None:
                yield tool, arguments
            return
        for key, inner in value.items():
            if key in _WRAPPERS:
                yield from _calls_in(inner, tools, depth + 1)
            elif (tool := tool_of(key, tools)) and isinstance(inner, dict):
                yield tool, inner


def _arguments(written: object) -> dict[str, Any] | None:
    """Return the arguments, of which some models write an object as text; None if they are none, or their schema."""
    if isinstance(written, str) and written.strip():
        written, end = _decoded(_as_json(written.strip()), 0)
        if end < 0:
            return None
    if not written:
        return {}
    return written if isinstance(written, dict) and not isinstance(written.get("properties"), dict) else None


def _decoded(text: str, at: int) -> tuple[object, int]:
    """Return the value that begins at a place, perhaps without its last bracket, and where it ends; -1 if none does."""
    text = text.rstrip()
    for end in ("", "}") if text.endswith("}") else ("",):
        try:
            return _DECODER.raw_decode(text + end, at)
        except ValueError, RecursionError:
            continue
    return None, -1


def _scalar(text: str) -> object:
    try:
        return json.loads(text, parse_constant=str)
    except ValueError, RecursionError:
        return text


def _as_json(text: str) -> str:
    """Return a Python literal, a call as code, or an object without quotes, as JSON."""
    return _TOKENS.sub(_as_json_token, text.replace('<|"|>', '"'))


def _as_json_token(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "opens":
            return ""
        case "word":
            return _WORDS.get(token[0], f'"{token[0]}"')
        case "sign":
            return _SIGNS[token[0]]
        case kind:
            string = token[kind or 0].replace("\\'", "'")
            return '"' + re.sub(r'(?<!\\)"', r"\"", string) + '"'
