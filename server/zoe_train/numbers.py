"""Numbers as they are heard: digits, sometimes words, percent in many ways."""

from __future__ import annotations

import random
from typing import Final

from zoe_train.phrases import say

_UNITS: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_HUNDRED: Final = 100
_PARTS: Final = (
    (25, "a quarter"),
    (25, "one quarter"),
    (75, "three quarters"),
    (33, "a third"),
    (66, "two thirds"),
    (10, "a tenth"),
)


def number_words(number: int) -> str:
    """Return 0 to 100 in words."""
    if number < len(_UNITS):
        return _UNITS[number]
    if number == _HUNDRED:
        return "one hundred"
    tens, unit = divmod(number, 10)
    return _TENS[tens - 2] + (f" {_UNITS[unit]}" if unit else "")


def spoken_number(rng: random.Random, number: int) -> str:
    """Return a number in digits, sometimes in words."""
    return number_words(number) if rng.random() < 0.25 else str(number)


def percentage(rng: random.Random, full: str = "full|maximum|max|100 percent") -> tuple[int, str]:
    """Return a value 0 to 100 and one way to say it; `full` are ways to say 100."""
    style = rng.choices(("half", "full", "part", "number"), (5, 5, 4, 86))[0]
    if style == "part":
        return rng.choice(_PARTS)
    if style == "half":
        return 50, rng.choice(("half", "50 percent", "fifty percent"))
    if style == "full":
        return _HUNDRED, say(rng, f"({full})")
    number = rng.choice((rng.randint(1, 100), rng.randrange(5, 101, 5), rng.randrange(10, 101, 10)))
    return number, spoken_number(rng, number) + rng.choice((" percent", "%", "%", ""))


def degrees(rng: random.Random) -> tuple[float, str]:
    """Return a room temperature in °C, whole or a half, and one way to say it."""
    number = rng.randint(14, 28) if rng.random() < 0.8 else rng.randint(28, 56) / 2
    if number == int(number):
        value: float = int(number)
        words = spoken_number(rng, int(number))
    else:
        value = number
        words = rng.choice((str(number), str(number), f"{number_words(int(number))} and a half"))
    return value, words + rng.choice((" degrees", " degrees", " degrees celsius", "°", "", " c"))
