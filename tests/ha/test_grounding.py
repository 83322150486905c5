"""The values that exist in a home, for the arguments of the tools Home Assistant really offers."""

from typing import Any

import probatio
import pytest
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.components.homeassistant.llm import async_get_exposed_entities
from homeassistant.components.intent import async_register_timer_handler
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers import intent, llm
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.home import argument_values

EVERYTHING = 0xFFFFFFF  # all features of a device
DEVICES = {
    "climate.thermostat": "Thermostat",
    "cover.blinds": "Blinds",
    "fan.fan": "Ceiling fan",
    "light.lamp": "Lamp",
    "media_player.tv": "TV",
    "todo.shopping": "Shopping list",
    "vacuum.robot": "Robot",
    "calendar.family": "Family",
    "script.movie": "Movie time",
}


@pytest.fixture
async def tools(hass: HomeAssistant) -> list[llm.Tool]:
    """The tools of a home with one device of many kinds, for a satellite with timers."""
    assert await async_setup_component(hass, "homeassistant", {})
    for domain in sorted({entity_id.partition(".")[0] for entity_id in DEVICES} - {"script"}):
        assert await async_setup_component(hass, domain, {})
    movie = {"fields": {"name": {"description": "Title"}, "area": {"description": "Where"}}, "sequence": []}
    assert await async_setup_component(hass, "script", {"script": {"movie": movie}})
    assert await async_setup_component(hass, "conversation", {})
    await hass.async_block_till_done()  # the domains register their intents in the background
    for entity_id, name in DEVICES.items():
        if not entity_id.startswith("script"):
            hass.states.async_set(entity_id, "on", {"friendly_name": name, "supported_features": EVERYTHING})
        async_expose_entity(hass, "conversation", entity_id, True)
    hass.states.async_set("light.secret", "on", {"friendly_name": "Secret light"})
    async_expose_entity(hass, "conversation", "light.secret", False)
    async_register_timer_handler(hass, "satellite", lambda *args: None)
    context = llm.LLMContext("zoe", Context(), "en", "conversation", "satellite")
    return (await llm.async_get_api(hass, "assist", context)).tools


def allowed(values: dict[str, list[str]], tool: str, argument: str) -> list[str]:
    """What the server's grammar admits: the narrow key wins, an empty list is free."""
    return values.get(f"{tool}.{argument}", values.get(argument, []))


async def test_names_are_those_of_the_prompt(home: HomeAssistant) -> None:
    er.async_get(home).async_update_entity("light.desk_lamp", aliases=[er.COMPUTED_NAME, "Work light", "Glim"])
    values = argument_values(home)
    listed = async_get_exposed_entities(home, "conversation", include_state=False)
    assert sorted(name for entity in listed.values() for name in entity["names"].split(", ")) == values["name"]
    assert values == {
        "name": ["Desk lamp", "Glim", "Kitchen light", "Outside", "Work light"],
        "area": ["Kitchen", "galley"],
        "floor": ["Ground floor", "downstairs"],
        "domain": ["light", "sensor"],
    }


async def test_areas_of_devices_count(hass: HomeAssistant) -> None:
    assert await async_setup_component(hass, "homeassistant", {})
    entry = MockConfigEntry()
    entry.add_to_hass(hass)
    attic = ar.async_get(hass).async_create("Attic")
    device = dr.async_get(hass).async_get_or_create(config_entry_id=entry.entry_id, identifiers={("test", "1")})
    dr.async_get(hass).async_update_device(device.id, area_id=attic.id)
    registered = er.async_get(hass).async_get_or_create("light", "test", "1", device_id=device.id, config_entry=entry)
    hass.states.async_set(registered.entity_id, "on", {"friendly_name": "Bulb"})
    async_expose_entity(hass, "conversation", registered.entity_id, True)
    values = argument_values(hass)
    assert values["area"] == ["Attic"]
    assert values["floor"] == []


async def test_all_areas_when_nothing_has_one(hass: HomeAssistant) -> None:
    assert await async_setup_component(hass, "homeassistant", {})
    floor = fr.async_get(hass).async_create("Upstairs")
    ar.async_get(hass).async_create("Loft", floor_id=floor.floor_id)
    assert argument_values(hass) == {"name": [], "area": ["Loft"], "floor": ["Upstairs"], "domain": []}


