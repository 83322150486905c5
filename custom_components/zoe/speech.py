"""What a model writes, as it should be spoken: without markdown, emoji, web addresses, and with units in words.

    **Kitchen**: 21.5°C                          -> Kitchen: 21.5 degrees Celsius
    Your lights\\n- the lamp\\n- the ceiling       -> Your lights: the lamp, the ceiling
    See [the manual](https://example.com/x).     -> See the manual.
    More at https://www.example.com/a?b=c        -> More at example.com

A stream filter: text comes in pieces of any size, and what goes out is the same wherever they were cut. It holds one
word back. The numbers of a list are spoken, because "1. Mai" begins like a list in German.
"""

import re
from enum import Enum, auto
from typing import Final

from .marks import without_marks
from .units import spoken_unit

_ENDS_PHRASE: Final = frozenset(".!?:;,…。！？：；，、؟।")  # noqa: RUF001 (the punctuation of other scripts)
# Where a word can be let go in scripts that put no spaces.
_ENDS_WORD: Final = frozenset("。！？：；，、")  # noqa: RUF001
_CLOSES: Final = frozenset(")]\"'»”’」』")  # noqa: RUF001
_BULLETS: Final = frozenset("-*+•‣▪–◦·")  # noqa: RUF001
_HEADINGS: Final = frozenset("#" * count for count in range(1, 7))
_CHECKBOXES: Final = frozenset({"[", "]", "[]", "[x]", "[X]"})
_ORDINAL: Final = re.compile(r"\d{1,3}[.)]")
_RULE: Final = re.compile(r"[-*_=:|]{3,}|`{3,}.*|~{3,}.*")
_NUMBER: Final = re.compile(r"[+\-\u2212]?\d+(?:[.,]\d+)*")
_WITH_UNIT: Final = re.compile(rf"(.*?)({_NUMBER.pattern})([^\d\s]+?)([.,;:!?)]*)")
_UNIT: Final = re.compile(r"(.+?)([.,;:!?)]*)")
_LONGEST_WORD: Final = 500
_LONGEST_NUMBER: Final = 40


class _Line(Enum):
    TEXT = auto()
    ITEM = auto()
    HEADING = auto()
    TABLE = auto()


class SpeechFilter:
    """Makes one answer speakable: feed every piece, then close, and join all that is returned."""

    def __init__(self, language: str) -> None:
        """`language` is the tag of the one that is spoken, such as "de-CH"; only the names of units depend on it."""
        self._language = language
        self._word = ""
        self._gap = ""
        self._last = ""
        self._number = ""
        self._dropped = False
        self._line = _Line.TEXT
        self._line_begins = True
        self._line_breaks = 0
        self._mark = ""

    def feed(self, text: str) -> str:
        """Return what can be spoken by now and was not returned before."""
        return "".join(self._read(char) for char in text)

    def close(self) -> str:
        """Return the rest. The answer is over: nothing may be fed afterwards."""
        return self._end_word()

    def _read(self, char: str) -> str:
        if char.isspace():
            spoken = self._end_word()
            self._read_space(char)
            return spoken
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
        word, self._word = self._word, ""
        if not word:
            return ""
        if self._line_begins:
            if _is_mark(word):
                self._mark = word if word not in _CHECKBOXES else self._mark
                return ""
            self._begin_line(word)
            word = word.lstrip("|")
        if self._line is _Line.TABLE:
            return "".join(self._say_cell(cell) for cell in _cells(word))
        return self._say(word)

    def _begin_line(self, word: str) -> None:
        """Take what separates this line from the one before; `word` is the first that is spoken of it."""
        line = _kind(self._mark, word)
        if self._last and self._line_breaks:
            paragraph = self._line_breaks > 1
            self._gap = " " if self._last in _ENDS_PHRASE else _separator(self._line, line, paragraph=paragraph)
        elif self._mark == "-" and word[0].isdigit():
            self._gap = "- "  # an answer that begins like this may be a temperature below zero
        self._line, self._line_begins, self._line_breaks, self._mark = line, False, 0, ""

    def _say_cell(self, cell: str) -> str:
        if cell == "|":
            self._gap = " " if self._last in _ENDS_PHRASE else ", "
            return ""
        return self._say(cell)

    def _say(self, written: str) -> str:
        """Return `written` without marks, a unit behind a number by its name, and the gap before it."""
        word = without_marks(written)
        self._dropped = self._dropped or word != written
        if not word:
            return ""
        attached = self._dropped and _ENDS_PHRASE.issuperset(word)
        gap = self._gap if (self._last or self._gap == "- ") and not attached else ""
        word = self._with_unit(word)
        self._gap, self._dropped = "", False
        self._last = word.rstrip("".join(_CLOSES))[-1:] or self._last or word[-1]
        return gap + word

    def _with_unit(self, word: str) -> str:
        before, self._number = self._number, word.lstrip("(") if _NUMBER.fullmatch(word.lstrip("(")) else ""
        if before and (alone := _UNIT.fullmatch(word)) and (name := self._unit(alone[1], before)):
            return name + alone[2]
        if len(word) > _LONGEST_NUMBER or not (parts := _WITH_UNIT.fullmatch(word)):
            return word
        lead, number, unit, end = parts.groups()
        name = self._unit(unit, number)
        return f"{lead}{number} {name}{end}" if name else word

    def _unit(self, unit: str, number: str) -> str | None:
        return spoken_unit(unit, number, self._language)


def _is_mark(word: str) -> bool:
    """Return whether the first word of a line says what kind of line it is, and nothing else."""
    known = word in _BULLETS or word in _HEADINGS or word in _CHECKBOXES or word in {">", "|"}
    return known or bool(_RULE.fullmatch(word)) or not without_marks(word)


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


def _cells(word: str) -> list[str]:
    """Return the cells in a word of a table, and the bars between them."""
    return [part for part in re.split(r"(\|)", word) if part]
