"""What a model writes that is not for ears, taken out of a stream: thoughts, printed calls, tags, LaTeX.

    <think>The lamp?</think>The lamp is on.                                ->  The lamp is on.
    Done. {"name": "intent__HassTurnOn", "arguments": {"name": "Lamp"}}    ->  Done.
    It is [value from static context] now.                                 ->  It is now.
    x is $\\frac{1}{2}$<br>or so                                            ->  x is 1/2, then a new line

Text is held back where one of these may begin, and as long as it may still be one. What turns out to be none goes out
as it is; only its last character is looked at again. So every character is read twice at most.
"""

import html
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from .calls import BRACKETS, Brackets, Call, Reading, calls_of, is_cut_call, is_object_call, is_tool_name
from .formulas import formula
from .units import PLACEHOLDERS

GONE: Final = "\u2060"
"""Stands, without a width, where something was taken out and nothing is said in its place."""
LONGEST: Final = 100_000
"""So many characters are searched for calls."""

_CODE_SO_FAR: Final = re.compile(r"(?:call:|print\()?[A-Za-z_][\w.]*:?", re.ASCII)
_CODE: Final = re.compile(r"(?:call:|print\()?([A-Za-z_][\w.]*)([\s:]*)(.*)", re.ASCII | re.DOTALL)
_ARGUMENTS_SO_FAR: Final = re.compile(r"[({]\s*(?:\w+\s*(?:=\s*)?)?")
_ARGUMENTS: Final = re.compile(r"""[({]\s*(?:\w+\s*[:=]|["'“„{)}])""")
_TEXT_CALL: Final = re.compile(r"""[\w.]{3,}\(\s*\w+\s*=\s*["'“„]""")

_PLACEHOLDER: Final = rf"\[(?:{'|'.join(sorted(PLACEHOLDERS))})(?:[\s_][^\[\]{{<\n]{{0,80}})?"
_SQUARE_SO_FAR: Final = re.compile(
    rf"\[\[?\s{{0,60}}(?:[A-Za-z_][\w.]{{0,60}})?|\[/[A-Z_]{{0,60}}|{_PLACEHOLDER}\]?", re.IGNORECASE
)
_PLACED: Final = re.compile(rf"{_PLACEHOLDER}\][^(\[]", re.IGNORECASE)
_LIST: Final = re.compile(r"\[+\s*(?=\{)")
_CODE_LIST: Final = re.compile(r"\[\s*([A-Za-z_][\w.]*)\(")

