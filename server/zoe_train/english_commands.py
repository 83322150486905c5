"""More English sentences to a home, from the patterns that zoe-nano is trained with (`phrases.yaml`)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from zoe_train.phrases import phrase, say
from zoe_train.small_talk import SmallTalk

_NO_COMMANDS: Final = {
    *("lead", "ask", "why", "mention", "color_brightness", "todo_item", "value", "small_talk", "missing_noun")
}
_VALUES: Final = (
    "40 percent",
    "half",
    "21 degrees",
    "full",
    "fifty percent",
    "19.5 degrees",
    "warm white",
    "low",
    "80",
)
_COLORS: Final = ("red", "blue", "green", "warm white", "purple", "orange")
_ITEMS: Final = (
    *("milk", "eggs", "bread", "potatoes", "olive oil", "apples and cheese", "dish soap", "coffee", "two bananas"),
    *("pasta", "chicken", "butter", "toothpaste", "a birthday card", "wine", "rice", "call the dentist", "cat food"),
)
_LISTS: Final = ("shopping list", "to-do list", "list", "grocery list", "chores list")
_PLURALS: Final = ("lights", "windows", "doors", "blinds", "fans")
_STATES: Final = ("on", "off", "open", "closed", "locked", "running")
_WRAPPED: Final = 0.2


def command_patterns() -> list[str]:
    """Return the patterns of all commands and of all questions about a home."""
    keys = yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))
    return [pattern for key, patterns in keys.items() if key not in _NO_COMMANDS for pattern in patterns]


def commands(rng: random.Random, patterns: list[str], talk: SmallTalk, n_ways: int) -> Iterator[str]:
    """Return `n_ways` ways to say each of `patterns`, some with the courtesies and reasons that people put around."""
    for pattern in patterns:
        for _ in range(n_ways):
            text = _command(rng, pattern, talk)
            yield phrase(rng, "lead", "ask", t=text, w=phrase(rng, "why")) if rng.random() < _WRAPPED else text


def _command(rng: random.Random, pattern: str, talk: SmallTalk) -> str:
    room = rng.choice(talk.rooms)
    device = rng.choice(talk.devices)
    fields = {
        "x": rng.choice(
            (f"the {device}", f"the {room} {device}", f"the {device} in the {room}", f"my {device}", device)
        ),
        "a": room,
        "v": rng.choice(_VALUES),
        "c": rng.choice(_COLORS),
        "i": rng.choice(_ITEMS),
        "l": rng.choice(_LISTS),
        "n": str(rng.randint(2, 60)) if "timer" in pattern or "minute" in pattern else rng.choice(_PLURALS),
        "o": device,
        "s": rng.choice(_STATES),
        "t": "turn it off",
        "w": phrase(rng, "why"),
    }
    return say(rng, pattern, **fields)
