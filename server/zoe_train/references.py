"""How people point at a device or an area, and the tool arguments that mean the same."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from zoe_train.phrases import say

KIND_WORDS: Final = {
    "vacuum": ("vacuum", "robot", "vacuum cleaner", "robot vacuum", "hoover", "vacuum robot"),
    "climate": ("thermostat", "heating", "temperature"),
    "lock": ("lock", "door lock"),
    "fan": ("fan",),
    "media_player": ("music", "player"),
}
LIGHT_WORDS: Final = ("light", "lamp", "bulb")
PLURALS: Final = {
    "light": ("lights", "lamps", "lighting"),
    "cover": ("blinds", "covers", "shades", "curtains"),
    "fan": ("fans",),
}
CLASS_PLURALS: Final = {
    "blind": ("blinds",), "curtain": ("curtains", "drapes"), "shade": ("shades",), "shutter": ("shutters",),
    "window": ("windows",), "awning": ("awnings",), "gate": ("gates",), "garage": ("garage doors",), "door": ("doors",),
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What a sentence points at: its words, its arguments, and how an answer names it."""

    words: str
    arguments: dict[str, Any]
    spoken: str
    devices: tuple[dict[str, Any], ...] = ()


@dataclass
class Home:
    """An inventory with the look-ups that making sentences needs."""

    inventory: dict[str, Any]
    here: str | None = None
    by_domain: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for device in self.devices:
            self.by_domain.setdefault(domain_of(device), []).append(device)

    @property
    def devices(self) -> list[dict[str, Any]]:
        """All devices."""
        devices: list[dict[str, Any]] = self.inventory["entities"]
        return devices

    @property
    def areas(self) -> list[str]:
        """Names of all areas."""
        return [area["name"] for area in self.inventory["areas"]]

    def in_area(self, area: str | None, domain: str) -> list[dict[str, Any]]:
        """Return the devices of a domain in an area."""
        return [device for device in self.by_domain.get(domain, ()) if device["area"] == area]

    def on_floor(self, floor: str, domain: str) -> list[dict[str, Any]]:
        """Return the devices of a domain on a floor."""
        areas = {area["name"] for area in self.inventory["areas"] if area.get("floor") == floor}
        return [device for device in self.by_domain.get(domain, ()) if device["area"] in areas]

    def is_unique(self, device: dict[str, Any]) -> bool:
        """Return whether no other device has the same name."""
        return bool(sum(other["name"] == device["name"] for other in self.devices) == 1)

    def mentions(self, words: str) -> int:
        """Return how many names of devices contain `words`."""
        return sum(words.lower() in device["name"].lower() for device in self.devices)


def domain_of(device: dict[str, Any]) -> str:
    """Return the domain of a device's entity id."""
    return str(device["id"].partition(".")[0])


def the(name: str) -> str:
    """Return `name` with its article, as one would speak it."""
    return (
        name
        if "'s " in name or (" " not in name and not name.isupper() and name[:1].isupper() and len(name) > 9)
        else f"the {name}"
    )


def device_target(rng: random.Random, home: Home, device: dict[str, Any]) -> Target:
    """Return one way to point at `device`; one of two of the same name also needs its area."""
    if not home.is_unique(device):
        return _twin_target(rng, home, device)
    return Target(
        rng.choice(list(_device_words(rng, home, device))), {"name": device["name"]}, the(device["name"]), (device,)
    )


def _twin_target(rng: random.Random, home: Home, device: dict[str, Any]) -> Target:
    name, area = device["name"], device["area"]
    words = [f"the {name} in the {area}", f"the {area} {name}", f"the {name} in the {area}"]
    if area == home.here:
        words += [f"the {name}", f"the {name} in here"]
    words = [text.lower().replace("the the ", "the ") for text in words]
    return Target(rng.choice(words), {"name": name, "area": area}, f"{the(name)} in {the(area)}", (device,))


def _device_words(rng: random.Random, home: Home, device: dict[str, Any]) -> Iterable[str]:
    name, area = device["name"].lower(), (device["area"] or "").lower()
    article = "" if "'s " in name else rng.choice(("the ", "the ", "the ", "the ", "my ", ""))
    for _ in range(3):
        yield f"{article}{name}"
    if area and area not in name:
        yield from (f"the {name} in the {area}", f"the {area} {name}")
    if area and name.startswith(f"{area} "):
        noun = name[len(area) + 1 :]
        yield f"the {noun} in the {area}"
        if home.mentions(noun) == 1:
            yield f"the {noun}"
    elif " " in name and home.mentions(last := name.rpartition(" ")[2]) == 1 and not last.isdigit():
        yield f"the {last}"
    same_kind = home.by_domain[domain_of(device)]
    if len(same_kind) == 1:
        yield from (f"the {word}" for word in KIND_WORDS.get(domain_of(device), ()) if home.mentions(word) <= 1)
    elif area and len(home.in_area(device["area"], domain_of(device))) == 1:
        words = KIND_WORDS.get(domain_of(device), ())
        yield from (f"the {word} in the {area}" for word in words[:1])
        yield from (f"the {area} {word}" for word in words[:1])