async def test_another_assistant_sees_what_is_exposed_to_it(home: HomeAssistant) -> None:
    assert argument_values(home, "ai_task")["name"] == []


async def test_tools_are_narrowed_to_their_devices(hass: HomeAssistant, tools: list[llm.Tool]) -> None:
    values = argument_values(hass, tools=tools)
    assert values["name"] == ["Blinds", "Ceiling fan", "Lamp", "Robot", "Shopping list", "TV", "Thermostat"]
    for tool, names in {
        "climate__HassClimateSetTemperature": ["Thermostat"],
        "fan__HassFanSetSpeed": ["Ceiling fan"],
        "light__HassLightSet": ["Lamp"],
        "media_player__HassMediaPause": ["TV"],
        "todo__HassListAddItem": ["Shopping list"],
        "vacuum__HassVacuumStart": ["Robot"],
        "intent__HassSetPosition": ["Blinds"],
        "intent__HassStopMoving": ["Blinds"],
        "intent__HassTurnOn": ["Blinds", "Ceiling fan", "Lamp", "TV", "Thermostat"],
        "homeassistant__GetLiveContext": values["name"],
    }.items():
        assert allowed(values, tool, "name") == names, tool
    assert allowed(values, "media_player__search_media", "player_name") == ["TV"]
    assert allowed(values, "light__HassLightSet", "domain") == ["light"]
    assert allowed(values, "intent__HassSetPosition", "domain") == ["cover"]
    assert allowed(values, "intent__HassTurnOn", "domain") == ["climate", "cover", "fan", "light", "media_player"]


async def test_an_area_without_such_a_device_is_left_out(home: HomeAssistant, tools: list[llm.Tool]) -> None:
    cellar = ar.async_get(home).async_get_area_by_name("Cellar")
    assert cellar is not None
    entry = er.async_get(home).async_get_or_create("sensor", "test", "damp", suggested_object_id="damp")
    er.async_get(home).async_update_entity(entry.entity_id, area_id=cellar.id)
    home.states.async_set(entry.entity_id, "60", {"friendly_name": "Damp"})
    async_expose_entity(home, "conversation", entry.entity_id, True)
    values = argument_values(home, tools=tools)
    assert "Cellar" in allowed(values, "homeassistant__GetLiveContext", "area")
    for tool in ("intent__HassTurnOn", "light__HassLightSet"):
        assert "Cellar" not in allowed(values, tool, "area"), tool


async def test_words_that_mean_something_else_are_free(hass: HomeAssistant, tools: list[llm.Tool]) -> None:
    ar.async_get(hass).async_create("Study")
    values = argument_values(hass, tools=tools)
    for action in ("StartTimer", "CancelTimer", "IncreaseTimer", "DecreaseTimer", "PauseTimer", "TimerStatus"):
        assert allowed(values, f"intent__Hass{action}", "name") == []
    assert allowed(values, "intent__HassCancelAllTimers", "area") == []
    assert allowed(values, "script__movie", "name") == []
    assert allowed(values, "script__movie", "area") == []


async def test_a_vacuum_may_clean_any_area(home: HomeAssistant, tools: list[llm.Tool]) -> None:
    values = argument_values(home, tools=tools)
    assert allowed(values, "vacuum__HassVacuumStart", "area") == ["Kitchen", "galley"]
    assert allowed(values, "vacuum__HassVacuumCleanArea", "area") == ["Cellar", "Kitchen", "galley"]


async def test_every_tool_is_either_known_or_free(hass: HomeAssistant, tools: list[llm.Tool]) -> None:
    class Foreign(llm.Tool):
        name = "other__rename"
        integration = "other"
        parameters = probatio.Schema({"name": str, probatio.Optional("count"): int})

    class Unstructured(llm.Tool):
        name = "other__any"
        integration = "other"
        parameters = probatio.Schema(dict)

    values = argument_values(hass, tools=[*tools, Foreign(), Unstructured()])
    assert allowed(values, "other__rename", "name") == []
    assert not [key for key in values if key.startswith("other__any")]


