"""What reports of errors and the system's information say, and what they must not."""

from typing import Any

from aiohttp import web
from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, get_system_health_info
from pytest_homeassistant_custom_component.components.diagnostics import get_diagnostics_for_config_entry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.zoe.memory import async_load_memory
from tests.ha.fake_zoe import FakeZoe, error_response, served_model


async def diagnostics(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, entry: MockConfigEntry
) -> dict[str, Any]:
    assert await async_setup_component(hass, "diagnostics", {})
    told: dict[str, Any] = await get_diagnostics_for_config_entry(hass, hass_client, entry)
    return told


WORDS = "Momo"
"""What the household says and calls things, and what must be nowhere in a report."""


async def _lived_in(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry) -> None:
    """Put the word everywhere where a household, or an error, can put one."""
    zoe.api_key = f"key-of-{WORDS}"
    hass.config_entries.async_update_entry(
        entry, data={"url": zoe.url, "api_key": zoe.api_key}, title=f"{WORDS}'s server"
    )
    (subentry,) = entry.subentries.values()
    told = {
        "prompt": f"You are {WORDS}.",
        "llm_hass_api": ["assist"],
        "request_fields": {WORDS: WORDS},
        "facts": [WORDS],
    }
    hass.config_entries.async_update_subentry(entry, subentry, data=told, title=f"{WORDS}'s helper")
    areas = ar.async_get(hass)
    areas.async_update(areas.async_create(WORDS).id, aliases={f"{WORDS}'s place"})
    er.async_get(hass).async_update_entity("light.desk_lamp", name=WORDS, area_id=WORDS.lower())
    hass.states.async_set(f"sensor.{WORDS.lower()}", WORDS, {"friendly_name": WORDS, "device_class": WORDS})
    async_expose_entity(hass, "conversation", f"sensor.{WORDS.lower()}", True)
    await (await async_load_memory(hass)).async_remember(f"The cat is called {WORDS}.")
    zoe.served = [served_model("zoe-nano", "tools", reason=f"/home/{WORDS}/models is full")]
    request = {"id": "req_1", "model": "zoe-nano", "path": "/v1/chat/completions", "status": 200, "prompt_tokens": 9}
    private = {"client": WORDS, "prompt": f"feed {WORDS}", "tool_calls": {f"script__feed_{WORDS}": 1}, WORDS: WORDS}

    async def requests(_: web.Request) -> web.StreamResponse:
        return web.json_response({"requests": [{**request, **private}]})

    zoe.overrides["/admin/requests"] = requests


async def test_diagnostics_tell_nothing_private(
    home: HomeAssistant, hass_client: ClientSessionGenerator, zoe: FakeZoe, entry: MockConfigEntry
) -> None:
    await _lived_in(home, zoe, entry)
    assert await home.config_entries.async_setup(entry.entry_id)
    await home.async_block_till_done()
    zoe.says(f"{WORDS} is fed.")
    await conversation.async_converse(
        home, f"feed {WORDS}", WORDS, Context(), "en", f"conversation.{WORDS.lower()}_s_helper"
    )
    told = await diagnostics(home, hass_client, entry)
    text = str(told).casefold()
    for private in (WORDS.casefold(), zoe.url, "127.0.0.1", "server-1"):
        assert private not in text
    assert told["entry"] == {"scheme": "http", "has_api_key": True, "known_by_id": True}
    (agent,) = told["agents"]
    assert agent["type"] == "conversation"
    assert agent["has_instructions"]
    assert (agent["controls_home"], agent["other_apis"], agent["request_fields"]) == (True, 0, 1)
    assert agent["history_rounds"] == 12
    assert told["status"]["models"] == [{"name": "zoe-nano", "state": "ready", "roles": ["tools"]}]
    assert told["status"]["health"]["ready"] is True
    assert told["last_poll"] == {"succeeded": True, "error": None}
    assert told["last_route"]["rule"] == "automation"
    assert told["exposed_entities"] == {"light": 2, "sensor": 2}
    assert told["exposed_areas"] == 2
    (request,) = told["requests"]
    assert (request["status"], request["prompt_tokens"], request["tool_calls"]) == (200, 9, 1)


async def test_diagnostics_of_a_server_that_does_not_answer(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    async def fails(request: web.Request) -> web.StreamResponse:
        return error_response(500, "server_error", "oops")

    zoe.overrides = {"/admin/requests": fails, "/health": fails}
    await entry.runtime_data.async_refresh()
    told = await diagnostics(hass, hass_client, entry)
    assert told["requests"] == "ZoeServerError"
    assert told["last_poll"] == {"succeeded": False, "error": "UpdateFailed"}


async def test_system_health(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str) -> None:
    second = MockConfigEntry(domain="zoe", unique_id="server-2", data={"url": "http://127.0.0.1:1"})
    second.add_to_hass(hass)
    assert await async_setup_component(hass, "system_health", {})
    await hass.async_block_till_done()
    assert await get_system_health_info(hass, "zoe") == {
        "servers_connected": "1 of 2",
        "servers_ready": 1,
        "server_versions": "0.1.0",
        "models_loaded": "zoe-nano",
    }
