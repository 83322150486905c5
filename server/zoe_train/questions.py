"""Questions about a home's state, answered from Home Assistant's live context."""

from __future__ import annotations

import random
from typing import Any, Final

import yaml

from zoe_train.commands import Command, Results, ask
from zoe_train.lists import join_spoken
from zoe_train.phrases import phrase
from zoe_train.references import Home, device_target, domain_of, the

LIVE: Final = "homeassistant__GetLiveContext"
UNKNOWN: Final = "Sorry, I could not find out."
_BINARY: Final = {
    "window": ("open", "closed"),
    "door": ("open", "closed"),
    "garage_door": ("open", "closed"),
    "motion": ("detecting motion", "not detecting motion"),
    "moisture": ("wet", "dry"),
    "smoke": ("detecting smoke", "not detecting smoke"),
    "occupancy": ("detecting somebody", "not detecting anybody"),
}
_UNITS: Final = {"°C": "degrees", "%": "percent", "W": "watts", "kWh": "kilowatt hours"}
_ASKED: Final = {
    "lock": ("locked", "unlocked"),
    "cover": ("open", "closed", "shut"),
    "light": ("on", "off"),
    "switch": ("on", "off"),
    "fan": ("on", "off"),
    "media_player": ("on", "playing", "off", "paused"),
    "vacuum": ("cleaning", "docked", "charging"),
}
_SAME: Final = {"shut": "closed", "charging": "docked"}


def live_entities(results: Results) -> list[dict[str, Any]]:
    """Return the entities in a live-context result; none if the call failed."""
    if results[0]["error"]:
        return []
    text = results[0]["data"]["result"].partition(":\n")[2]
    return [entity for entity in yaml.safe_load(text) or [] if isinstance(entity, dict)]


def condition(entity: dict[str, Any]) -> str:
    """Return in words what state an entity is in."""
    state, attributes = str(entity["state"]), entity.get("attributes", {})
    domain = entity["domain"]
    if domain == "binary_sensor":
        return _BINARY.get(attributes.get("device_class", ""), ("on", "off"))[0 if state == "on" else 1]
    if domain == "sensor":
        unit = attributes.get("unit_of_measurement", "")
        return f"{state} {_UNITS.get(unit, unit)}".strip()
    if domain == "cover" and 0 < int(attributes.get("current_position", 0)) < 100:
        return f"{attributes['current_position']} percent open"
    level = attributes.get({"light": "brightness_pct", "fan": "percentage"}.get(domain, ""))
    return f"on at {level} percent" if state == "on" and level is not None else state


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _asked_words(device: dict[str, Any]) -> tuple[str, ...]:
    if domain_of(device) != "binary_sensor":
        return _ASKED.get(domain_of(device), ())
    opens = _BINARY.get(device["device_class"]) == ("open", "closed")
    return ("open", "closed", "shut") if opens else ()


def _is_so(asked: str, entity: dict[str, Any]) -> bool:
    if asked == "on":
        return str(entity["state"]) not in ("off", "standby")
    state = condition(entity)
    return state.endswith("open") if asked == "open" else state == _SAME.get(asked, asked)


def state_question(rng: random.Random, home: Home) -> Command | None:
    """Ask for the state of one device, open or to be answered with yes or no."""
    device = rng.choice(home.devices)
    if domain_of(device) in ("sensor", "climate", "todo"):
        return value_question(rng, home)
    target = device_target(rng, home, device)
    call = ((LIVE, target.arguments),)
    words = _asked_words(device)
    if words and rng.random() < 0.7:
        asked = rng.choice(words)
        keys = ("is", "is_left") if asked in ("on", "open", "unlocked") else ("is",)
        text = phrase(rng, *keys, x=target.words, s=asked)
        return Command(ask(rng, text), call, lambda results: _yes_or_no(asked, target.spoken, results))
    either = f"either_{domain_of(device)}"
    keys = ("state", either) if domain_of(device) in ("lock", "cover", "light", "switch", "fan") else ("state",)
    text = ask(rng, phrase(rng, *keys, x=target.words))
    return Command(text, call, lambda results: _spoken_condition(target.spoken, results))