async def test_equal_homes_give_equal_bytes(hass: HomeAssistant, tools: list[llm.Tool]) -> None:
    first: dict[str, Any] = argument_values(hass, tools=tools)
    state = hass.states.get("light.lamp")
    assert state is not None
    hass.states.async_remove("light.lamp")
    hass.states.async_set("light.lamp", "off", state.attributes)
    assert list(argument_values(hass, tools=tools).items()) == list(first.items())


SWITCHED = {
    **dict.fromkeys(("automation", "camera", "climate", "fan", "humidifier", "input_boolean"), (True, True)),
    **dict.fromkeys(("light", "media_player", "remote", "siren", "switch", "water_heater"), (True, True)),
    **dict.fromkeys(("cover", "lock", "valve"), (True, True)),
    **dict.fromkeys(("button", "input_button", "scene"), (True, False)),
    **dict.fromkeys(("date", "event", "image", "input_number", "input_select", "input_text"), (False, False)),
    **dict.fromkeys(("lawn_mower", "number", "select", "text", "time", "update", "vacuum"), (False, False)),
    **dict.fromkeys(("binary_sensor", "calendar", "person", "sensor", "todo", "weather", "zone"), (False, False)),
}


async def test_only_what_a_tool_can_act_on_is_offered(hass: HomeAssistant) -> None:
    """What is offered is what Home Assistant's own handlers do not refuse."""
    assert await async_setup_component(hass, "homeassistant", {})
    for domain in SWITCHED:
        assert await async_setup_component(hass, domain, {}), domain
    assert await async_setup_component(hass, "conversation", {})
    await hass.async_block_till_done()
    for domain in SWITCHED:
        hass.states.async_set(f"{domain}.thing", "on", {"friendly_name": f"Thing {domain}"})
        async_expose_entity(hass, "conversation", f"{domain}.thing", True)
    api = await llm.async_get_api(hass, "assist", llm.LLMContext("zoe", Context(), "en", "conversation", None))
    values = argument_values(hass, tools=api.tools)
    for index, tool in enumerate(("intent__HassTurnOn", "intent__HassTurnOff")):
        offered = {name.removeprefix("Thing ") for name in allowed(values, tool, "name")}
        assert offered == {domain for domain, able in SWITCHED.items() if able[index]}
        assert offered == set(allowed(values, tool, "domain"))
        for domain in SWITCHED:
            try:
                await api.async_call_tool(llm.ToolInput(tool, {"name": f"Thing {domain}"}))
            except intent.IntentError:
                assert domain not in offered
            else:
                assert domain in offered
    assert allowed(values, "intent__HassSetPosition", "domain") == ["cover", "valve"]
    assert "Thing number" in allowed(values, "homeassistant__GetLiveContext", "name")


async def test_tools_behind_a_name_space_are_known(hass: HomeAssistant, tools: list[llm.Tool]) -> None:
    values = argument_values(hass, tools=[llm.NamespacedTool("assist", tool) for tool in tools])
    assert allowed(values, "assist__light__HassLightSet", "name") == ["Lamp"]
    assert "Robot" not in allowed(values, "assist__intent__HassTurnOn", "name")


async def test_an_intent_of_another_integration(hass: HomeAssistant, tools: list[llm.Tool]) -> None:
    handlers = {
        "fans": intent.ServiceIntentHandler("Fans", "fan", "oscillate", required_domains={"fan"}),
        "fans_by_platform": intent.ServiceIntentHandler("Breeze", "fan", "oscillate", platforms={"fan"}),
        "anything": intent.ServiceIntentHandler("Anything", "other", "do"),
    }
    found = {}
    for name, handler in handlers.items():
        intent.async_register(hass, handler)
        tool = llm.IntentTool(f"other__{name}", handler, integration="other")
        found[name] = allowed(argument_values(hass, tools=[tool]), tool.name, "name")
    assert found == {"fans": ["Ceiling fan"], "fans_by_platform": ["Ceiling fan"], "anything": []}
