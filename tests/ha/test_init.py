"""Setting the entry up, taking it down, and what the server can do to either."""

import asyncio
from datetime import timedelta
from typing import Any

from homeassistant.components import conversation
from homeassistant.config_entries import ConfigEntryState, ConfigSubentryData
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed

from custom_components.zoe.const import DOMAIN
from tests.ha.conftest import AGENT, Say
from tests.ha.fake_zoe import FakeZoe, delta, ending, role


async def set_up(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    assert await async_setup_component(hass, "homeassistant", {})
    await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()


async def test_set_up_and_unload(hass: HomeAssistant, entry: MockConfigEntry, agent: str) -> None:
    assert entry.state is ConfigEntryState.LOADED
    assert entry.runtime_data.model_names == ["zoe", "zoe-nano", "llama-3.2-3b"]
    assert hass.states.is_state(agent, "unknown")
    info = conversation.async_get_agent_info(hass, agent)
    assert info is not None
    assert info.supports_streaming
    assert conversation.async_get_conversation_languages(hass, agent) == "*"
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert entry.state is ConfigEntryState.NOT_LOADED
    assert hass.states.is_state(agent, "unavailable")


async def test_reload_finds_a_new_address(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    before = entry.runtime_data
    zoe.models = ["zoe"]
    hass.config_entries.async_update_entry(entry, data={**entry.data, "api_key": "new"})
    await hass.async_block_till_done()
    assert entry.state is ConfigEntryState.LOADED
    assert entry.runtime_data is not before
    assert entry.runtime_data.model_names == ["zoe"]


async def test_agents_come_and_go_with_their_subentries(
    hass: HomeAssistant, entry: MockConfigEntry, agent: str
) -> None:
    (first,) = entry.subentries.values()
    hass.config_entries.async_add_subentry(
        entry,
        # Home Assistant's own dialogs make these from the same data.
        type(first)(data=first.data, subentry_type="conversation", title="Second", unique_id=None),
    )
    await hass.async_block_till_done()
    assert hass.states.get("conversation.second") is not None
    hass.config_entries.async_remove_subentry(entry, first.subentry_id)
    await hass.async_block_till_done()
    assert hass.states.get(agent) is None


async def test_device_and_entity(hass: HomeAssistant, entry: MockConfigEntry, agent: str) -> None:
    (subentry,) = entry.subentries.values()
    registered = er.async_get(hass).async_get(AGENT)
    assert registered is not None
    assert registered.unique_id == subentry.subentry_id
    device = dr.async_get(hass).async_get_device_by_identifier((DOMAIN, subentry.subentry_id), entry.entry_id)
    assert device is not None
    assert (device.name, device.manufacturer, device.model, device.sw_version) == ("Zoe", "Zoe", None, "0.1.0")
    assert registered.device_id == device.id


async def test_the_device_of_an_agent_names_its_model(hass: HomeAssistant, entry: MockConfigEntry, agent: str) -> None:
    (subentry,) = entry.subentries.values()
    hass.config_entries.async_update_subentry(entry, subentry, data={**subentry.data, "model": "zoe-nano"})
    await hass.async_block_till_done()
    device = dr.async_get(hass).async_get_device_by_identifier((DOMAIN, subentry.subentry_id), entry.entry_id)
    assert device is not None
    assert device.model == "zoe-nano"


async def test_server_down(hass: HomeAssistant, entry: MockConfigEntry, unused_tcp_port: int) -> None:
    hass.config_entries.async_update_entry(entry, data={"url": f"http://127.0.0.1:{unused_tcp_port}"})
    await set_up(hass, entry)
    assert entry.state is ConfigEntryState.SETUP_RETRY
    assert "I cannot reach the Zoe server" in (entry.reason or "")


async def test_server_loading(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry) -> None:
    zoe.ready = False
    await set_up(hass, entry)
    assert entry.state is ConfigEntryState.SETUP_RETRY
    assert entry.reason == "The Zoe server is not ready: a model is being loaded"
    zoe.ready = True
    await hass.config_entries.async_reload(entry.entry_id)
    assert entry.state is ConfigEntryState.LOADED


async def test_key_refused(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry) -> None:
    zoe.api_key = "secret"
    await set_up(hass, entry)
    assert entry.state is ConfigEntryState.SETUP_ERROR
    assert entry.reason == "The Zoe server refuses the API key: the API key is wrong"


async def test_other_subentries_are_no_agents(hass: HomeAssistant, zoe: FakeZoe) -> None:
    entry = MockConfigEntry(
        domain=DOMAIN,
        data={"url": zoe.url},
        subentries_data=[ConfigSubentryData(data={}, subentry_type="other", title="Other", unique_id=None)],
    )
    entry.add_to_hass(hass)
    await set_up(hass, entry)
    assert entry.state is ConfigEntryState.LOADED
    assert hass.states.async_entity_ids("conversation") == ["conversation.home_assistant"]


async def test_a_turn_goes_on_while_its_entry_is_set_up_anew(
    hass: HomeAssistant, home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    """Somebody changes an option while a model answers: the tools are called once, and the answer comes."""
    told = asyncio.Event()
    call = {"index": 0, "id": "c0", "function": {"name": "intent__HassTurnOn", "arguments": '{"name": "Desk lamp"}'}}
    zoe.script.append([role(), told, delta(tool_calls=[call]), *ending("tool_calls")])
    zoe.says("It is on.")
    asking = hass.async_create_task(say("turn on the desk lamp"))
    await asyncio.wait_for(zoe.asked.wait(), 5)
    assert await hass.config_entries.async_unload(entry.entry_id)
    told.set()
    result = await asking
    assert result.response.speech["plain"]["speech"] == "It is on."
    assert len(zoe.requests) == 2
    assert hass.states.is_state("light.desk_lamp", "on")


async def test_nothing_is_left_on_the_disk_of_a_server_that_is_removed(
    hass: HomeAssistant,
    home: HomeAssistant,
    zoe: FakeZoe,
    entry: MockConfigEntry,
    say: Say,
    hass_storage: dict[str, Any],
) -> None:
    zoe.calls(("zoe__remember", {"fact": "The cat is called Momo."}))
    zoe.says("I will.")
    await say("remember that the cat is called Momo")
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(minutes=1))
    await hass.async_block_till_done()
    assert {key for key in hass_storage if key.startswith("zoe")} == {"zoe.memory", "zoe.satellites"}
    await hass.config_entries.async_remove(entry.entry_id)
    assert not [key for key in hass_storage if key.startswith("zoe")]
