"""Commands about covers and locks."""

from __future__ import annotations

import random

from zoe_train.commands import OFF, ON, Command, action, device_or_area, lead, order, pick
from zoe_train.numbers import percentage
from zoe_train.phrases import phrase
from zoe_train.references import Home, device_target


def cover(rng: random.Random, home: Home) -> Command | None:
    """Open or close a cover, or the covers of a place."""
    target = device_or_area(rng, home, "cover")
    if target is None:
        return None
    verb, tool, done = rng.choice((("open", ON, "Opened"), ("close", OFF, "Closed")))
    text = f"{verb} {target.words}" if rng.random() < 0.4 else order(rng, verb, x=target.words)
    return action(lead(rng, text), tool, target.arguments, f"{done} {target.spoken}.")


def position(rng: random.Random, home: Home) -> Command | None:
    """Move a cover to a position in percent."""
    device = pick(rng, home, "cover", "position")
    if device is None:
        return None
    target = device_target(rng, home, device)
    number, value = percentage(rng, "fully open|100 percent")
    text = order(rng, "position", x=target.words, v=value)
    if rng.random() < 0.2:
        number, text = 50, phrase(rng, "position_half", x=target.words)
    done = f"Set {target.spoken} to {number} percent."
    return action(lead(rng, text), "intent__HassSetPosition", {**target.arguments, "position": number}, done)


def lock(rng: random.Random, home: Home) -> Command | None:
    """Lock or unlock."""
    device = pick(rng, home, "lock")
    if device is None:
        return None
    target = device_target(rng, home, device)
    verb, tool, done = rng.choice((("lock", ON, "Locked"), ("unlock", OFF, "Unlocked")))
    keys = (verb, f"{verb}_alone") if len(home.by_domain["lock"]) == 1 and rng.random() < 0.3 else (verb,)
    text = lead(rng, order(rng, *keys, x=target.words))
    return action(text, tool, target.arguments, f"{done} {target.spoken}.")