def area_target(rng: random.Random, home: Home, domain: str) -> Target | None:
    """Return one way to point at all devices of `domain` in one area, on one floor, here, or everywhere."""
    style = rng.random()
    if home.here and style < 0.25:
        return _here(rng, home, domain)
    floors = [floor["name"] for floor in home.inventory["floors"] if home.on_floor(floor["name"], domain)]
    if floors and style < 0.4:
        return _floor(rng, home, rng.choice(floors), domain)
    if style < 0.48 and home.by_domain.get(domain):
        return _everywhere(rng, home, domain)
    areas = [area for area in home.areas if home.in_area(area, domain)]
    return _area(rng, home, rng.choice(areas), domain) if areas else None


def _plural(rng: random.Random, devices: list[dict[str, Any]], domain: str) -> str:
    classes = {device.get("device_class") for device in devices}
    if domain == "cover" and len(classes) == 1:
        return rng.choice(CLASS_PLURALS[str(next(iter(classes)))])
    return rng.choice(PLURALS[domain])


def _area(rng: random.Random, home: Home, area: str, domain: str) -> Target:
    devices, spoken_area = home.in_area(area, domain), area.lower()
    plural = _plural(rng, devices, domain)
    if len(devices) == 1 and domain == "light" and rng.random() < 0.6:
        plural = rng.choice(LIGHT_WORDS)
    patterns = [
        "the {p} in the {a}",
        "[all] the {p} in the {a}",
        "the {a} {p}",
        "{a} {p}",
        "all [the] {a} {p}",
        "all {p} in the {a}",
    ]
    if plural in LIGHT_WORDS:
        patterns = ["the {p} in the {a}", "the {a} {p}", "{a} {p}"]
    words = say(rng, *patterns, p=plural, a=spoken_area)
    if any(device["name"].lower() in words for device in devices):
        words = f"all {_plural(rng, devices, domain)} in the {spoken_area}"
    return Target(
        words, {"area": area, "domain": [domain]}, f"the {_spoken_plural(domain)} in {the(area)}", tuple(devices)
    )


def _spoken_plural(domain: str) -> str:
    return {"light": "lights", "cover": "covers", "fan": "fans"}[domain]


def _floor(rng: random.Random, home: Home, floor: str, domain: str) -> Target:
    plural = _plural(rng, home.on_floor(floor, domain), domain)
    place = (
        floor.lower()
        if floor in ("Upstairs", "Downstairs", "Outside")
        else rng.choice(("on", "in")) + f" the {floor.lower()}"
    )
    words = say(rng, "[all] the {p} {f}", "all {p} {f}", "every {s} {f}", p=plural, s=plural.removesuffix("s"), f=place)
    spoken = floor if floor in ("Upstairs", "Downstairs", "Outside") else f"on the {floor}"
    devices = tuple(home.on_floor(floor, domain))
    return Target(
        words, {"floor": floor, "domain": [domain]}, f"the {_spoken_plural(domain)} {spoken.lower()}", devices
    )


def _everywhere(rng: random.Random, home: Home, domain: str) -> Target:
    devices = home.by_domain[domain]
    plural = _plural(rng, devices, domain)
    words = say(
        rng,
        "all [the] {p} in the house",
        "all [the] {p} [everywhere]",
        "every {s} [in the house]",
        p=plural,
        s=plural.removesuffix("s"),
    )
    return Target(words, {"domain": [domain]}, f"all {_spoken_plural(domain)}", tuple(devices))


def _here(rng: random.Random, home: Home, domain: str) -> Target | None:
    devices = home.in_area(home.here, domain)
    if not devices:
        return None
    plural = _plural(rng, devices, domain)
    words = say(rng, "the {p}", "the {p} [in] here", "[all] the {p} in this room", p=plural)
    if len(devices) == 1 and domain == "light":
        words = say(rng, "the light [in here]", "the {p}", p=plural)
    return Target(
        words,
        {"area": home.here, "domain": [domain]},
        f"the {_spoken_plural(domain)} in {the(str(home.here))}",
        tuple(devices),
    )
