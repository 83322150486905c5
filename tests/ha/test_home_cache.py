"""What is found out about a home is found out again after every kind of change, and only then."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

import probatio
import pytest
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.components.intent import async_register_timer_handler
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers import llm
from homeassistant.helpers.json import json_dumps
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_mock_service

from custom_components.zoe.home import PromptedHome, argument_values, home_cache, inventory
from custom_components.zoe.home import cache as home_cache_module
from custom_components.zoe.home.exposure import _inventory
from custom_components.zoe.home.values import _values
from custom_components.zoe.turn.messages import offered_tools, tools_to_openai

type Change = Callable[[HomeAssistant, str], object]


@pytest.fixture
async def device(home: HomeAssistant) -> str:
    """A bulb in the kitchen by its device; the device's id."""
    assert await async_setup_component(home, "conversation", {})
    entry = MockConfigEntry()
    entry.add_to_hass(home)
    device = dr.async_get(home).async_get_or_create(config_entry_id=entry.entry_id, identifiers={("test", "1")})
    kitchen = ar.async_get(home).async_get_area_by_name("Kitchen")
    assert kitchen is not None
    dr.async_get(home).async_update_device(device.id, area_id=kitchen.id, name_by_user="Bulb")
    registered = er.async_get(home).async_get_or_create(
        "light",
        "test",
        "bulb",
        device_id=device.id,
        config_entry=entry,
        has_entity_name=True,
        suggested_object_id="bulb",
    )
    home.states.async_set(registered.entity_id, "on", {"friendly_name": "Bulb"})
    async_expose_entity(home, "conversation", registered.entity_id, True)
    await home.async_block_till_done()
    return device.id


async def api(hass: HomeAssistant, assistant: str = "conversation", device_id: str | None = None) -> llm.APIInstance:
    context = llm.LLMContext("zoe", Context(), "en", assistant, device_id)
    return await llm.async_get_api(hass, "assist", context)


def area(hass: HomeAssistant, name: str) -> ar.AreaEntry:
    found = ar.async_get(hass).async_get_area_by_name(name)
    assert found is not None
    return found


def floor(hass: HomeAssistant) -> str:
    found = fr.async_get(hass).async_get_floor_by_name("Ground floor")
    assert found is not None
    return found.floor_id


def entity(**changes: object) -> Change:
    return lambda hass, _: er.async_get(hass).async_update_entity("light.desk_lamp", **changes)  # type: ignore[arg-type]


