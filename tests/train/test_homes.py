"""Random homes, and how sentences point at their devices."""

from __future__ import annotations

import random

import pytest

from zoe_train.homes import random_home
from zoe_train.lights import everything
from zoe_train.references import Home, device_target
from zoe_train.refusals import missing_device

SEEDS = range(150)
HERE = "Office"


def lamp(area: str, number: int) -> dict:
    return {"id": f"light.lamp_{number}", "name": "Lamp", "area": area, "state": "off", "features": []}


@pytest.fixture
def two_lamps() -> Home:
    areas = [{"name": name} for name in ("Bedroom", HERE, "Kitchen")]
    switch = {"id": "switch.kettle", "name": "Kettle", "area": "Kitchen", "state": "off"}
    return Home({"floors": [], "areas": areas, "entities": [lamp("Bedroom", 1), lamp(HERE, 2), switch]}, HERE)


def test_homes_differ_in_size_and_never_in_shape() -> None:
    sizes = set()
    for seed in SEEDS:
        home = random_home(random.Random(seed), seed)
        ids = [entity["id"] for entity in home["entities"]]
        assert len(ids) == len(set(ids))
        assert {entity["area"] for entity in home["entities"]} <= {area["name"] for area in home["areas"]} | {None}
        sizes.add(len(ids))
    assert min(sizes) < 8
    assert max(sizes) > 22


def test_some_homes_have_two_devices_of_one_name_in_different_areas() -> None:
    n_pairs = 0
    for seed in SEEDS:
        places: dict[str, list[str | None]] = {}
        for entity in random_home(random.Random(seed), seed)["entities"]:
            places.setdefault(entity["name"], []).append(entity["area"])
        doubles = [areas for areas in places.values() if len(areas) > 1]
        n_pairs += len(doubles)
        assert all(len(set(areas)) == len(areas) for areas in doubles)
    assert n_pairs > 20


def test_one_of_two_devices_of_the_same_name_needs_its_area(two_lamps: Home) -> None:
    for seed in SEEDS:
        bedroom = device_target(random.Random(seed), two_lamps, two_lamps.devices[0])
        assert bedroom.arguments == {"name": "Lamp", "area": "Bedroom"}
        assert "bedroom" in bedroom.words
        office = device_target(random.Random(seed), two_lamps, two_lamps.devices[1])
        assert office.arguments == {"name": "Lamp", "area": HERE}
    spoken_here = {device_target(random.Random(seed), two_lamps, two_lamps.devices[1]).words for seed in SEEDS}
    assert {"the lamp", "the lamp in the office"} <= spoken_here
    assert device_target(random.Random(1), two_lamps, two_lamps.devices[2]).arguments == {"name": "Kettle"}


def test_what_is_called_missing_is_not_there() -> None:
    n_refusals = 0
    for seed in SEEDS:
        rng = random.Random(seed)
        home = Home(random_home(rng, seed))
        command = missing_device(rng, home)
        if command is None:
            continue
        n_refusals += 1
        noun = command.answer([]).removeprefix("Sorry, I could not find the ").removesuffix(".")
        assert noun in command.text
        assert not command.calls
        assert not any(device["name"].lower() in (noun, f"the {noun}") for device in home.devices)
    assert n_refusals > len(SEEDS) / 2


def test_everything_in_a_place_is_what_can_be_switched_there(two_lamps: Home) -> None:
    for seed in SEEDS:
        command = everything(random.Random(seed), two_lamps)
        assert command is not None
        ((_, arguments),) = command.calls
        assert arguments["domain"] == ["light", "switch", "fan", "media_player"]
        assert arguments["area"].lower() in command.text
