"""What people say at home and what they are answered, written by hand in `sayings/`, one file a language.

A file has lists of words (`x: the light, the lamp`), whose names stand in braces in the patterns below them, each in
the tiny language of `phrases` behind the mark of its kind. Not every language has a file.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from zlib import crc32

from zoe_train.phrases import say
from zoe_train.small_talk import SAME

FOLDER: Final = Path(__file__).with_name("sayings")
HELD_OUT_EVERY: Final = 5
_STRANGE: Final = 0.35
_PLAIN: Final = ("k", "and", "v")
"""How the lists of numbers, of conjunctions, and of what is done, and when, begin."""

Mark = Literal["+", "*", ">", "?", "??", "~", "~~", "=", "-", ".", "!", "!?"]
"""Said: `+` an order; `*` one that needs something before it; `>` what people say before an order; `?` a question that
present states answer; `??` one only with its question mark; `~` another question; `~~` one that nobody
goes on from with an order; `=` a reply; `-` talk. Answered: `.`
a claim or a report; `!` a denial; `!?` a question back."""


@dataclass(frozen=True, slots=True)
class Saying:
    """A pattern and its kind."""

    mark: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Sayings:
    """The patterns of one language, and the words that they are filled with."""

    words: Mapping[str, Sequence[str]]
    patterns: tuple[Saying, ...]

    def of(self, *marks: Mark) -> list[Saying]:
        """Return the patterns of some kinds."""
        return [one for one in self.patterns if one.mark in marks]

    def part(self, *, held_out: bool) -> Sayings:
        """Return every `HELD_OUT_EVERY`th pattern, or all others."""
        return Sayings(self.words, tuple(one for one in self.patterns if is_held_out(one.pattern) is held_out))

    def say(self, rng: random.Random, saying: Saying, strange: Sequence[str] = ()) -> str:
        """Return one way to say `saying`; some things are called by `strange` words, which no list could foresee."""
        return say(
            rng, saying.pattern, **{name: _named(rng, name, words, strange) for name, words in self.words.items()}
        )


def load_sayings(language: str) -> Sayings:
    """Return what is written for `language`, a name of the package home-assistant-intents; nothing without a file."""
    path = FOLDER / f"{SAME.get(language, language)}.txt"
    words: dict[str, Sequence[str]] = {}
    patterns = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        head, _, rest = (line.replace("ß", "ss") if language == "de-CH" else line).partition(" ")
        if head.endswith(":"):
            words[head[:-1]] = rest.split(", ")
        elif rest:
            patterns.append(Saying(head, rest))
    return Sayings(words, tuple(patterns))


def is_held_out(key: str) -> bool:
    """Return whether a pattern is kept from training where some are; equal ones of different languages are alike."""
    return crc32(key.encode()) % HELD_OUT_EVERY == 0


def _named(rng: random.Random, name: str, words: Sequence[str], strange: Sequence[str]) -> str:
    chosen = rng.choice(words)
    if not strange or name.startswith(_PLAIN) or rng.random() >= _STRANGE:
        return chosen
    return " ".join([*chosen.split()[:-1], rng.choice(strange)])
