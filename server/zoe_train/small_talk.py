"""Everyday talk in all languages, written by hand in `small_talk/`: what people say to an assistant, but not to a home.

A file has three lines of words that homes are full of (`rooms:`, `floors:`, `devices:`), then one pattern a line in
the tiny language of `phrases`. Lines that begin with `!` ask for thought: a plan, an analysis, a comparison, a
workflow. The lines of talk of all files ask the same things in the same order, so every fourth can be held out in all
languages at once: what the evaluation asks was not trained on in any of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zoe_train.phrases import say

FOLDER: Final = Path(__file__).with_name("small_talk")
HELD_OUT_EVERY: Final = 4
SAME: Final = {"de-CH": "de", "pt-BR": "pt", "zh-HK": "zh-TW"}
"""Languages that share the file of another."""


@dataclass(frozen=True, slots=True)
class SmallTalk:
    """The words and patterns of one language."""

    rooms: tuple[str, ...]
    floors: tuple[str, ...]
    devices: tuple[str, ...]
    talk: tuple[str, ...]
    thought: tuple[str, ...]


def load_small_talk(language: str) -> SmallTalk:
    """Return what is written for `language`, a name of the package home-assistant-intents.

    Raises:
        FileNotFoundError: there is nothing for this language.
    """
    lines = (FOLDER / f"{SAME.get(language, language)}.txt").read_text(encoding="utf-8").splitlines()
    if language == "de-CH":
        lines = [line.replace("ß", "ss") for line in lines]
    words = {}
    for head, line in zip(("rooms", "floors", "devices"), lines, strict=False):
        words[head] = tuple(line.partition(":")[2].replace(", ", ",").strip().split(","))
    return SmallTalk(
        **words,
        talk=tuple(line for line in lines[3:] if line and not line.startswith("!")),
        thought=tuple(line[1:].strip() for line in lines[3:] if line.startswith("!")),
    )


def split(patterns: tuple[str, ...], *, held_out: bool, offset: int = 0) -> list[str]:
    """Return the patterns to evaluate with, or those to train on; `offset` says which of every four is held out."""
    last = (HELD_OUT_EVERY - 1 + offset) % HELD_OUT_EVERY
    return [pattern for index, pattern in enumerate(patterns) if (index % HELD_OUT_EVERY == last) is held_out]


def ways_to_say(rng: random.Random, pattern: str, at_most: int) -> list[str]:
    """Return different ways to say `pattern`, in random order."""
    return list(dict.fromkeys(say(rng, pattern) for _ in range(4 * at_most)))[:at_most]
