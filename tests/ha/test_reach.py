"""A call reaches what was spoken of and nothing else: `shared/cases/integration.md`, "Reach".

The home is that of the corpus; its intents and the server's classifier are real, the model is a script.
"""

from typing import Any, Final

import pytest
from homeassistant.core import HomeAssistant

from tests.ha.fake_zoe import FakeZoe
from tests.ha.test_door import Call, House, thing
from tests.ha.tool_turns import TURN_OFF, TURN_ON, tool_results

pytestmark = pytest.mark.usefixtures("agent")

LIGHT_SET: Final = "light__HassLightSet"
LIGHTS: Final = {"domain": ["light"]}


def errors(zoe: FakeZoe) -> list[str]:
    """What the model was told of its calls that were not made."""
    return [str(result["data"].get("error", "")) for result in tool_results(zoe) if result["error"]]


@pytest.mark.parametrize(
    ("language", "said", "call", "answer", "place"),
    [
        ("en", "turn on the bathroom lights", (TURN_ON, LIGHTS), "The bathroom lights are on.", "bathroom"),
        ("en", "turn off the attic lights", (TURN_OFF, LIGHTS), "The attic lights are off.", "attic"),
        ("en", "turn on the lights in the sauna", (TURN_ON, LIGHTS), "They are on.", "sauna"),
        ("de", "Schalte das Licht im Keller ein", (TURN_ON, LIGHTS), "Das Licht im Keller ist an.", "Keller"),
        ("fr", "allume la lumière de la cave", (TURN_ON, LIGHTS), "La lumière de la cave est allumée.", "cave"),
        ("es", "enciende las luces del sótano", (TURN_ON, LIGHTS), "Las luces del sótano están encendidas.", "sótano"),
        ("nl", "doe de lampen op zolder aan", (TURN_ON, LIGHTS), "De lampen op zolder zijn aan.", "zolder"),
        ("it", "accendi le luci della cantina", (TURN_ON, LIGHTS), "Le luci della cantina sono accese.", "cantina"),
    ],
)
@pytest.mark.parametrize("satellite", [None, "kitchen"])
async def test_a_room_that_does_not_exist(
    hass: HomeAssistant,
    zoe: FakeZoe,
    language: str,
    said: str,
    call: Call,
    answer: str,
    place: str,
    satellite: str | None,
) -> None:
    house = await House.async_move_in(hass, zoe, language, without=["bathroom"])
    told = await house.say(said, call, answer=answer, satellite=satellite)
    assert house.done == []
    assert answer not in told
    if "in the sauna" not in said:
        assert place in told