CHANGES: dict[str, Change] = {
    "rename": entity(name="Reading lamp"),
    "alias": entity(aliases=[er.COMPUTED_NAME, "Glim"]),
    "area of an entity": lambda hass, _: entity(area_id=area(hass, "Cellar").id)(hass, ""),
    "name of an area": lambda hass, _: ar.async_get(hass).async_update(area(hass, "Kitchen").id, name="Cuisine"),
    "alias of an area": lambda hass, _: ar.async_get(hass).async_update(area(hass, "Kitchen").id, aliases={"mess"}),
    "floor of an area": lambda hass, _: ar.async_get(hass).async_update(area(hass, "Kitchen").id, floor_id=None),
    "new area": lambda hass, _: ar.async_get(hass).async_create("Attic"),
    "no area": lambda hass, _: ar.async_get(hass).async_delete(area(hass, "Kitchen").id),
    "name of a floor": lambda hass, _: fr.async_get(hass).async_update(floor(hass), name="Basement"),
    "no floor": lambda hass, _: fr.async_get(hass).async_delete(floor(hass)),
    "exposure": lambda hass, _: async_expose_entity(hass, "conversation", "light.desk_lamp", False),
    "exposure without an entry": lambda hass, _: async_expose_entity(hass, "conversation", "sensor.outside", False),
    "entity added": lambda hass, _: hass.states.async_set("light.hall", "on", {"friendly_name": "Hall"}),
    "entity removed": lambda hass, _: hass.states.async_remove("sensor.outside"),
    "entry removed": lambda hass, _: er.async_get(hass).async_remove("light.bulb"),
    "name of a state": lambda hass, _: hass.states.async_set("sensor.outside", "12", {"friendly_name": "Garden"}),
    "area of a device": lambda hass, device: dr.async_get(hass).async_update_device(
        device, area_id=area(hass, "Cellar").id
    ),
    "name of a device": lambda hass, device: dr.async_get(hass).async_update_device(device, name_by_user="Globe"),
    "action": lambda hass, _: async_mock_service(hass, "sensor", "turn_on"),
    "no action": lambda hass, _: hass.services.async_remove("light", "turn_on"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_seen_at_once(home: HomeAssistant, device: str, change: str) -> None:
    tools = (await api(home)).tools
    before = (argument_values(home, tools=tools), inventory(home, "conversation"), PromptedHome.of(home, ()))
    assert (argument_values(home, tools=tools), inventory(home, "conversation")) == before[:2]
    CHANGES[change](home, device)
    values, names, reach = (
        argument_values(home, tools=tools),
        inventory(home, "conversation"),
        PromptedHome.of(home, ()),
    )
    assert (values, names, reach) != before
    home_cache(home)._forget()
    assert values == argument_values(home, tools=tools)
    assert names == inventory(home, "conversation")
    assert reach == PromptedHome.of(home, ())


async def test_nothing_is_found_out_twice(home: HomeAssistant, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, names = Mock(wraps=_values), Mock(wraps=_inventory)
    monkeypatch.setattr("custom_components.zoe.home.values._values", values)
    monkeypatch.setattr("custom_components.zoe.home.exposure._inventory", names)
    for number in range(3):
        argument_values(home, tools=(await api(home)).tools)
        inventory(home, "conversation")
        home.states.async_set("sensor.outside", str(number), {"friendly_name": "Outside"})
    assert (values.call_count, names.call_count) == (1, 1)
    argument_values(home, tools=(await api(home)).tools[:2])
    assert (values.call_count, names.call_count) == (2, 1)


async def test_each_assistant_has_its_own(home: HomeAssistant, device: str) -> None:
    for _ in range(2):
        assert "Desk lamp" in argument_values(home)["name"]
        assert argument_values(home, "other")["name"] == []
        assert inventory(home, "other")["name"] == []
    async_expose_entity(home, "other", "light.desk_lamp", True)
    assert argument_values(home, "other")["name"] == ["Desk lamp"]


async def test_what_changes_while_it_is_made_is_made_again(home: HomeAssistant) -> None:
    made: list[int] = []

    def make() -> int:
        home.states.async_set(f"light.new_{len(made)}", "on")
        made.append(len(made))
        return made[-1]

    assert [home_cache(home).get("conversation", "key", make) for _ in range(2)] == [0, 1]


async def test_what_lasts_is_bounded(home: HomeAssistant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_cache_module, "MAX_KEPT", 2)
    cache = home_cache(home)
    assert [cache.lasting(key, partial(int, key)) for key in (1, 2, 2, 3, 3)] == [1, 2, 2, 3, 3]
    assert cache.lasting(1, lambda: 7) == 7


@pytest.mark.parametrize("apis", ["assist", ["assist", "other"]])
async def test_kept_tools_are_those_of_the_moment(home: HomeAssistant, agent: str, apis: str | list[str]) -> None:
    for domain in ("todo", "calendar", "climate", "media_player", "vacuum"):
        assert await async_setup_component(home, domain, {})
    assert await async_setup_component(home, "script", {"script": {"movie": {"sequence": []}}})
    await home.async_block_till_done()

    class Other(llm.API):
        async def async_get_api_instance(self, llm_context: llm.LLMContext) -> llm.APIInstance:
            instance = await llm.async_get_api(home, "assist", llm_context)
            return llm.APIInstance(self, "", llm_context, instance.tools[:3], lambda schema: probatio.UNSUPPORTED)

    llm.async_register_api(home, Other(hass=home, id="other", name="Other"))
    async_register_timer_handler(home, "satellite", lambda *args: None)

    async def offered(device_id: str | None = None) -> list[dict[str, Any]]:
        instance = await llm.async_get_api(
            home, apis, llm.LLMContext("zoe", Context(), "en", "conversation", device_id)
        )
        tools, chars = offered_tools(home, instance)
        assert tools == tools_to_openai(instance.tools, instance.custom_serializer)
        assert chars == len(json_dumps(tools))
        return tools

    seen = [await offered(), await offered("satellite"), await offered()]
    assert seen[0] == seen[2] != seen[1]
    for name in ("Chores", "Errands"):
        home.states.async_set("todo.list", "1", {"friendly_name": name})
        async_expose_entity(home, "conversation", "todo.list", True)
        assert name in json_dumps(await offered())
    for entity_id in ("climate.heating", "vacuum.robot", "script.movie"):
        async_expose_entity(home, "conversation", entity_id, True)
        home.states.async_set(entity_id, "on", {"friendly_name": "Thing"})
        before = seen[-1]
        seen.append(await offered())
        assert seen[-1] != before


async def test_choices_that_grow_in_place_are_seen(home: HomeAssistant, agent: str) -> None:
    choices = ["a"]

    class Quiet(llm.Tool):
        integration = "test"

        async def async_call(
            self, hass: HomeAssistant, tool_input: llm.ToolInput, llm_context: llm.LLMContext
        ) -> llm.ToolResult:
            raise NotImplementedError

    class Pick(Quiet):
        name = "test__pick"
        parameters = probatio.Schema({probatio.Required("letter"): probatio.In(choices)})

    class Free(Quiet):
        name = "test__free"
        parameters = probatio.Schema(dict)

    class Serializer:
        def __call__(self, schema: object) -> object:
            return llm.selector_serializer(schema)

    instance = await api(home)
    instance.tools = [Pick(), Free()]
    instance.custom_serializer = Serializer()
    assert "enum" in json_dumps(offered_tools(home, instance).tools)
    choices.append("b")
    (tool, _), chars = offered_tools(home, instance)
    assert tool["function"]["parameters"]["properties"]["letter"]["enum"] == ["a", "b"]
    instance.tools = []
    assert offered_tools(home, instance) == ([], 2)
    assert chars > 2
