"""Commands about lights, and about all that is just on or off."""

from __future__ import annotations

import random
from typing import Final

from zoe_train import words
from zoe_train.commands import OFF, ON, Command, action, device_or_area, lead, order, pick
from zoe_train.numbers import percentage
from zoe_train.phrases import phrase
from zoe_train.references import Home, Target, device_target, the

LIGHT_SET: Final = "light__HassLightSet"
_SWITCHED: Final = ("light", "switch", "fan", "media_player")
_WHITES: Final = (
    ("warm white", 2700), ("cool white", 5000), ("daylight", 6500), ("neutral white", 4000), ("cold white", 6000),
    ("soft white", 3000),
)  # fmt: skip


def on_off(rng: random.Random, home: Home) -> Command | None:
    """Switch a light, switch, fan or player, or the lights of a place."""
    domain = rng.choices(("light", "switch", "fan", "media_player"), (6, 4, 1.5, 2))[0]
    target = device_or_area(rng, home, domain)
    if target is None:
        return None
    on = rng.random() < 0.5
    key = "on" if on else "off"
    keys = (key, f"light_{key}") if domain == "light" else (key,)
    usual = f"(turn|switch) {key} {target.words}"
    text = usual.replace("(turn|switch)", rng.choice(("turn", "switch")))
    if rng.random() < 0.7:
        text = order(rng, *keys, x=target.words)
    return action(lead(rng, text), ON if on else OFF, target.arguments, f"Turned {key} {target.spoken}.")


def everything(rng: random.Random, home: Home) -> Command | None:
    """Switch all that can be switched in an area; doors, covers and thermostats are not meant."""
    area = rng.choice(home.areas)
    if not any(home.in_area(area, domain) for domain in _SWITCHED):
        return None
    on = rng.random() < 0.2
    key = "on" if on else "off"
    spoken = phrase(rng, "everything", a=area.lower())
    arguments = {"area": area, "domain": list(_SWITCHED)}
    text = f"{rng.choice(('turn', 'switch'))} {key} {spoken}" if rng.random() < 0.5 else phrase(rng, key, x=spoken)
    return action(lead(rng, text), ON if on else OFF, arguments, f"Turned {key} everything in {the(area)}.")


def brightness(rng: random.Random, home: Home) -> Command | None:
    """Set the brightness of a light or of the lights of a place."""
    target = device_or_area(rng, home, "light", "brightness")
    if target is None:
        return None
    number, value = percentage(rng)
    text = order(rng, "brightness", x=target.words, v=value)
    if rng.random() < 0.06:
        number, text = 100, phrase(rng, "brightness_full", x=target.words)
    done = f"Set {target.spoken} to {number} percent."
    return action(lead(rng, text), LIGHT_SET, {**target.arguments, "brightness": number}, done)


def color(rng: random.Random, home: Home) -> Command | None:
    """Set the colour of a light, sometimes with a brightness."""
    target = device_or_area(rng, home, "light", "color")
    if target is None:
        return None
    name = rng.choice(rng.choice((words.COLORS, words.COLORS[:8])))
    text = order(rng, "color", x=target.words, c=name)
    if rng.random() < 0.15:
        return _color_and_brightness(rng, target, name, text)
    return action(lead(rng, text), LIGHT_SET, {**target.arguments, "color": name}, f"Set {target.spoken} to {name}.")


def _color_and_brightness(rng: random.Random, target: Target, name: str, text: str) -> Command:
    number, value = percentage(rng)
    text = phrase(rng, "color_brightness", t=text, v=value)
    arguments = {**target.arguments, "color": name, "brightness": number}
    return action(lead(rng, text), LIGHT_SET, arguments, f"Set {target.spoken} to {name} at {number} percent.")


def color_temperature(rng: random.Random, home: Home) -> Command | None:
    """Set a light to a white of a colour temperature in kelvin."""
    device = pick(rng, home, "light", "temperature")
    if device is None:
        return None
    target = device_target(rng, home, device)
    value, kelvin = rng.choice(_WHITES)
    if rng.random() < 0.4:
        kelvin = rng.randrange(2000, 6600, 100)
        value = f"{kelvin} {rng.choice(('kelvin', 'k', 'kelvins'))}"
    text = order(rng, "color_temperature", x=target.words, v=value)
    done = f"Set {target.spoken} to {kelvin} kelvin."
    return action(lead(rng, text), LIGHT_SET, {**target.arguments, "temperature": kelvin}, done)