@pytest.mark.parametrize(
    ("language", "said", "call", "satellite", "done"),
    [
        (
            "en",
            "turn on the lights",
            (TURN_ON, LIGHTS),
            "kitchen",
            ["turn_on light.kitchen_ceiling", "turn_on light.kitchen_counter"],
        ),
        ("en", "turn off the light", (TURN_OFF, LIGHTS), "bedroom", ["turn_off light.bedroom"]),
        ("de", "Mach bitte das Licht aus", (TURN_OFF, LIGHTS), "living_room", ["turn_off light.living_room"]),
        ("fr", "baisse un peu la lumière", (LIGHT_SET, {"brightness": 20}), "bedroom", ["turn_on light.bedroom"]),
        ("es", "apaga las luces", (TURN_OFF, {**LIGHTS, "floor": ""}), "office", ["turn_off light.desk"]),
        ("nl", "licht aan", (TURN_ON, {"domain": "light"}), "office", ["turn_on light.desk"]),
        ("it", "alza le tapparelle", (TURN_ON, {"domain": ["cover"]}), "bedroom", ["open_cover cover.bedroom_shutter"]),
        ("en", "pause", ("media_player__HassMediaPause", {}), "living_room", ["media_pause media_player.tv"]),
        ("en", "turn on the lights", (TURN_ON, LIGHTS), "hallway", []),
    ],
)
async def test_no_place_is_the_speakers_room(
    hass: HomeAssistant, zoe: FakeZoe, language: str, said: str, call: Call, satellite: str, done: list[str]
) -> None:
    house = await House.async_move_in(hass, zoe, language)
    await house.say(said, call, satellite=satellite)
    assert house.done == done


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "turn on all the lights"),
        ("en", "lights on in the whole house"),
        ("en", "turn every light on"),
        ("de", "Schalte überall das Licht ein"),
        ("fr", "allume toutes les lumières"),
        ("it", "accendi tutte le luci di casa"),
    ],
)
async def test_the_whole_house_if_that_was_said(hass: HomeAssistant, zoe: FakeZoe, language: str, said: str) -> None:
    house = await House.async_move_in(hass, zoe, language)
    await house.say(said, (TURN_ON, LIGHTS), satellite="kitchen")
    assert len(house.done) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        {"entity_id": "light.desk", "domain": ["light"]},
        {"entity_id": ["light.desk"], "domain": ["light"]},
        {"target": {"entity_id": "light.desk"}},
        {"target": {"entity_id": ["light.desk"]}, "domain": ["light"]},
        {"device": "Desk lamp", "domain": ["light"]},
        {"device_name": "desk lamp"},
        {"room": "Office", "domain": ["light"]},
        {"location": "office", "domain": ["light"]},
        {"name": "Desk lamp", "entity_id": "light.desk"},
        {"name": "Desk lamp", "room": "Office"},
    ],
)
async def test_an_argument_that_can_be_understood_is(
    hass: HomeAssistant, zoe: FakeZoe, arguments: dict[str, Any]
) -> None:
    house = await House.async_move_in(hass, zoe)
    assert await house.say("turn on the desk lamp in the office", (TURN_ON, arguments)) == "OK."
    assert house.done == ["turn_on light.desk"]


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"entity_id": "light.deskk", "domain": ["light"]}, "entity_id"),
        ({"device_id": "0f3c99d2", "domain": ["light"]}, "device_id"),
        ({"room": "Attic", "domain": ["light"]}, "room"),
        ({"entity_id": ["light.desk", "light.bedroom"], "domain": ["light"]}, "entity_id"),
        ({"name": "Desk lamp", "delay": 600}, "delay"),
        ({"name": "Desk lamp", "brightness_step_pct": -10}, "brightness_step_pct"),
    ],
)
async def test_an_argument_that_cannot_is_refused_by_name(
    hass: HomeAssistant, zoe: FakeZoe, arguments: dict[str, Any], argument: str
) -> None:
    house = await House.async_move_in(hass, zoe)
    await house.say("turn on the desk lamp in the office", (TURN_ON, arguments), answer="The desk lamp is on.")
    assert house.done == []
    (result,) = tool_results(zoe)[:1]
    assert argument in result["data"]["error_text"]


COOKER: Final = {"switch.cooker": thing("Cooker", "kitchen", "on"), "switch.iron": thing("Iron", "bedroom", "on")}


@pytest.mark.parametrize(
    ("language", "said", "call", "satellite"),
    [
        ("en", "turn off the cooler", (TURN_OFF, {"name": "Cooker"}), None),
        ("en", "turn off the cooler", (TURN_OFF, {"name": "Cooker"}), "kitchen"),
        ("en", "turn off the irrigation pump", (TURN_OFF, {"name": "Iron"}), None),
        ("en", "turn off the kettle", (TURN_OFF, {"name": "Coffee machine"}), None),
        ("en", "turn off the bathroom fan", (TURN_OFF, {"name": "Bedroom fan"}), None),
        ("en", "turn off the fireplace in the kitchen", (TURN_OFF, {"name": "Cooker"}), "living_room"),
        ("de", "Mach den Backofen aus", (TURN_OFF, {"name": "Kaffeemaschine"}), None),
        ("de", "Schalte den Geschirrspüler ein", (TURN_ON, {"name": "Weihnachtsbaum"}), "living_room"),
        ("fr", "éteins le four", (TURN_OFF, {"name": "Machine à café"}), "kitchen"),
        ("es", "apaga la lavadora", (TURN_OFF, {"name": "Cafetera"}), None),
        ("nl", "zet de vaatwasser uit", (TURN_OFF, {"name": "Koffiezetapparaat"}), None),
        ("it", "spegni il forno", (TURN_OFF, {"name": "Macchina del caffè"}), None),
    ],
)
async def test_what_is_called_was_spoken_of(
    hass: HomeAssistant, zoe: FakeZoe, language: str, said: str, call: Call, satellite: str | None
) -> None:
    house = await House.async_move_in(hass, zoe, language, COOKER)
    told = await house.say(said, call, satellite=satellite, answer="It is off.")
    assert house.done == []
    assert "It is off." not in told
    (error, *_) = errors(zoe)
    assert error in ("not_spoken_of", "unknown_name", "ambiguous_name")


