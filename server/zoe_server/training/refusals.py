"""Sentences that nothing in this home can do, answered honestly and without a call."""

from __future__ import annotations

import random
from typing import Final

from zoe_server.training import words
from zoe_server.training.commands import Command, lead
from zoe_server.training.phrases import phrase
from zoe_server.training.references import Home

SMALL_TALK_ANSWER: Final = "I can control the house; for conversation add a chat model."
_NOUNS: Final = tuple(
    noun.lower()
    for nouns in (words.LIGHT_NOUNS, words.SWITCH_NOUNS, words.LOCK_NOUNS, words.MEDIA_NOUNS, words.FAN_NOUNS,
                  words.VACUUM_NOUNS, tuple(noun for noun, _ in words.COVERS))
    for noun in nouns
)  # fmt: skip
_GENERAL: Final = (
    "light", "lamp", "lock", "door", "blind", "curtain", "shade", "window", "robot", "player", "cleaner",
)  # fmt: skip


def missing_device(rng: random.Random, home: Home) -> Command | None:
    """Ask for a device this home does not have."""
    noun = rng.choice(_NOUNS)
    last = noun.rpartition(" ")[2].removesuffix("s")
    if home.mentions(last) or last in _GENERAL:
        area = rng.choice(words.AREAS)
        if home.mentions(area) or any(area.lower() in (name.lower(), f"{name} room".lower()) for name in home.areas):
            return None
        noun = f"{area.lower()} {noun}"
    text = lead(rng, phrase(rng, "missing", x=f"the {noun}"))
    return Command(text, (), lambda _: f"Sorry, I could not find the {noun}.")


def small_talk(rng: random.Random, home: Home) -> Command | None:
    """Talk that needs another model."""
    del home
    return Command(phrase(rng, "small_talk"), (), lambda _: SMALL_TALK_ANSWER)


def timer(rng: random.Random, home: Home) -> Command | None:
    """Ask for a timer on a device that cannot keep one."""
    del home
    text = lead(rng, phrase(rng, "timer", n=rng.randint(1, 60)))
    return Command(text, (), lambda _: "Sorry, this device cannot keep timers.")