_TOKEN_SO_FAR: Final = re.compile(r"<(?:\|[\w\"-]{0,60}\|?|!-{0,2}|(?:channel|tool_call)\|)")
_TOKEN: Final = re.compile(r"<(?:\|[\w\"-]*\|?|(?:channel|tool_call)\|)>")
_VALUE: Final = r"""\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+)"""
_VALUE_SO_FAR: Final = r"""\s*(?:=\s*(?:"[^"<>]*"?|'[^'<>]*'?|[^\s"'<>=]*))?"""
_TAG_NAME: Final = r"((?:\w+:)?([A-Za-z][\w-]{0,60}))"
_TAG: Final = re.compile(rf"<(/?){_TAG_NAME}(=[\w.\"-]+|(?:\s+[\w:-]+{_VALUE})*)\s*(/?)>")
_TAG_SO_FAR: Final = re.compile(
    rf"</?(?:\w+:|{_TAG_NAME}(?:=[\w.\"-]*|(?:\s+[\w:-]+{_VALUE})*(?:\s+[\w:-]*{_VALUE_SO_FAR})?\s*/?))?"
)
_NAME_OVER: Final = re.compile(rf"</?{_TAG_NAME}(?=[\s=/])")
_THOUGHTS: Final = re.compile(r"think(?:ing)?|thoughts?|reasoning|scratchpad|analysis")
_RESULTS: Final = re.compile(r"tool_(?:response|results?|output)|function_response")
_CALLS: Final = re.compile(r"(?:tool|function)_?call|tool_(?:code|use)|invoke|function")
_BREAKS: Final = re.compile(r"br|p|div|[uo]l|h[1-6r]|table|tr|blockquote|details")
_OTHERS: Final = re.compile(
    r"(?:tool|function)_calls|tools|parameter|s|eos|bos|pad|unk|end_of_turn|(?:final_)?answer|response"
    r"|final|output|speak|voice|prosody|break|emphasis|li|a|b|big|center|cite|code|del|em|font|i|img|ins|mark|pre|q|small"
    r"|span|strong|su[bp]|summary|tbody|t[dh]|thead|u|var"
)
_KNOWN: Final = (_THOUGHTS, _RESULTS, _CALLS, _BREAKS, _OTHERS)
_BLOCKS: Final = {
    "<|channel>": "<channel|>",
    "<|start_header_id|>": "<|end_header_id|>",
    "<|im_start|>": "\n",
    "<start_of_turn>": "\n",
    "<!--": "-->",
    "[THINK]": "[/THINK]",
}
_CALL_BLOCKS: Final = {
    "<|tool_call>": ("<tool_call|>",),
    "[TOOL_CALLS]": (),
    "<|python_tag|>": (),
}
_MARKS: Final = frozenset({"[INST]", "[SYSTEM_PROMPT]", *_CALL_BLOCKS, *_BLOCKS})
# Messages of gpt-oss begin with one of the heads; only those in the channel "final" are spoken.
_HEADS: Final = ("<|start|>", "<|channel|>")
_MESSAGE: Final = "<|message|>"
_ENDS: Final = ("<|end|>", "<|return|>", "<|call|>")

_ENTITY_SO_FAR: Final = re.compile(r"&#?[A-Za-z0-9]{0,10};?", re.ASCII)
_LONGEST: Final = 300
_LONGEST_NAME: Final = 100
_BEFORE_CALL: Final = frozenset("\n.!?:…`>)。：！？*")  # noqa: RUF001


@dataclass(slots=True)
class _Inside:
    """What is left out from its first characters on: up to one of the `ends`, or to the end of its brackets.

    Without `ends` and brackets it is a call behind a marker: it ends with its own brackets, or with its line.
    """

    ends: tuple[str, ...] = ()
    is_call: bool = False
    is_marked: bool = True
    brackets: Brackets | None = None
    text: list[str] = field(default_factory=list)
    end: str = ""
    _is_begun: bool = False

    @classmethod
    def of_brackets(cls, held: str) -> Self:
        """Read on behind `held`, in which brackets begin."""
        inside = cls(is_call=True, is_marked=False)
        for char in held:
            inside.feed(char)
        return inside

    def feed(self, char: str) -> Reading:
        reading = self._feed_brackets(self.brackets, char) if self.brackets else self._feed_text(char)
        if reading is not Reading.BEHIND:
            self.text.append(char)
        return reading

    def _feed_brackets(self, brackets: Brackets, char: str) -> Reading:
        reading = brackets.feed(char)
        if reading is Reading.LAST and not brackets.is_call:  # such as [ARGS]
            self.brackets = None
            return Reading.MORE
        if reading is Reading.BEHIND and self.ends:
            self.brackets = None
            return self._feed_text(char)
        return reading

    def _feed_text(self, char: str) -> Reading:
        if char == "\n" and not self.ends and self._is_begun:
            return Reading.BEHIND
        if self.is_call and char in BRACKETS and not (self.ends and self._is_begun):
            self.brackets = Brackets()
            self.brackets.feed(char)
        self._is_begun = self._is_begun or not char.isspace()
        for end in self.ends:
            if char == end[-1] and "".join([*self.text[-len(end) :], char]).endswith(end):
                self.end = end
                return Reading.LAST
        return Reading.MORE


class _Found(NamedTuple):
    """So many characters of what is held are something; `spoken` is said in their place, `inside` reads behind them."""

    length: int
    spoken: str = ""
    inside: _Inside | None = None


# What was found, otherwise whether it may be something yet.
type _Look = _Found | bool


