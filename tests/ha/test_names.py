"""Which thing is meant: one and only one, or the candidates are told."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe import names
from custom_components.zoe.names import MAX_CANDIDATES, Found, Named, resolve

KITCHEN = ("Kitchen", "galley")
HOME = [
    Named("Desk lamp", "light.desk_lamp"),
    Named("Glim", "light.desk_lamp"),
    Named("Ceiling light", "light.kitchen", KITCHEN),
    Named("Kitchen fan", "fan.kitchen", KITCHEN),
    Named("Lamp", "light.hall_lamp", ("Hall",)),
    Named("Lamp", "light.attic_lamp", ("Attic",)),
    Named("Lamp 1", "light.lamp_1"),
    Named("Lamp 2", "light.lamp_2"),
    Named("Wall light", "light.wall"),
    Named("Bürolampe", "light.office", ("Büro",)),
    Named("客厅灯", "light.living"),
    Named("TV", "media_player.tv"),
    Named("Tür", "cover.door"),
    Named("Lampe på kjøkkenet", "light.kjokkenet"),
    Named("Łazienka", "light.bath"),
]


@pytest.mark.parametrize(
    ("said", "name", "found"),
    [
        ("Desk lamp", "Desk lamp", Found.EXACT),
        ("light.desk_lamp", "Desk lamp", Found.EXACT),
        ("Lamp", "Lamp", Found.EXACT),
        ("DESK LAMP ", "Desk lamp", Found.LETTERS),
        ("desk_lamp", "Desk lamp", Found.LETTERS),
        ("desklamp", "Desk lamp", Found.LETTERS),
        ("lamp", "Lamp", Found.LETTERS),
        ("burolampe", "Bürolampe", Found.LETTERS),
        ("buerolampe", "Bürolampe", Found.LETTERS),
        ("Tuer", "Tür", Found.LETTERS),
        ("lampe pa kjokkenet", "Lampe på kjøkkenet", Found.LETTERS),
        ("lazienka", "Łazienka", Found.LETTERS),
        ("Desk lamp, Glim", "Desk lamp", Found.LIST),
        ("kitchen ceiling light", "Ceiling light", Found.AREA),
        ("ceiling light in the galley", "Ceiling light", Found.AREA),
        ("lamp desk", "Desk lamp", Found.AREA),
        ("the desk lamp", "Desk lamp", Found.AREA),
        ("fan", "Kitchen fan", Found.AREA),
        ("Dask lamp", "Desk lamp", Found.SPELLING),
        ("Celing light", "Ceiling light", Found.SPELLING),
        ("Ceilign lihgt", "Ceiling light", Found.SPELLING),
    ],
)
def test_resolved(said: str, name: str, found: Found) -> None:
    resolution = resolve(said, HOME)
    assert (resolution.name, resolution.found, resolution.area) == (name, found, None)


@pytest.mark.parametrize(("said", "area"), [("hall lamp", "Hall"), ("lamp in the attic", "Attic")])
def test_the_area_is_told_where_the_name_does_not_suffice(said: str, area: str) -> None:
    resolution = resolve(said, HOME)
    assert (resolution.name, resolution.found, resolution.area) == ("Lamp", Found.AREA, area)


@pytest.mark.parametrize("said", ["Lamp 3", "Hall light", "Chandelier", "Desk", "TW", "客厅", "", " ", "kitchen", "!"])
def test_not_guessed(said: str) -> None:
    resolution = resolve(said, HOME)
    assert resolution.name is None
    assert not resolution.ambiguous
    assert 0 < len(resolution.candidates) <= MAX_CANDIDATES


def test_similar_names_come_first() -> None:
    assert resolve("Hall light", HOME).candidates[0] == "Wall light"
    assert "Lamp (Hall)" in resolve("Lamp 3", HOME).candidates


def test_a_list_of_several_things_is_ambiguous() -> None:
    resolution = resolve("Desk lamp, TV", HOME)
    assert resolution.name is None
    assert resolution.ambiguous
    assert resolution.candidates == ("Desk lamp", "TV")


def test_two_things_that_fit_alike_are_ambiguous() -> None:
    lamps = [Named("Bedroom lamp", "a"), Named("Bathroom lamp", "b"), Named("Badroom lamp", "c")]
    resolution = resolve("Bidroom lamp", lamps)
    assert (resolution.name, resolution.ambiguous) == (None, True)
    assert resolution.candidates == ("Bedroom lamp", "Badroom lamp")


def test_a_large_home_does_not_keep_others_waiting() -> None:
    """The event loop waits for this: what is left is one look at each name, whatever was said."""
    rooms = [f"Room {letter}" for letter in "ABCDEFGHIJ"]
    home = [Named(f"{room} lamp {number}", f"light.{room}_{number}", (room,)) for room in rooms for number in range(30)]
    resolve("a yellow elephant", home)
    with (
        patch.object(names, "_folded", wraps=names._folded) as folded,
        patch.object(names, "_with_area", wraps=names._with_area) as told,
    ):
        assert resolve("a purple elephant", home).name is None
    assert (folded.call_count, told.call_count) == (1, MAX_CANDIDATES)


def test_nothing_known() -> None:
    assert resolve("Lamp", []).candidates == ()


NAMES = st.text(alphabet="abcdeé 12-", min_size=1, max_size=12).filter(lambda name: any(c.isalnum() for c in name))
HOMES = st.lists(st.builds(Named, NAMES, st.sampled_from("klmnop"), st.lists(NAMES, max_size=2).map(tuple)), max_size=8)


@given(HOMES, st.one_of(NAMES, st.text()))
def test_what_is_resolved_is_known_and_one_thing(home: list[Named], said: str) -> None:
    resolution = resolve(said, home)
    meant = [named for named in home if named.name == resolution.name]
    assert bool(meant) == (resolution.name is not None)
    assert not (resolution.name and resolution.candidates)
    if resolution.area:
        assert resolution.area in [area for named in meant for area in named.areas]


@given(HOMES.filter(bool), st.data())
def test_an_exact_name_is_always_itself(home: list[Named], data: st.DataObject) -> None:
    named = data.draw(st.sampled_from(home))
    assert resolve(named.name, home).name in (named.name, None)
    if len({other.key for other in home if named.name in (other.name, other.key)}) == 1:
        assert resolve(named.name, home).name == named.name
