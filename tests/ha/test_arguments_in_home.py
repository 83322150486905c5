"""A call that says more or less than a home has: `shared/cases/integration.md`, "Arguments".

The home is that of the corpus; its intents and the server's classifier are real, the model is a script.
"""

from typing import Any, Final

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm
from homeassistant.setup import async_setup_component
from homeassistant.util.json import JsonObjectType
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_mock_service

from tests.ha.fake_zoe import FakeZoe
from tests.ha.test_door import POSITION, Call, House, thing
from tests.ha.tool_turns import TURN_OFF, TURN_ON, EchoTool, ToolsAPI, options, tool_results

pytestmark = pytest.mark.usefixtures("agent")

LIGHT_SET: Final = "light__HassLightSet"
CLIMATE: Final = "climate__HassClimateSetTemperature"


@pytest.mark.parametrize(
    ("arguments", "done"),
    [
        ({"name": "Christmas tree", "domain": ["light"]}, "switch.christmas_tree"),
        ({"name": "Desk lamp", "device_class": ["tv"]}, "light.desk"),
        ({"name": "Desk lamp", "area": "none"}, "light.desk"),
        ({"name": "Desk lamp", "floor": "null"}, "light.desk"),
        ({"name": "Desk lamp", "area": "None", "floor": "N/A", "device_class": ["none"]}, "light.desk"),
        ({"name": "Reading corner", "area": "Kitchen"}, "light.corner"),
        ({"name": "Reading corner", "floor": "Ground floor", "domain": ["switch"]}, "light.corner"),
        ({"name": "Coffee machine", "domain": ["light", "fan"], "area": "Kitchen"}, "switch.coffee_machine"),
        ({"name": "Bedroom fan", "domain": ["fan"], "device_class": "outlet"}, "fan.bedroom"),
    ],
)
async def test_the_one_thing_of_that_name(
    hass: HomeAssistant, zoe: FakeZoe, arguments: dict[str, Any], done: str
) -> None:
    house = await House.async_move_in(hass, zoe, things={"light.corner": thing("Reading corner")})
    assert await house.say(f"turn on the {arguments['name']}", (TURN_ON, arguments)) == "OK."
    assert house.done == [f"turn_on {done}"]


@pytest.mark.parametrize(
    ("said", "call", "things", "done"),
    [
        (
            "lock the smart lock",
            (TURN_ON, {"name": "Smart Lock"}),
            {
                "lock.smart": thing("Smart Lock", "hallway", "unlocked"),
                "sensor.smart_lock": thing("Smart Lock", "hallway", "80", device_class="battery"),
            },
            "lock lock.smart",
        ),
        (
            "lower the awning",
            (TURN_OFF, {"name": "Awning"}),
            {
                "binary_sensor.awning": thing("Awning", "garden", "on", device_class="opening"),
                "cover.awning": thing("Awning", "garden", "open", device_class="awning"),
            },
            "close_cover cover.awning",
        ),
        (
            "set the awning to 40 percent",
            (POSITION, {"name": "Awning", "position": 40}),
            {
                "sensor.awning": thing("Awning", None, "12"),
                "cover.awning": thing("Awning", "garden", "open", device_class="awning"),
            },
            "set_cover_position cover.awning",
        ),
        (
            "turn on the boiler",
            (TURN_ON, {"name": "Boiler", "area": "Kitchen"}),
            {
                "sensor.boiler": thing("Boiler", "kitchen", "50", device_class="temperature"),
                "switch.boiler": thing("Boiler", "bathroom"),
                "binary_sensor.boiler": thing("Boiler", "bathroom"),
            },
            "turn_on switch.boiler",
        ),
    ],
)
async def test_the_only_one_that_can_do_it(
    hass: HomeAssistant, zoe: FakeZoe, said: str, call: Call, things: dict[str, Any], done: str
) -> None:
    house = await House.async_move_in(hass, zoe, things=things)
    assert await house.say(said, call) == "OK."
    assert house.done == [done]


@pytest.mark.parametrize(
    ("language", "arguments", "wanted"),
    [
        ("en", {"color": "2700K"}, {"color_temp_kelvin": 2700}),
        ("en", {"color": "2700 kelvin"}, {"color_temp_kelvin": 2700}),
        ("en", {"temperature": "4000 K"}, {"color_temp_kelvin": 4000}),
        ("en", {"brightness": "50 percent"}, {"brightness_pct": 50}),
        ("en", {"brightness": "50 %"}, {"brightness_pct": 50}),
        ("en", {"brightness": 50.0}, {"brightness_pct": 50}),
        ("de", {"brightness": "50 Prozent"}, {"brightness_pct": 50}),
        ("de", {"color": "rot", "brightness": "20%"}, {"brightness_pct": 20, "rgb_color": (255, 0, 0)}),
        ("fr", {"color": "rouge"}, {"rgb_color": (255, 0, 0)}),
    ],
)
async def test_a_light_as_it_was_said(
    hass: HomeAssistant, zoe: FakeZoe, language: str, arguments: dict[str, Any], wanted: dict[str, Any]
) -> None:
    house = await House.async_move_in(hass, zoe, language, {"light.x": thing("Zebra", "office")})
    calls = async_mock_service(hass, "light", "turn_on")
    assert await house.say("Zebra", (LIGHT_SET, {"name": "Zebra", **arguments})) == "OK."
    (call,) = calls
    assert call.data == {"entity_id": "light.x", **wanted}


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        ({"color": "cozy"}, "color"),
        ({"brightness": "bright"}, "brightness"),
        ({"brightness": 400}, "brightness"),
        ({"temperature": "warm"}, "temperature"),
    ],
)
async def test_what_is_not_understood_is_told_by_its_argument(
    hass: HomeAssistant, zoe: FakeZoe, arguments: dict[str, Any], telling: str
) -> None:
    house = await House.async_move_in(hass, zoe)
    await house.say("make the desk lamp nice", (LIGHT_SET, {"name": "Desk lamp", **arguments}), answer="Done.")
    assert house.done == []
    (result, *_) = tool_results(zoe)
    assert result["error"]
    assert telling in result["data"]["error_text"]