class Hidden:
    """Reads one answer: feed every piece, then close. `passages` are those left out where a call may be made."""

    def __init__(self, tools: Collection[str] = ()) -> None:
        """`tools` are names that are those of tools wherever they stand before a bracket."""
        self.passages: list[str] = []
        self._tools = tools
        self._held = ""
        self._inside: _Inside | None = None
        self._is_behind_call = False
        self._last = ""
        self._before = "\n"

    def feed(self, text: str) -> str:
        """Return the text that is known to be for ears by now and was not returned before."""
        return "".join(self._read(char) for char in text)

    def close(self) -> str:
        """Return the rest. The answer is over: nothing may be fed afterwards."""
        if self._inside:
            return self._leave(self._inside)
        held = self._held
        found = self._look(held + "\0")
        if isinstance(found, _Found) and found.length == len(held):
            return found.spoken or GONE
        return "" if is_cut_call(held, self._tools) else held

    def _read(self, char: str) -> str:
        if self._inside:
            return self._read_inside(self._inside, char)
        if self._is_behind_call and char in ",;)]}":  # of a list, or brackets too many
            return ""
        self._is_behind_call = self._is_behind_call and char.isspace()
        self._held += char
        found = self._look(self._held)
        if found is True:
            return ""
        held, self._held = self._held, ""
        if not found:
            found = _Found(max(len(held) - 1, 1), held[:-1] or char)
        self._inside = found.inside
        text = self._emitted(found.spoken or GONE) if not found.inside else ""
        return text if found.length == len(held) else text + self._read(char)

    def _read_inside(self, inside: _Inside, char: str) -> str:
        reading = inside.feed(char)
        if reading is Reading.MORE:
            return ""
        self._inside = None
        text = self._leave(inside)
        return text + self._read(char) if reading is Reading.BEHIND else text

    def _leave(self, inside: _Inside) -> str:
        """End what was left out, and begin what its end begins."""
        text = "".join(inside.text).removesuffix(inside.end)
        if inside.is_call:
            self._is_behind_call = True
            is_whole = inside.end or (inside.brackets and text.rstrip().endswith(tuple("}])")))
            if is_whole and (inside.is_marked or self._before in _BEFORE_CALL):
                self.passages.append(text)
        if inside.end == _MESSAGE and "to=" in text:
            self._inside = _Inside((*_ENDS, *_HEADS), is_call=True, text=[text])
        elif inside.end == _MESSAGE and "analysis" in text:
            self._inside = _Inside((*_ENDS, *_HEADS))
        elif inside.end in _HEADS:
            self._inside = _block(inside.end)
        return GONE

    def _emitted(self, text: str) -> str:
        if text != GONE:
            self._last = text[-1]
            self._before = text.rstrip(" \t")[-1:] or self._before
        return text

    def _look(self, held: str) -> _Look:
        match held[0]:
            case "{":
                look = self._look_at_object(held)
            case "[":
                look = self._look_at_square(held)
            case "<":
                look = self._look_at_angle(held)
            case "&":
                look = _look_at_entity(held)
            case "$" | "\\":
                plain = formula(held)
                look = plain if isinstance(plain, bool) else _Found(*plain)
            case _:
                look = not self._last.isalnum() and self._look_at_code(held)
        return look

    def _look_at_object(self, held: str) -> _Look:
        is_call = is_object_call(held, self._tools)
        return _Found(len(held), inside=_Inside.of_brackets(held)) if is_call else is_call is None

    def _look_at_square(self, held: str) -> _Look:
        if held.replace("/", "", 1) in _MARKS:
            return _Found(len(held), inside=_block(held))
        if _LIST.match(held):
            return self._look_at_object(held)
        if code := _CODE_LIST.fullmatch(held):
            return is_tool_name(code[1], self._tools) and _Found(len(held), inside=_Inside.of_brackets(held))
        if _PLACED.fullmatch(held):
            return _Found(len(held) - 1)
        return bool(_SQUARE_SO_FAR.fullmatch(held))

    def _look_at_angle(self, held: str) -> _Look:
        if held in _BLOCKS or held in _CALL_BLOCKS or _TOKEN.fullmatch(held):
            return _Found(len(held), inside=_block(held))
        if tag := _TAG.fullmatch(held):
            return self._is_tag(tag[3]) and _Found(len(held), *_tag(tag))
        if len(held) > _LONGEST or not (_TAG_SO_FAR.fullmatch(held) or _TOKEN_SO_FAR.fullmatch(held)):
            return False
        name = _NAME_OVER.match(held)
        return not name or self._is_tag(name[2])

    def _is_tag(self, name: str) -> bool:
        return any(names.fullmatch(name.lower()) for names in _KNOWN) or is_tool_name(name, self._tools)

    def _look_at_code(self, held: str) -> _Look:
        """Look at a word. The name of a tool is nothing to say, alone as well.

        Another name is one of a call only if the first argument has a name too, and a quote: "f(x=2)" is a formula, and
        "lamp(s)" a word.
        """
        if _CODE_SO_FAR.fullmatch(held):
            return len(held) <= _LONGEST_NAME
        if not (code := _CODE.fullmatch(held)):
            return False
        name, gap, arguments = code[1].rstrip("."), code[2], code[3]
        is_tool = is_tool_name(name, self._tools)
        if arguments and arguments[0] in "({":
            if _ARGUMENTS.fullmatch(arguments) if is_tool else _TEXT_CALL.fullmatch(held):
                return _Found(len(held), inside=_Inside.of_brackets(held[code.start(1) :]))
            return (
                (is_tool or not gap)
                and len(arguments) <= _LONGEST_NAME
                and bool(_ARGUMENTS_SO_FAR.fullmatch(arguments))
            )
        if not is_tool or (not arguments and len(gap) <= _LONGEST_NAME):
            return is_tool
        return _Found(len(held) - 1, GONE + code[1][len(name) :] + gap.replace(":", ""))


