"""What a model writes, as it should be spoken: without markdown, emoji, web addresses, and with units in words.

    **Kitchen**: 21.5°C                          -> Kitchen: 21.5 degrees Celsius
    Your lights\\n- the lamp\\n- the ceiling       -> Your lights: the lamp, the ceiling
    See [the manual](https://example.com/x).     -> See the manual.
    More at https://www.example.com/a?b=c        -> More at example.com
    Kitchen → off                                -> Kitchen, off

A stream filter: text comes in pieces of any size, and what goes out is the same wherever they were cut. It holds one
word back, and more only where `hidden`, which reads the text first, and `wording`, which says the words, have to. The
numbers of a list are spoken, because "1. Mai" begins like a list in German. A star that stands alone is kept, because
it may be a multiplication.
"""

import re
from enum import Enum, auto
from typing import Final

from .hidden import GONE, Hidden
from .units import vocabulary
from .wording import Wording

_ENDS_PHRASE: Final = frozenset(".!?:;,…。！？：；，、؟।")  # noqa: RUF001 (the punctuation of other scripts)
# Where a word can be let go in scripts that put no spaces.
_ENDS_WORD: Final = frozenset("。！？：；，、")  # noqa: RUF001
_CLOSES: Final = frozenset(")]\"'»”’」』")  # noqa: RUF001
_BULLETS: Final = frozenset("-*+•‣▪–◦·")  # noqa: RUF001
_HEADINGS: Final = frozenset("#" * count for count in range(1, 7))
_CHECKBOXES: Final = frozenset({"[", "]", "[]", "[x]", "[X]"})
_ORDINAL: Final = re.compile(r"\d{1,3}[.)]")
_RULE: Final = re.compile(r"[-*_=:|]{3,}|`{3,}.*|~{3,}.*")
_ARROW: Final = re.compile(r"<?[-=]{1,4}>|[←→↔↦⇐⇒⇔⇨➔➙➜➝➞➡➤⟵⟶⟷⟸⟹⟺]\ufe0f?")
_ARROW_GROUP: Final = re.compile(rf"({_ARROW.pattern})")
_DIVIDER: Final = re.compile(rf"({_ARROW.pattern}|\|)")
_LONGEST_WORD: Final = 500


class _Line(Enum):
    TEXT = auto()
    ITEM = auto()
    HEADING = auto()
    TABLE = auto()


class SpeechFilter:
    """Makes one answer speakable: feed every piece, then close, and join all that is returned."""

    def __init__(self, language: str) -> None:
        """`language` is the tag of the one that is spoken, such as "de-CH"; the words for units depend on it."""
        words = vocabulary(language)
        self._hidden = Hidden()
        self._wording = Wording(words) if words else None
        self._word = ""
        self._gap = ""
        self._last = ""
        self._dropped = False
        self._line = _Line.TEXT
        self._line_begins = True
        self._line_breaks = 0
        self._mark = ""

    def feed(self, text: str) -> str:
        """Return what can be spoken by now and was not returned before."""
        return "".join(self._read(char) for char in self._hidden.feed(text))

    def close(self) -> str:
        """Return the rest. The answer is over: nothing may be fed afterwards."""
        rest = "".join(self._read(char) for char in self._hidden.close()) + self._end_word()
        return rest + self._wording.close() if self._wording else rest

    def _read(self, char: str) -> str:
        if char.isspace():
            spoken = self._end_word()
            self._read_space(char)
            return spoken
        self._dropped = self._dropped or char == GONE
        self._word += char
        return self._end_word() if char in _ENDS_WORD or len(self._word) >= _LONGEST_WORD else ""

    def _read_space(self, char: str) -> None:
        self._gap = self._gap or " "
        if char == "\n":
            self._line_begins = True
            self._line_breaks += 1
            self._mark = ""

    def _end_word(self) -> str:
        """Return the word that is complete now, as it is spoken."""
        word, self._word = self._word.replace(GONE, ""), ""
        if not word:
            return ""
        if self._line_begins:
            if _is_mark(word):
                self._mark = word if word not in _CHECKBOXES else self._mark
                return ""
            self._begin_line(word)
            word = word.lstrip("|")
        divider = _DIVIDER if self._line is _Line.TABLE else _ARROW_GROUP
        return "".join(self._say_part(part) for part in divider.split(word) if part)

    def _begin_line(self, word: str) -> None:
        """Take what separates this line from the one before; `word` is the first that is spoken of it."""
        line = _kind(self._mark, word)
        if self._last and self._line_breaks:
            paragraph = self._line_breaks > 1
            self._gap = " " if self._last in _ENDS_PHRASE else _separator(self._line, line, paragraph=paragraph)
        elif self._mark == "-" and word[0].isdigit():
            self._gap = "- "  # an answer that begins like this may be a temperature below zero
        self._line, self._line_begins, self._line_breaks, self._mark = line, False, 0, ""

    def _say_part(self, part: str) -> str:
        """Return a part of a word between the bars of a table, or arrows, which are pauses."""
        if part == "|" or _ARROW.fullmatch(part):
            self._gap = " " if self._last in _ENDS_PHRASE else ", "
            return ""
        return self._say(part)

    def _say(self, written: str) -> str:
        """Return `written` without marks, in the words of the language, and the gap before it."""
        word = without_marks(written)
        self._dropped = self._dropped or word != written
        if not word:
            return ""
        attached = self._dropped and _ENDS_PHRASE.issuperset(word)
        gap = self._gap if (self._last or self._gap == "- ") and not attached else ""
        self._gap, self._dropped = "", False
        self._last = word.rstrip("".join(_CLOSES))[-1:] or self._last or word[-1]
        return self._wording.feed(gap, word) if self._wording else gap + word


