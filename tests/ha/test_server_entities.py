"""The entities on the server's device, between polls and through everything that can happen to a server."""

from datetime import timedelta
from types import MappingProxyType

import pytest
from aiohttp import web
from freezegun.api import FrozenDateTimeFactory
from homeassistant.config_entries import ConfigEntryState, ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import intent
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed

from custom_components.zoe.const import DOMAIN
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe, error_response, metrics_body, served_model

READY = "binary_sensor.zoe_server_ready"
GPU = {"gpu": 0, "name": "Orin", "memory_used_bytes": None, "utilization": 0.25, "temperature_c": 48.0}


async def poll(hass: HomeAssistant, freezer: FrozenDateTimeFactory) -> None:
    freezer.tick(timedelta(seconds=31))
    async_fire_time_changed(hass)
    await hass.async_block_till_done(wait_background_tasks=True)


def value(hass: HomeAssistant, entity_id: str) -> str:
    state = hass.states.get(entity_id)
    assert state is not None, hass.states.async_entity_ids()
    return state.state


async def press(hass: HomeAssistant, entity_id: str) -> None:
    await hass.services.async_call("button", "press", {"entity_id": entity_id}, blocking=True)
    await hass.async_block_till_done()


def enable_all(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    for entity in er.async_entries_for_config_entry(er.async_get(hass), entry.entry_id):
        er.async_get(hass).async_update_entity(entity.entity_id, disabled_by=None)


async def test_states(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    assert value(hass, READY) == "on"
    assert value(hass, "sensor.zoe_server_memory_used") == "1.0"
    assert value(hass, "sensor.zoe_server_time_to_first_token") == "unknown"
    assert value(hass, "sensor.zoe_server_tools_model") == "zoe-nano"
    assert hass.states.get("sensor.zoe_server_requests") is None
    enable_all(hass, entry)
    zoe.metrics = metrics_body(3)
    assert await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    assert value(hass, "sensor.zoe_server_time_to_first_token") == "500.0"
    assert float(value(hass, "sensor.zoe_server_decode_rate")) == pytest.approx(10)
    assert value(hass, "sensor.zoe_server_prompt_reuse") == "50.0"
    assert value(hass, "sensor.zoe_server_requests") == "3"
    assert value(hass, "sensor.zoe_server_failures") == "3"
    zoe.metrics = metrics_body(4)
    await poll(hass, freezer)
    assert value(hass, "sensor.zoe_server_requests") == "4"


async def test_registry(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str) -> None:
    device = dr.async_get(hass).async_get_device_by_identifier((DOMAIN, entry.entry_id), entry.entry_id)
    assert device is not None
    assert (device.name, device.sw_version, device.entry_type) == ("Zoe server", "0.1.0", dr.DeviceEntryType.SERVICE)
    entities = er.async_entries_for_device(er.async_get(hass), device.id, include_disabled_entities=True)
    assert len({entity.unique_id for entity in entities}) == len(entities) == 11
    changing = {entity.entity_id for entity in entities if entity.entity_category == "config"}
    assert changing == {"button.zoe_server_reload_zoe_nano"}
    assert {entity.entity_category for entity in entities} == {"diagnostic", "config"}
    disabled = {entity.entity_id for entity in entities if entity.disabled_by}
    assert disabled == {"sensor.zoe_server_requests", "button.zoe_server_reload_zoe_nano"}


async def test_what_appears_later_gets_its_entities(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    zoe.metrics = metrics_body(0, GPU)
    zoe.served = [served_model("zoe-nano", "tools"), served_model("llava", "vision", status="unloaded")]
    await poll(hass, freezer)
    assert value(hass, "sensor.zoe_server_gpu_0_temperature") == "48.0"
    assert hass.states.get("sensor.zoe_server_gpu_0_memory_used") is None
    assert value(hass, "sensor.zoe_server_vision_model") == "unknown"
    zoe.served = [served_model("llava", "vision")]
    zoe.metrics = metrics_body()
    await poll(hass, freezer)
    assert value(hass, "sensor.zoe_server_vision_model") == "llava"
    assert value(hass, "sensor.zoe_server_tools_model") == "unknown"
    assert value(hass, "sensor.zoe_server_gpu_0_temperature") == "unknown"
    enable_all(hass, entry)
    zoe.metrics = metrics_body(0, {**GPU, "memory_used_bytes": 2**31})
    await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    assert value(hass, "sensor.zoe_server_gpu_0_utilization") == "25.0"
    assert value(hass, "sensor.zoe_server_gpu_0_memory_used") == "2.0"


async def test_a_server_that_loads_is_there_but_not_ready(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    zoe.ready = False
    await poll(hass, freezer)
    assert value(hass, READY) == "off"
    assert value(hass, "sensor.zoe_server_memory_used") == "1.0"


async def test_a_server_that_goes_and_comes_back(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, freezer: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    zoe.overrides["/health"] = _drop
    for _ in range(3):
        await poll(hass, freezer)
    assert value(hass, READY) == "off"
    assert value(hass, "sensor.zoe_server_memory_used") == "unavailable"
    assert caplog.text.count("Error fetching Zoe data") == 1
    zoe.overrides.clear()
    await poll(hass, freezer)
    assert value(hass, READY) == "on"
    assert value(hass, "sensor.zoe_server_memory_used") == "1.0"


async def test_a_request_that_finds_no_server_is_noticed_before_the_next_poll(
    home: HomeAssistant, zoe: FakeZoe, say: Say
) -> None:
    assert value(home, READY) == "on"
    zoe.overrides = {"/v1/chat/completions": _drop, "/health": _drop}
    await say("hello")
    await home.async_block_till_done(wait_background_tasks=True)
    assert value(home, READY) == "off"


async def test_agents_go_and_come_back_with_their_server(
    home: HomeAssistant, zoe: FakeZoe, agent: str, say: Say, freezer: FrozenDateTimeFactory
) -> None:
    zoe.says("Hello.")
    await say("hello")
    before = value(home, agent)
    zoe.overrides = {"/v1/chat/completions": _drop, "/health": _drop}
    await poll(home, freezer)
    assert value(home, agent) == "unavailable"
    result = await say("hello")
    assert result.response.response_type is intent.IntentResponseType.ERROR
    assert result.response.speech["plain"]["speech"] == "I can't reach my server right now."
    zoe.overrides.clear()
    await poll(home, freezer)
    assert value(home, agent) > before


async def test_a_server_that_is_back_before_the_next_poll_answers_at_once(
    home: HomeAssistant, zoe: FakeZoe, agent: str, say: Say, freezer: FrozenDateTimeFactory
) -> None:
    zoe.overrides["/health"] = _drop
    await poll(home, freezer)
    assert value(home, READY) == "off"
    zoe.overrides.clear()
    zoe.says("Hello.")
    assert (await say("hello")).response.speech["plain"]["speech"] == "Hello."
    await home.async_block_till_done(wait_background_tasks=True)
    assert value(home, READY) == "on"
    assert value(home, agent) != "unavailable"


async def test_tasks_go_and_come_back_with_their_server(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    hass.config_entries.async_add_subentry(
        entry, ConfigSubentry(data=MappingProxyType({}), subentry_type="ai_task_data", title="Clerk", unique_id=None)
    )
    await hass.async_block_till_done()
    zoe.overrides["/health"] = _drop
    await poll(hass, freezer)
    assert value(hass, "ai_task.clerk") == "unavailable"
    zoe.overrides.clear()
    await poll(hass, freezer)
    assert value(hass, "ai_task.clerk") == "unknown"


async def test_a_key_that_is_refused_later_is_asked_for(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    zoe.api_key = "revoked"
    await poll(hass, freezer)
    (flow,) = hass.config_entries.flow.async_progress()
    assert (flow["context"]["source"], flow["step_id"]) == ("reauth", "reauth_confirm")


async def test_last_route(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    assert value(home, "sensor.zoe_server_last_route") == "unknown"
    zoe.says("Hello.")
    await say("hello")
    state = home.states.get("sensor.zoe_server_last_route")
    assert state is not None
    assert state.state == "automation"
    told = {key: state.attributes[key] for key in ("rule", "model", "candidates")}
    assert told == {"rule": "automation", "model": "zoe-nano", "candidates": ("zoe-nano", "llama-3.2-3b")}


async def test_a_rule_without_words_is_unknown_but_named(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    async def newer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"", headers={"X-Zoe-Route": "rule=telepathy; model=m; candidates=m"})

    zoe.overrides["/v1/chat/completions"] = newer
    await say("hello")
    state = home.states.get("sensor.zoe_server_last_route")
    assert state is not None
    assert (state.state, state.attributes["rule"]) == ("unknown", "telepathy")


async def test_the_result_of_a_tool_is_no_choice_of_its_own(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.says("Hello.")
    await say("hello")

    async def goes_on(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"", headers={"X-Zoe-Route": "rule=tool_results; model=m; candidates=m"})

    zoe.overrides["/v1/chat/completions"] = goes_on
    await say("hello")
    assert value(home, "sensor.zoe_server_last_route") == "automation"


async def test_a_model_that_the_server_has_no_more_cannot_be_loaded(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    enable_all(hass, entry)
    await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    assert value(hass, "button.zoe_server_reload_zoe_nano") == "unknown"
    zoe.served = [served_model("qwen", "tools")]
    await poll(hass, freezer)
    assert value(hass, "button.zoe_server_reload_zoe_nano") == "unavailable"
    zoe.served.append(served_model("zoe-nano", "tools"))
    await poll(hass, freezer)
    assert value(hass, "button.zoe_server_reload_zoe_nano") == "unknown"


async def test_reload_a_model(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str) -> None:
    zoe.served = [served_model("my/model:1", "tools")]
    await hass.config_entries.async_reload(entry.entry_id)
    enable_all(hass, entry)
    await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    await press(hass, "button.zoe_server_reload_my_model_1")
    assert zoe.orders == [("/admin/models/my/model:1/unload", {"wait_s": 60.0}), ("/admin/models/my/model:1/load", {})]


async def test_a_model_that_cannot_be_loaded(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    async def refused(request: web.Request) -> web.StreamResponse:
        return error_response(503, "unavailable_error", "it does not fit")

    enable_all(hass, entry)
    await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    zoe.overrides["/admin/models/zoe-nano/load"] = refused
    with pytest.raises(HomeAssistantError, match="it does not fit"):
        await press(hass, "button.zoe_server_reload_zoe_nano")


async def test_an_entry_that_was_known_by_its_address_gets_the_server_s_id(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry
) -> None:
    assert await async_setup_component(hass, "homeassistant", {})
    hass.config_entries.async_update_entry(entry, unique_id=zoe.url)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert entry.unique_id == "server-1"


@pytest.mark.parametrize("path", ["/metrics/json", "/admin/status", "/v1/models"])
async def test_answers_of_the_wrong_shape_keep_the_entry_from_starting(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, path: str
) -> None:
    async def odd(request: web.Request) -> web.StreamResponse:
        return web.json_response({"models": 3})

    zoe.overrides[path] = odd
    assert await async_setup_component(hass, "homeassistant", {})
    await hass.config_entries.async_setup(entry.entry_id)
    assert entry.state is ConfigEntryState.SETUP_RETRY
    assert path in (entry.reason or "")


async def _drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()
