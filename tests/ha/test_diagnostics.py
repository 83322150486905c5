"""What reports of errors and the system's information say, and what they must not."""

from typing import Any

from aiohttp import web
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, get_system_health_info
from pytest_homeassistant_custom_component.components.diagnostics import get_diagnostics_for_config_entry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from tests.ha.fake_zoe import FakeZoe, error_response


async def diagnostics(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, entry: MockConfigEntry
) -> dict[str, Any]:
    assert await async_setup_component(hass, "diagnostics", {})
    told: dict[str, Any] = await get_diagnostics_for_config_entry(hass, hass_client, entry)
    return told


async def test_diagnostics_tell_nothing_private(
    home: HomeAssistant, hass_client: ClientSessionGenerator, zoe: FakeZoe, entry: MockConfigEntry
) -> None:
    zoe.api_key = "secret"
    home.config_entries.async_update_entry(entry, data={"url": zoe.url, "api_key": "secret"})
    (subentry,) = entry.subentries.values()
    home.config_entries.async_update_subentry(entry, subentry, data={**subentry.data, "prompt": "Call me Bo."})
    assert await home.config_entries.async_setup(entry.entry_id)
    await home.async_block_till_done()
    told = await diagnostics(home, hass_client, entry)
    text = str(told)
    for private in ("secret", "Call me Bo.", zoe.url, "server-1", "turn it on"):
        assert private not in text
    assert told["agents"][0]["data"]["llm_hass_api"] == ["assist"]
    assert told["status"]["models"][0]["name"] == "zoe-nano"
    assert told["status"]["health"]["ready"] is True
    assert told["last_poll"] == {"succeeded": True, "error": None}
    assert told["exposed_entities"] == {"light": 2, "sensor": 1}
    assert told["requests"][0]["id"] == "req_1"


async def test_diagnostics_of_a_server_that_does_not_answer(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    async def fails(request: web.Request) -> web.StreamResponse:
        return error_response(500, "server_error", "oops")

    zoe.overrides = {"/admin/requests": fails, "/health": fails}
    await entry.runtime_data.coordinator.async_refresh()
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