def _is_mark(word: str) -> bool:
    """Return whether the first word of a line says what kind of line it is, and nothing else."""
    known = word in _BULLETS or word in _HEADINGS or word in _CHECKBOXES or word in {">", "|"}
    return known or bool(_RULE.fullmatch(word) or _ARROW.fullmatch(word)) or not without_marks(word)


def _kind(mark: str, word: str) -> _Line:
    if mark == "|" or word.startswith("|"):
        return _Line.TABLE
    if mark in _HEADINGS:
        return _Line.HEADING
    is_item = (mark and mark != ">" and not _RULE.fullmatch(mark)) or _ORDINAL.fullmatch(word)
    return _Line.ITEM if is_item else _Line.TEXT


def _separator(before: _Line, line: _Line, *, paragraph: bool) -> str:
    """Return what is spoken between two lines of which the first does not end like a phrase."""
    if before is line is _Line.ITEM:
        return ", "
    if before is not _Line.TEXT or line is _Line.HEADING:
        return ". "
    if line is not _Line.TEXT:
        return ": "
    return ". " if paragraph else " "


_PATH: Final = r"[^\s<>()\[\]\"']*"
_URL: Final = re.compile(rf"(?:https?://|www\.)([^\s/?#<>()\[\]\"']+)({_PATH})", re.IGNORECASE)
_LINK_TARGET: Final = re.compile(rf"\]\((?:https?://|www\.|mailto:|tel:|/|#){_PATH}\)?", re.IGNORECASE)
_FOOTNOTE: Final = re.compile(rf"\[\^?[1-9]\d{{0,2}}\](?:\({_PATH}\))?", re.IGNORECASE)
_PICTOGRAM: Final = (
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\u2b1b\u2b1c\u231a\u231b\u23e9-\u23fa\u3030\u303d\u3297\u3299]"
)
_MODIFIERS: Final = "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
# A sequence is joined by zero width joiners, which other scripts use between letters, so they go with pictograms only.
_EMOJI: Final = re.compile(
    f"{_PICTOGRAM}{_MODIFIERS}(?:\u200d(?:{_PICTOGRAM}|[\u2640\u2642]){_MODIFIERS})*|\ufe0f?\u20e3|\ufe0f"
)
_QUOTING: Final = re.compile(r"`+|~~+|\*\*+|__+")
_SINGLE: Final = re.compile(r"(?<![^\W_])[*_]|[*_](?![^\W_])")


def without_marks(word: str) -> str:
    """Return `word` as it is spoken, "" if nothing of it is."""
    word = _FOOTNOTE.sub("", word).replace("![", "[")
    word = _LINK_TARGET.sub("", word)
    word = _URL.sub(_host, word)
    word = _EMOJI.sub("", word)
    word = _QUOTING.sub("", word).replace("[", "").replace("]", "")
    return word if word == "*" else _SINGLE.sub("", word)


def _host(url: re.Match[str]) -> str:
    """Return the host of a web address, and the punctuation of the sentence that follows it."""
    host = url[1].removeprefix("www.")
    rest = url[2] or host
    end = rest[len(rest.rstrip(".,;:!?*_`~")) :]
    return host.rstrip(".,;:!?*_`~") + end
