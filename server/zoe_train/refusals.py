"""Sentences that nothing in this home can do, answered honestly and without a call."""

from __future__ import annotations

import random
from typing import Final

from zoe_train import words
from zoe_train.commands import Command, lead
from zoe_train.phrases import phrase
from zoe_train.references import Home

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


_KINDS: Final = {
    "light": ("light", "lights", "lamp"), "switch": ("outlet", "plug", "heater", "kettle", "printer"),
    "cover": ("blinds", "curtains", "shutters", "shades", "window"), "lock": ("lock", "door lock"),
    "climate": ("thermostat", "heating", "radiator", "air conditioner"), "fan": ("fan", "ceiling fan"),
    "media_player": ("tv", "speaker", "radio", "television"), "vacuum": ("vacuum", "robot vacuum"),
}  # fmt: skip
"""How a device of a domain is called where an area has none."""


def missing_device(rng: random.Random, home: Home) -> Command | None:
    """Ask for a device this home does not have, or has only in other areas."""
    noun = rng.choice((_known_noun, _odd_noun, _kind_in_area))(rng, home)
    if noun is None:
        return None
    text = lead(rng, phrase(rng, "missing", x=rng.choice((f"the {noun}", f"the {noun}", f"my {noun}", noun)),
                            n=rng.randint(1, 100)))  # fmt: skip
    return Command(text, (), lambda _: f"Sorry, I could not find the {noun}.")


def _known_noun(rng: random.Random, home: Home) -> str | None:
    """Return a device that other homes have, in a place that this home lacks if it has one elsewhere."""
    noun = rng.choice(_NOUNS)
    last = noun.rpartition(" ")[2].removesuffix("s")
    if home.mentions(last) or last in _GENERAL:
        area = rng.choice(words.AREAS)
        if home.mentions(area) or any(area.lower() in (name.lower(), f"{name} room".lower()) for name in home.areas):
            return None
        return f"{area.lower()} {noun}"
    return noun


def _odd_noun(rng: random.Random, home: Home) -> str | None:
    noun = phrase(rng, "missing_noun")
    known = any(home.mentions(word.removesuffix("s")) for word in noun.split(" "))
    return None if known or any(noun.startswith(area.lower()) for area in home.areas) else noun


def _kind_in_area(rng: random.Random, home: Home) -> str | None:
    """Return a kind of device with an area that has none; without one, other devices there would be meant."""
    domain = rng.choice(list(_KINDS))
    area, kind = rng.choice(home.areas), rng.choice(_KINDS[domain])
    stem = kind.rpartition(" ")[2].removesuffix("s")
    nearby = any(stem in device["name"].lower() for device in home.devices
                 if device["area"] == area or area.lower() in device["name"].lower())  # fmt: skip
    return None if home.in_area(area, domain) or nearby else f"{area.lower()} {kind}"


def small_talk(rng: random.Random, home: Home) -> Command | None:
    """Talk that needs another model."""
    del home
    return Command(phrase(rng, "small_talk"), (), lambda _: SMALL_TALK_ANSWER)


def timer(rng: random.Random, home: Home) -> Command | None:
    """Ask for a timer on a device that cannot keep one."""
    del home
    text = lead(rng, phrase(rng, "timer", n=rng.randint(1, 60)))
    return Command(text, (), lambda _: "Sorry, this device cannot keep timers.")
