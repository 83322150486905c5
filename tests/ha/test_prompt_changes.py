"""What changes prompts, and what does not."""

from collections.abc import Callable

import pytest
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_mock_service

from custom_components.zoe.prefill import async_upcoming_request
from custom_components.zoe.prompt_changes import PromptChanges
from custom_components.zoe.speaker import Speaker
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe
from tests.ha.test_prefill import pass_time, talk


class House:
    """A home with things that are exposed, in the attic, and things that are not, in the cellar."""

    def __init__(self, hass: HomeAssistant) -> None:
        self.hass = hass
        self.entities = er.async_get(hass)
        self.devices = dr.async_get(hass)
        self.areas = ar.async_get(hass)
        self.floors = fr.async_get(hass)
        self.entry = MockConfigEntry()
        self.entry.add_to_hass(hass)
        self.places: dict[str, str] = {}
        self.device_ids: dict[str, str] = {}
        for name, exposed in (("Attic", True), ("Vault", False), ("Hall", False)):
            floor = self.floors.async_create(f"Floor of {name}")
            self.places[name] = self.areas.async_create(name, floor_id=floor.floor_id).id
            self.add(name.lower(), name, exposed)

    def add(self, name: str, area: str, exposed: bool) -> None:
        device = self.devices.async_get_or_create(config_entry_id=self.entry.entry_id, identifiers={("test", name)})
        self.devices.async_update_device(device.id, area_id=self.places[area], name_by_user=f"Device {name}")
        self.device_ids[name] = device.id
        domain = "assist_satellite" if area == "Hall" else "light"
        entry = self.entities.async_get_or_create(
            domain,
            "test",
            name,
            suggested_object_id=name,
            device_id=device.id,
            has_entity_name=True,
            original_name="Lamp",
        )
        self.hass.states.async_set(entry.entity_id, "on", {"friendly_name": name})
        async_expose_entity(self.hass, "conversation", entry.entity_id, exposed)

    def floor_of(self, name: str) -> str:
        area = self.areas.async_get_area(self.places[name])
        assert area is not None
        assert area.floor_id is not None
        return area.floor_id


@pytest.fixture
async def house(home: HomeAssistant) -> House:
    assert await async_setup_component(home, "conversation", {})
    house = House(home)
    home.states.async_set("light.loose", "on", {"friendly_name": "Loose"})
    async_expose_entity(home, "conversation", "light.loose", False)
    await home.async_block_till_done()
    return house