@pytest.mark.parametrize(
    ("value", "wanted"), [("21,5", 21.5), ("21.5 °C", 21.5), ("19 Grad", 19), ("18", 18), (20.5, 20.5), ("-5", -5)]
)
async def test_a_temperature_as_it_was_said(hass: HomeAssistant, zoe: FakeZoe, value: object, wanted: float) -> None:
    house = await House.async_move_in(hass, zoe)
    calls = async_mock_service(hass, "climate", "set_temperature")
    call = (CLIMATE, {"name": "Living room heating", "temperature": value})
    assert await house.say("set the living room heating to that", call) == "OK."
    assert [one.data["temperature"] for one in calls] == [wanted]


@pytest.mark.parametrize("place", [{"area": "Kitchen"}, {"floor": "Ground floor"}, {}])
async def test_two_thermostats_are_both_set_or_named(hass: HomeAssistant, zoe: FakeZoe, place: dict[str, str]) -> None:
    things = {
        "climate.oven_side": thing("Oven side", "kitchen", "heat"),
        "climate.window_side": thing("Window side", "kitchen", "heat"),
    }
    house = await House.async_move_in(hass, zoe, things=things)
    await house.say("set the temperature in the kitchen to 18", (CLIMATE, {**place, "temperature": 18}))
    (result, *_) = tool_results(zoe)
    both = ["set_temperature climate.oven_side", "set_temperature climate.window_side"]
    named = {"Oven side", "Window side"} <= set(result["data"].get("candidates", ()))
    assert house.done == both or (named and house.done == [])


SCRIPT: Final = {
    "fields": {
        "lamp": {"selector": {"entity": {"domain": "light"}}},
        "lamps": {"selector": {"entity": {"domain": "light", "multiple": True}}},
        "room": {"selector": {"area": None}},
        "level": {"selector": {"floor": None}},
    },
    "sequence": [],
}


@pytest.fixture
async def signal(hass: HomeAssistant, zoe: FakeZoe) -> House:
    """A home with a script that takes things and places."""
    assert await async_setup_component(hass, "script", {"script": {"signal": {"alias": "Signal", **SCRIPT}}})
    house = await House.async_move_in(hass, zoe, things={"script.signal": thing("Signal")})
    async_mock_service(hass, "script", "signal", response={})
    return house


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"lamp": "Desk lamp"}, {"lamp": "light.desk"}),
        ({"lamp": "light.desk"}, {"lamp": "light.desk"}),
        ({"lamp": "desk-lamp"}, {"lamp": "light.desk"}),
        ({"lamps": ["Desk lamp", "Bedroom lamp"]}, {"lamps": ["light.desk", "light.bedroom"]}),
        ({"lamps": ["light.desk", "Kitchen light"]}, {"lamps": ["light.desk", "light.kitchen_ceiling"]}),
        ({"room": "Kitchen"}, {"room": "kitchen"}),
        ({"level": "upstairs"}, {"level": "upstairs"}),
    ],
)
async def test_a_script_gets_the_ids_of_what_is_named(
    hass: HomeAssistant, signal: House, arguments: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert await signal.say("run signal", ("script__signal", arguments)) == "OK."
    called = [event.data["service_data"] for event in signal.calls]
    assert called == [wanted]


@pytest.mark.parametrize(
    "arguments",
    [
        {"lamp": "light.deskk_lamp"},
        {"lamp": "Chandelier"},
        {"lamp": "Coffee machine"},
        {"lamps": ["Desk lamp", "light.nothing"]},
        {"room": "Attic"},
        {"level": "Roof"},
    ],
)
async def test_a_script_gets_nothing_that_does_not_exist(
    hass: HomeAssistant, signal: House, arguments: dict[str, Any]
) -> None:
    await signal.say("run signal", ("script__signal", arguments), answer="Which one?")
    assert signal.done == []
    (result,) = tool_results(signal.zoe)
    assert result["data"]["error"] in ("unknown_name", "ambiguous_name")
    assert result["data"]["candidates"]


class _Odd(EchoTool):
    """Returns what is no JSON."""

    def __init__(self, data: object) -> None:
        super().__init__()
        self._data = data

    async def async_call(
        self, hass: HomeAssistant, tool_input: llm.ToolInput, llm_context: llm.LLMContext
    ) -> llm.ToolResult:
        self.calls.append(tool_input.tool_args)
        data: JsonObjectType = {"found": self._data}  # type: ignore[dict-item]
        return llm.ToolResult(data=data)


@pytest.mark.parametrize(
    "data",
    [{1, 2}, object(), b"\xff", float("nan"), "\ud800", {("a", "b"): 1}, {1: "one"}, {2**70}, [object()]],
    ids=str,
)
async def test_a_result_that_is_no_json_does_not_end_the_turn(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, data: object
) -> None:
    tool = _Odd(data)
    llm.async_register_api(hass, ToolsAPI(hass, tool))
    await options(hass, entry, llm_hass_api=["test"], confirm="never")
    house = await House.async_move_in(hass, zoe)
    assert await house.say("look it up", ("test__tool", {}), answer="I found it.") == "I found it."
    assert tool.calls == [{}]
    assert "I found it." in await house.say("and now?", answer="I found it. There is more.")