def _look_at_entity(held: str) -> _Look:
    if not held.endswith(";"):
        return bool(_ENTITY_SO_FAR.fullmatch(held))
    text = html.unescape(held)
    return text != held and _Found(len(held), text)


def _tag(tag: re.Match[str]) -> tuple[str, _Inside | None]:
    """Return what is said in place of a tag, and what reads behind it."""
    closing, full_name, name, _, empty = tag.groups()
    kind = name.lower()
    if not (closing or empty):
        ends = (f"</{full_name}>",)
        if _THOUGHTS.fullmatch(kind) or _RESULTS.fullmatch(kind):
            return "", _Inside(ends)
        if _CALLS.fullmatch(kind) or not (_BREAKS.fullmatch(kind) or _OTHERS.fullmatch(kind)):
            return "", _Inside(ends, is_call=True, text=[tag[0]])
    return "\n- " if kind == "li" and not closing else "\n" if _BREAKS.fullmatch(kind) else "", None


def _block(opener: str) -> _Inside | None:
    """Return what reads behind a mark, None if that is text."""
    if opener in _HEADS:
        return _Inside((_MESSAGE, *_ENDS))
    if opener in _CALL_BLOCKS:
        return _Inside(_CALL_BLOCKS[opener], is_call=True, text=[opener])
    return _Inside((_BLOCKS[opener],)) if opener in _BLOCKS else None


def printed_calls(text: str, tools: Collection[str]) -> list[Call]:
    """Return the calls that an answer prints as text, for those of `tools` that exist; the name is the one in `tools`.

    It finds what `Hidden` takes out of speech, if it stands where a call may be made: at the beginning of a line,
    behind a sentence or a colon, or behind a marker; not within a sentence or quotes, nor in a thought. A call that was
    cut off in its arguments is none. Only the first 100,000 characters are read.

    Whoever makes such a call has to treat it as any other of the model: what it read out may be written by others.
    """
    hidden = Hidden(tools)
    hidden.feed(text[:LONGEST])
    hidden.close()
    return [call for passage in hidden.passages for call in calls_of(passage, tools)]