MATTERS: dict[str, Callable[[House], object]] = {
    "name": lambda house: house.entities.async_update_entity("light.attic", name="Lamp"),
    "alias": lambda house: house.entities.async_update_entity("light.attic", aliases=["Lamp"]),
    "area": lambda house: house.entities.async_update_entity("light.attic", area_id=house.places["Vault"]),
    "id": lambda house: house.entities.async_update_entity("light.attic", new_entity_id="light.loft"),
    "removal": lambda house: house.entities.async_remove("light.attic"),
    "exposure": lambda house: async_expose_entity(house.hass, "conversation", "light.vault", True),
    "exposure in the options": lambda house: house.entities.async_update_entity_options(
        "light.attic", "conversation", {"should_expose": False}
    ),
    "area of the device": lambda house: house.devices.async_update_device(
        house.device_ids["attic"], area_id=house.places["Vault"]
    ),
    "name of the device": lambda house: house.devices.async_update_device(
        house.device_ids["attic"], name_by_user="Globe"
    ),
    "area of the satellite": lambda house: house.devices.async_update_device(
        house.device_ids["hall"], area_id=house.places["Vault"]
    ),
    "name of the area": lambda house: house.areas.async_update(house.places["Attic"], name="Loft"),
    "no area": lambda house: house.areas.async_delete(house.places["Attic"]),
    "name of the satellite's area": lambda house: house.areas.async_update(house.places["Hall"], name="Lobby"),
    "name of the floor": lambda house: house.floors.async_update(house.floor_of("Hall"), name="Ground"),
    "no floor": lambda house: house.floors.async_delete(house.floor_of("Attic")),
    "state comes": lambda house: house.hass.states.async_set("light.new", "on"),
    "state goes": lambda house: house.hass.states.async_remove("light.attic"),
    "name of a state": lambda house: house.hass.states.async_set("sensor.outside", "1", {"friendly_name": "Yard"}),
    "satellite goes": lambda house: house.hass.states.async_set("assist_satellite.hall", "unavailable"),
    "script": lambda house: async_mock_service(house.hass, "script", "movie"),
}
PASSES: dict[str, Callable[[House], object]] = {
    "name": lambda house: house.entities.async_update_entity("light.vault", name="Lamp"),
    "alias": lambda house: house.entities.async_update_entity("light.vault", aliases=["Lamp"]),
    "area": lambda house: house.entities.async_update_entity("light.vault", area_id=house.places["Attic"]),
    "removal": lambda house: (
        house.entities.async_remove("light.vault"),
        house.hass.states.async_remove("light.vault"),
    ),
    "new entry": lambda house: house.entities.async_get_or_create("light", "test", "more"),
    "icon": lambda house: house.entities.async_update_entity("light.attic", icon="mdi:lamp"),
    "labels": lambda house: house.entities.async_update_entity("light.attic", labels={"x"}),
    "options": lambda house: house.entities.async_update_entity_options("light.attic", "light", {"x": 1}),
    "area of a device": lambda house: house.devices.async_update_device(
        house.device_ids["vault"], area_id=house.places["Attic"]
    ),
    "name of a device": lambda house: house.devices.async_update_device(house.device_ids["vault"], name_by_user="Box"),
    "firmware": lambda house: house.devices.async_update_device(house.device_ids["attic"], sw_version="2"),
    "new device": lambda house: house.devices.async_get_or_create(
        config_entry_id=house.entry.entry_id, identifiers={("test", "new")}
    ),
    "name of an area": lambda house: house.areas.async_update(house.places["Vault"], name="Safe"),
    "no area": lambda house: house.areas.async_delete(house.places["Vault"]),
    "new area": lambda house: house.areas.async_create("Shed"),
    "name of a floor": lambda house: house.floors.async_update(house.floor_of("Vault"), name="Below"),
    "new floor": lambda house: house.floors.async_create("Roof"),
    "state": lambda house: house.hass.states.async_set("sensor.outside", "1", {"friendly_name": "Outside"}),
    "name of a state": lambda house: house.hass.states.async_set("light.loose", "on", {"friendly_name": "Lost"}),
    "state goes": lambda house: house.hass.states.async_remove("light.loose"),
    "action": lambda house: async_mock_service(house.hass, "light", "blink"),
}


def listening(house: House) -> list[str]:
    """What is heard from now on, with a satellite in the hall."""
    heard: list[str] = []
    changes = PromptChanges(house.hass, lambda: heard.append("change"), lambda: {house.device_ids["hall"]})
    changes.async_look()
    changes.async_start()
    return heard


@pytest.mark.parametrize("kind", MATTERS)
async def test_what_is_in_prompts_matters(house: House, kind: str) -> None:
    heard = listening(house)
    MATTERS[kind](house)
    assert heard


@pytest.mark.parametrize("kind", PASSES)
async def test_what_is_in_no_prompt_does_not(house: House, kind: str) -> None:
    speaker = Speaker("en", house.device_ids["hall"])
    agent = {"llm_hass_api": ["assist"]}
    before = await async_upcoming_request(house.hass, agent, speaker)
    heard = listening(house)
    PASSES[kind](house)
    assert heard == []
    after = await async_upcoming_request(house.hass, agent, speaker)
    assert {**after, "zoe": None} == {**before, "zoe": None}


async def test_before_somebody_looked_everything_matters(house: House) -> None:
    heard: list[str] = []
    end = PromptChanges(house.hass, lambda: heard.append("x"), set).async_start()
    PASSES["name"](house)
    PASSES["name of an area"](house)
    PASSES["name of a device"](house)
    assert len(heard) >= 3
    end()
    heard.clear()
    MATTERS["alias"](house)
    assert heard == []


async def test_a_satellite_that_is_new_is_looked_after(
    house: House, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    home = house.hass
    await talk(home, zoe, None)
    await pass_time(home)
    await talk(home, zoe, house.device_ids["hall"])
    primed = len(zoe.primed)
    house.areas.async_update(house.places["Hall"], name="Lobby")
    await pass_time(home)
    assert len(zoe.primed) > primed
    assert "You are in area Lobby" in str(zoe.primed[-1]["messages"]) + str(zoe.primed[-2]["messages"])


async def test_values_of_arguments_are_no_part_of_a_prompt(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    await pass_time(home)
    assert len(zoe.primed) == 1
    home.services.async_remove("light", "turn_on")
    home.bus.async_fire("core_config_updated", {})
    await pass_time(home)
    assert len(zoe.primed) == 1