def _yes_or_no(asked: str, spoken: str, results: Results) -> str:
    entities = live_entities(results)
    if not entities:
        return UNKNOWN
    return f"{'Yes' if _is_so(asked, entities[0]) else 'No'}, {spoken} is {condition(entities[0])}."


def _spoken_condition(spoken: str, results: Results) -> str:
    entities = live_entities(results)
    return f"{_capital(spoken)} is {condition(entities[0])}." if entities else UNKNOWN


def value_question(rng: random.Random, home: Home) -> Command | None:
    """Ask for a number: a sensor's value, a thermostat's target or measured temperature."""
    candidates = [*home.by_domain.get("sensor", ()), *home.by_domain.get("climate", ())]
    if not candidates:
        return None
    device = rng.choice(candidates)
    if domain_of(device) == "climate":
        return _climate_question(rng, home, device)
    target = device_target(rng, home, device)
    kind, area = device["device_class"], device["area"]
    alone = area and sum(d.get("device_class") == kind for d in home.in_area(area, "sensor")) == 1
    key = "value"
    if alone and not home.in_area(area, "climate") and kind in ("temperature", "humidity"):
        key = rng.choice(("value", f"{kind}_of_area"))
    text = phrase(rng, key, x=target.words, a=(area or "").lower())
    return Command(
        ask(rng, text), ((LIVE, target.arguments),), lambda results: _spoken_condition(target.spoken, results)
    )


def _climate_question(rng: random.Random, home: Home, device: dict[str, Any]) -> Command:
    target = device_target(rng, home, device)
    alone = len(home.by_domain["climate"]) == 1
    thermometers = any(d.get("device_class") == "temperature" for d in home.by_domain.get("sensor", ()))
    measured = rng.random() < 0.4
    key = "climate_target" if not measured else "climate_measured"
    if measured and alone and not thermometers:
        key = "climate_measured_alone"

    def answer(results: Results) -> str:
        entities = live_entities(results)
        attributes = entities[0].get("attributes", {}) if entities else {}
        degrees = attributes.get("current_temperature" if measured else "temperature")
        if degrees is None:
            return UNKNOWN
        return f"It is {degrees} degrees." if measured else f"{_capital(target.spoken)} is set to {degrees} degrees."

    return Command(ask(rng, phrase(rng, key, x=target.words)), ((LIVE, target.arguments),), answer)


def area_question(rng: random.Random, home: Home) -> Command | None:
    """Ask whether lights are on, or covers open, in an area."""
    domain, asked, noun = rng.choice(
        (("light", "on", "lights"), ("light", "on", "lights"), ("cover", "open", "blinds"), ("cover", "open", "covers"))
    )
    areas = [area for area in home.areas if home.in_area(area, domain)]
    if not areas:
        return None
    area = rng.choice(areas)
    text = phrase(rng, "any_in_area", n=noun, o=noun.removesuffix("s"), s=asked, a=area.lower())

    def answer(results: Results) -> str:
        entities = live_entities(results)
        if not entities:
            return UNKNOWN
        so = [the(entity["names"]) for entity in entities if _is_so(asked, entity)]
        if not so:
            return f"No {noun} are {asked} in {the(area)}."
        return _capital(f"{join_spoken(so)} {'is' if len(so) == 1 else 'are'} {asked}.")

    return Command(ask(rng, text), ((LIVE, {"domain": [domain], "area": area}),), answer)


def time_question(rng: random.Random, home: Home) -> Command | None:
    """Ask for the time."""
    del home

    def answer(results: Results) -> str:
        if results[0]["error"]:
            return UNKNOWN
        hour, minute = results[0]["data"]["time"].split(":")[:2]
        return f"It is {hour}:{minute}."

    return Command(ask(rng, phrase(rng, "time")), (("llm__GetDateTime", {}),), answer)
