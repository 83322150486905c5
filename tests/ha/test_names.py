"""Which thing is meant: one and only one, or the candidates are told."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.home import Named
from custom_components.zoe.turn import names, words
from custom_components.zoe.turn.names import MAX_CANDIDATES, Found, resolve
from custom_components.zoe.turn.words import is_made_of, mentions, relates

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
    Named("X" * 110, "light.long"),
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
        ("Celing light", "Ceiling light", Found.SPELLING),
        ("Ceilign light", "Ceiling light", Found.SPELLING),
        ("X" * 110, "X" * 110, Found.EXACT),
    ],
)
def test_resolved(said: str, name: str, found: Found) -> None:
    resolution = resolve(said, HOME)
    assert (resolution.name, resolution.found, resolution.area) == (name, found, None)


@pytest.mark.parametrize(("said", "area"), [("hall lamp", "Hall"), ("lamp in the attic", "Attic")])
def test_the_area_is_told_where_the_name_does_not_suffice(said: str, area: str) -> None:
    resolution = resolve(said, HOME)
    assert (resolution.name, resolution.found, resolution.area) == ("Lamp", Found.AREA, area)


@pytest.mark.parametrize(
    "said", ["Lamp 3", "Hall light", "Chandelier", "Desk", "TW", "客厅", "", " ", "kitchen", "!", "the"]
)
def test_not_guessed(said: str) -> None:
    resolution = resolve(said, HOME)
    assert resolution.name is None
    assert not resolution.ambiguous
    assert 0 < len(resolution.candidates) <= MAX_CANDIDATES


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("Dog door", Named("Door", "lock.door", ("Hallway",))),
        ("Bad Licht", Named("Licht", "light.kueche", ("Küche",))),
        ("AC plug", Named("Plug", "switch.fridge")),
        ("not the lamp", Named("Lamp", "light.lamp")),
        ("TV", Named("💡", "light.emoji")),
        ("the", Named("💡", "light.emoji", ("The",))),
        ("Lina Lampe", Named("Lena Lampe", "light.lena")),
        ("Dask lamp", Named("Desk lamp", "light.desk")),
        ("Hintertuer Schlos", Named("Hintertür Schloss", "lock.back")),
        ("Garagge door", Named("Garage door", "cover.garage")),
    ],
)
def test_another_thing_is_not_taken_for_it(said: str, named: Named) -> None:
    resolution = resolve(said, [named])
    assert (resolution.name, resolution.candidates) == (None, (named.name,))


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("turn on the desk lamps", "Desk lamp"),
        ("mach das Küchenlicht an", "Licht"),
        ("mach das Licht in der Küche an", "Küchenlicht"),
        ("turn on the dask lamp", "Desk"),
        ("accendi le luci", "Luce"),
        ("把客厅灯打开", "客厅灯"),
        ("lamp 2", "Lamp"),
    ],
)
def test_spoken_of(said: str, name: str) -> None:
    assert relates(said, [name])


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("turn off the cooler", "Cooker"),
        ("turn off the cooler", "Coffee machine"),
        ("lights in the house", "The fan"),
        ("pause it", "Passage"),
        ("", "Lamp"),
        ("turn it on", "💡"),
        ("lamp 2", "Shelf 1"),
    ],
)
def test_not_spoken_of(said: str, name: str) -> None:
    assert not relates(said, [name])


@pytest.mark.parametrize(
    ("said", "made_of"),
    [
        ("Küchenlicht", True),
        ("Küchenlampe", False),
        ("kitchan", False),
        ("lichter", True),
        ("Küchenlichter", False),
        ("terrazzo", False),
        ("sauna", False),
        ("", False),
    ],
)
def test_made_of(said: str, *, made_of: bool) -> None:
    assert is_made_of(said, ["Küche", "Licht an der Wand", "Kitchen", "Piano terra"]) is made_of


@pytest.mark.parametrize(
    ("said", "name", "mentioned"),
    [
        ("is the front door locked", "Front door", True),
        ("is the front garden door locked", "Front door", False),
        ("把客厅灯打开", "客厅灯", True),
        ("turn it on", "💡", False),
    ],
)
def test_mentioned(said: str, name: str, *, mentioned: bool) -> None:
    assert mentions(said, name) is mentioned


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
        patch.object(words, "_folded", wraps=words._folded) as folded,
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
