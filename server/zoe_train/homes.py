"""Random homes: inventories for `virtual_home`, with names as people give them, and some that nobody would."""

from __future__ import annotations

import random
import re
from typing import Any, Final

from zoe_train import words

_WEIGHTS: Final = {
    "light": 8, "switch": 4, "cover": 3, "lock": 1.5, "climate": 1.5, "fan": 1.5, "media_player": 2.5, "vacuum": 1,
    "todo": 1, "sensor": 3, "binary_sensor": 2,
}  # fmt: skip
_TWINS: Final = 0.07


def random_home(rng: random.Random, seed: int) -> dict[str, Any]:
    """Return an inventory of 2 to 12 areas and 3 to 30 entities, exposed all."""
    floors = rng.sample(words.FLOORS, rng.choice((0, 1, 2, 2, 3)))
    areas = _areas(rng, floors)
    taken: set[str] = {area["name"].lower() for area in areas}
    entities: list[dict[str, Any]] = []
    n_entities = rng.randint(3, 12) if rng.random() < 0.35 else rng.randint(12, 30)
    for _ in range(n_entities):
        domain = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        entity = _entity(rng, domain, rng.choice(areas)["name"] if rng.random() < 0.95 else None, taken)
        if entity:
            entities.append(entity)
            if rng.random() < _TWINS and (twin := _twin(rng, entity, areas)):
                entities.append(twin)
    return {
        "name": f"Home {seed}",
        "floors": [{"name": floor} for floor in floors],
        "areas": areas,
        "entities": entities,
    }


def _twin(rng: random.Random, entity: dict[str, Any], areas: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return a device of the same name in another area, as homes have two lamps called "Lamp"."""
    others = [area["name"] for area in areas if area["name"] != entity["area"]]
    if entity["area"] is None or entity["area"].lower() in entity["name"].lower() or not others:
        return None
    if entity["id"].startswith("todo."):  # a list is chosen by its name alone
        return None
    return {**entity, "id": f"{entity['id']}_2", "area": rng.choice(others)}


def _areas(rng: random.Random, floors: list[str]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    while len(names) < rng.randint(2, 12):
        name = rng.choice(words.AREAS)
        if rng.random() < 0.08:
            name = f"{rng.choice(words.PEOPLE)}'s room"
        elif rng.random() < 0.05:
            name = invented(rng)
        names.setdefault(name.lower(), name)
    return [{"name": name, **({"floor": rng.choice(floors)} if floors else {})} for name in names.values()]


def invented(rng: random.Random) -> str:
    """Return a word that no vocabulary knows, so that copying is learned and not remembering."""
    return "".join(rng.choice(words.INVENTED_SYLLABLES) for _ in range(rng.randint(2, 3))).capitalize()


def _name(rng: random.Random, noun: str, area: str | None, taken: set[str]) -> str | None:
    for _ in range(20):
        name = _styled(rng, noun, area)
        if name.lower() not in taken:
            taken.add(name.lower())
            return name
    return None


def _styled(rng: random.Random, noun: str, area: str | None) -> str:
    style = rng.random()
    if area and style < 0.36:
        name = f"{area} {noun}"
    elif style < 0.68:
        name = noun
    elif style < 0.80:
        name = f"{rng.choice(words.ADJECTIVES)} {noun}"
    elif style < 0.86:
        name = f"{rng.choice(words.PEOPLE)}'s {noun}"
    elif style < 0.90:
        name = f"{invented(rng)} {noun}"
    elif style < 0.93:
        name = invented(rng) if rng.random() < 0.6 else f"{invented(rng)} {invented(rng)}"
    elif style < 0.96:
        name = f"{noun} {rng.randint(1, 5)}"
    else:
        name = f"{area or 'Spare'} {rng.choice(words.ADJECTIVES).lower()} {noun}"
    if rng.random() < 0.25:
        name = " ".join(word[:1].upper() + word[1:] for word in name.split(" "))
    return name[:1].upper() + name[1:]


def _entity(rng: random.Random, domain: str, area: str | None, taken: set[str]) -> dict[str, Any] | None:
    noun, options = _MAKERS[domain](rng)
    name = _name(rng, noun, area, taken)
    if name is None:
        return None
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return {"id": f"{domain}.{slug}", "name": name, "area": area, **options}


def _light(rng: random.Random) -> tuple[str, dict[str, Any]]:
    features = rng.choice(
        (
            ["brightness"],
            ["brightness", "color"],
            ["brightness", "color", "temperature"],
            ["brightness", "temperature"],
            [],
        )
    )
    options = {"state": rng.choice(("on", "off")), "features": features, "brightness_pct": rng.randint(1, 100)}
    return rng.choice(words.LIGHT_NOUNS), options


def _switch(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return rng.choice(words.SWITCH_NOUNS), {"state": rng.choice(("on", "off"))}


def _cover(rng: random.Random) -> tuple[str, dict[str, Any]]:
    noun, device_class = rng.choice(words.COVERS)
    state = rng.choice(("open", "closed"))
    options: dict[str, Any] = {"state": state, "device_class": device_class}
    if device_class not in ("garage", "gate", "door") or rng.random() < 0.3:
        options |= {
            "features": ["position"],
            "position": rng.choice((100, 100, rng.randint(1, 99))) if state == "open" else 0,
        }
    return noun, options


def _lock(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return rng.choice(words.LOCK_NOUNS), {"state": rng.choice(("locked", "unlocked"))}


def _climate(rng: random.Random) -> tuple[str, dict[str, Any]]:
    options = {"temperature": rng.randint(32, 52) / 2, "current_temperature": rng.randint(150, 270) / 10}
    return rng.choice(words.CLIMATE_NOUNS), {"state": rng.choice(("heat", "heat", "cool", "off")), **options}


def _fan(rng: random.Random) -> tuple[str, dict[str, Any]]:
    state = rng.choice(("on", "off"))
    percentage = {"percentage": rng.randint(5, 100)} if state == "on" else {}
    return rng.choice(words.FAN_NOUNS), {
        "state": state,
        "features": rng.choice((["speed"], ["speed"], [])),
        **percentage,
    }


def _media_player(rng: random.Random) -> tuple[str, dict[str, Any]]:
    state = rng.choice(("playing", "playing", "paused", "off", "idle"))
    return rng.choice(words.MEDIA_NOUNS), {"state": state, "volume": rng.randint(0, 100) / 100}


def _vacuum(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return rng.choice(words.VACUUM_NOUNS), {
        "state": rng.choice(("docked", "docked", "cleaning", "returning", "paused"))
    }


def _todo(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return rng.choice(words.LISTS), {"items": rng.sample(words.ITEMS, rng.randint(0, 5))}


def _sensor(rng: random.Random) -> tuple[str, dict[str, Any]]:
    noun, device_class, unit, low, high = rng.choice(words.SENSORS)
    value = rng.uniform(low, high)
    text = f"{value:.1f}" if unit in ("°C", "kWh") else f"{value:.0f}"
    return noun, {"state": text, "device_class": device_class, "unit": unit}


def _binary_sensor(rng: random.Random) -> tuple[str, dict[str, Any]]:
    noun, device_class = rng.choice(words.BINARY_SENSORS)
    return noun, {"state": rng.choice(("on", "off")), "device_class": device_class}


_MAKERS: Final = {
    "light": _light, "switch": _switch, "cover": _cover, "lock": _lock, "climate": _climate, "fan": _fan,
    "media_player": _media_player, "vacuum": _vacuum, "todo": _todo, "sensor": _sensor, "binary_sensor": _binary_sensor,
}  # fmt: skip