@pytest.mark.parametrize(
    ("said", "called", "there"),
    [
        ("unlock the dog door", "Dog door", {"lock.door": thing("Door", "hallway", "locked")}),
        ("Mach das Bad Licht an", "Bad Licht", {"light.licht": thing("Licht", "kitchen")}),
        ("turn off the AC plug", "AC plug", {"switch.plug": thing("Plug", "kitchen", "on")}),
        ("turn on the fan, not the lamp", "not the lamp", {"light.lamp": thing("Lamp", "office")}),
        ("turn on the beamer", "Beamer", {"switch.emoji": thing("💡", "office")}),
        ("turn on the Lina Lampe", "Lina Lampe", {"light.lena": thing("Lena Lampe", "bedroom")}),
        ("turn off pump 2", "Pump 2", {"switch.pump": thing("Pump 1", "garden", "on")}),
        ("unlock the cellar door", "Cellar door", {"lock.door": thing("Seller door", "hallway", "locked")}),
        ("turn off the guest heater", "Guest heater", {"switch.heater": thing("Heater", "office", "on")}),
    ],
)
async def test_another_thing_is_not_taken_for_it(
    hass: HomeAssistant, zoe: FakeZoe, said: str, called: str, there: dict[str, Any]
) -> None:
    house = await House.async_move_in(hass, zoe, things=there)
    service = TURN_OFF if said.startswith(("unlock", "turn off")) else TURN_ON
    told = await house.say(said, (service, {"name": called}), answer="Which one do you mean?")
    assert house.done == []
    assert told == "Which one do you mean?"
    (result,) = tool_results(zoe)
    assert result["data"]["error"] in ("unknown_name", "ambiguous_name")
    assert result["data"]["candidates"]


LONG: Final = (
    "Lamp on the old chest of drawers that grandmother brought along from the island when she moved in here in 1961"
)


@pytest.mark.parametrize(("said", "called"), [(LONG, LONG), (LONG.upper(), LONG.lower()), ("那" + "盏灯" * 60,) * 2])
async def test_a_long_name_that_is_said_is_found(hass: HomeAssistant, zoe: FakeZoe, said: str, called: str) -> None:
    name = LONG if called.isascii() else called
    assert len(name) >= 110
    house = await House.async_move_in(hass, zoe, things={"light.long": thing(name, "office")})
    await house.say(f"turn on the {said}", (TURN_ON, {"name": called}))
    assert house.done == ["turn_on light.long"]


async def test_what_is_left_out_is_not_what_is_meant(hass: HomeAssistant, zoe: FakeZoe) -> None:
    """An unknown argument whose value is a room is not always the room of the call."""
    house = await House.async_move_in(hass, zoe)
    await house.say("turn on all the lights except in the kitchen", (TURN_ON, {**LIGHTS, "except": "Kitchen"}))
    assert house.done == []
    (result, *_) = tool_results(zoe)
    assert "except" in result["data"]["error_text"]


@pytest.mark.parametrize(
    ("said", "call", "named"),
    [
        ("turn off the coffee machine", (TURN_OFF, {"area": "Kitchen"}), "Coffee machine"),
        (
            "switch off the coffee machine",
            (TURN_OFF, {"area": "Kitchen", "domain": ["switch", "light"]}),
            "Coffee machine",
        ),
    ],
)
async def test_one_thing_is_not_all_of_its_room(
    hass: HomeAssistant, zoe: FakeZoe, said: str, call: Call, named: str
) -> None:
    house = await House.async_move_in(hass, zoe)
    await house.say(said, call, answer="Which one do you mean?")
    assert house.done == []
    (result, *_) = tool_results(zoe)
    assert result["data"]["candidates"] == [named]
