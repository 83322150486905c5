"""Commands about thermostats, fans and vacuum cleaners."""

from __future__ import annotations

import random
from typing import Any

from zoe_train.commands import Command, action, lead, order, pick
from zoe_train.numbers import degrees, percentage
from zoe_train.phrases import phrase
from zoe_train.references import Home, device_target


def temperature(rng: random.Random, home: Home) -> Command | None:
    """Set the target temperature of a thermostat."""
    device = pick(rng, home, "climate")
    if device is None:
        return None
    target = device_target(rng, home, device)
    number, value = degrees(rng)
    area = (device["area"] or "").lower()
    key = _temperature_key(rng, home, device)
    text = order(rng, key, x=target.words, v=value) if key == "temperature" else phrase(rng, key, v=value, a=area)
    done = f"Set {target.spoken} to {number} degrees."
    arguments = {"temperature": number, **target.arguments}
    return action(lead(rng, text), "climate__HassClimateSetTemperature", arguments, done)


def _temperature_key(rng: random.Random, home: Home, device: dict[str, Any]) -> str:
    """Name the thermostat, or leave it out where there is only one it can be."""
    if rng.random() < 0.6:
        return "temperature"
    if len(home.by_domain["climate"]) == 1:
        return "temperature_alone"
    if device["area"] and len(home.in_area(device["area"], "climate")) == 1:
        return "temperature_area"
    return "temperature"


def fan_speed(rng: random.Random, home: Home) -> Command | None:
    """Set the speed of a fan in percent."""
    device = pick(rng, home, "fan", "speed")
    if device is None:
        return None
    target = device_target(rng, home, device)
    number, value = percentage(rng, "full speed|maximum|max|full|100 percent|full blast")
    text = order(rng, "fan_speed", x=target.words, v=value)
    done = f"Set {target.spoken} to {number} percent."
    return action(lead(rng, text), "fan__HassFanSetSpeed", {**target.arguments, "percentage": number}, done)


def vacuum(rng: random.Random, home: Home) -> Command | None:
    """Start a vacuum cleaner or send it home."""
    device = pick(rng, home, "vacuum")
    if device is None:
        return None
    target = device_target(rng, home, device)
    key, tool, done = rng.choice(
        (
            ("vacuum_start", "vacuum__HassVacuumStart", f"Started {target.spoken}."),
            ("vacuum_return", "vacuum__HassVacuumReturnToBase", f"Sent {target.spoken} back to its base."),
        )
    )
    keys = (key, f"{key}_alone") if len(home.by_domain["vacuum"]) == 1 else (key,)
    return action(lead(rng, order(rng, *keys, x=target.words)), tool, target.arguments, done)
