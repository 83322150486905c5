"""The dialogs that connect a server, against a real one: each error is told and can be mended in the same dialog."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.config_entries import SOURCE_HASSIO, SOURCE_USER, SOURCE_ZEROCONF, ConfigEntryState, ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers.service_info.hassio import HassioServiceInfo
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry
from yarl import URL

from custom_components.zoe import discovery_flow
from custom_components.zoe.const import DOMAIN
from tests.ha.fake_zoe import FakeZoe, Handler, error_response

type Result = Any  # several kinds of typed dicts, each with other keys


@pytest.fixture(autouse=True)
async def home_assistant_component(hass: HomeAssistant) -> None:
    """The conversation integration asks it which entities are exposed."""
    assert await async_setup_component(hass, "homeassistant", {})


async def start(hass: HomeAssistant) -> Result:
    result: Result = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    assert result["type"] is FlowResultType.FORM
    assert (result["step_id"], result["errors"]) == ("user", {})
    return result


async def submit(hass: HomeAssistant, result: Result, data: dict[str, Any]) -> Result:
    answer: Result = await hass.config_entries.flow.async_configure(result["flow_id"], data)
    await hass.async_block_till_done()
    return answer


async def checked(hass: HomeAssistant, result: Result) -> Result:
    """Wait for the check of a server and return the form after it."""
    assert result["type"] is FlowResultType.SHOW_PROGRESS
    assert result["progress_action"] == "check"
    await hass.async_block_till_done()
    form: Result = await hass.config_entries.flow.async_configure(result["flow_id"])
    assert form["type"] is FlowResultType.FORM
    return form


async def finish(hass: HomeAssistant, zoe: FakeZoe, result: Result, data: dict[str, Any]) -> Result:
    """Submit `data` to a form, with a server that works, and go through to the entry."""
    zoe.calls(("intent__HassTurnOn", {"name": "Kitchen light"}))
    form = await checked(hass, await submit(hass, result, data))
    assert form["step_id"] == "checked"
    created = await submit(hass, form, {})
    assert created["type"] is FlowResultType.CREATE_ENTRY
    return created


async def test_connects_and_makes_an_agent(hass: HomeAssistant, zoe: FakeZoe) -> None:
    result = await finish(hass, zoe, await start(hass), {"url": f" {zoe.url}/v1/ "})
    assert result["title"] == "Zoe"
    assert result["data"] == {"url": zoe.url}
    entry = result["result"]
    assert entry.unique_id == "server-1"
    assert entry.state is ConfigEntryState.LOADED
    agent, ai_task = entry.subentries.values()
    assert (agent.subentry_type, agent.title) == ("conversation", "Zoe")
    assert agent.data == {"llm_hass_api": ["assist"]}
    assert hass.states.get("conversation.zoe") is not None
    assert (ai_task.subentry_type, ai_task.title, ai_task.data) == ("ai_task_data", "Zoe AI task", {})
    assert hass.states.get("ai_task.zoe_ai_task") is not None


async def test_the_check_is_a_real_one(home: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.prompt_tokens = 3000
    zoe.calls(("intent__HassTurnOn", {"name": "Kitchen light"}))
    form = await checked(home, await submit(home, await start(home), {"url": zoe.url}))
    told = form["description_placeholders"]
    assert told["first_token_ms"].replace(",", "").isdecimal()
    assert 0 < int(told["lookup_tokens"]) < 500
    assert told == {
        "model": "zoe-nano",
        "devices": "3",
        "prompt_tokens": "3,000",
        "lookup_tokens": told["lookup_tokens"],
        "context_tokens": "4,096",
        "first_token_ms": told["first_token_ms"],
    }
    (trial,) = zoe.requests
    assert trial["stream"]
    assert "tool_choice" not in trial
    (prompt,) = zoe.primed
    assert "Kitchen light" in prompt["messages"][0]["content"]
    assert {"intent__HassTurnOn", "zoe__remember"} <= {tool["function"]["name"] for tool in prompt["tools"]}
    assert prompt["zoe"]["priority"] == "background"


async def test_connects_with_a_key(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.api_key = "secret"
    form = await submit(hass, await start(hass), {"url": zoe.url})
    assert (form["step_id"], form["errors"]) == ("api_key", {})
    form = await submit(hass, form, {"api_key": "wrong"})
    assert (form["step_id"], form["errors"]) == ("api_key", {"base": "invalid_auth"})
    result = await finish(hass, zoe, form, {"api_key": "secret"})
    assert result["data"] == {"url": zoe.url, "api_key": "secret"}


async def test_a_server_without_an_id_is_known_by_its_address(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.server_id = None
    result = await finish(hass, zoe, await start(hass), {"url": f"{zoe.url}/"})
    assert result["result"].unique_id == zoe.url


@pytest.mark.parametrize("url", ["zoe", "ftp://127.0.0.1", "http://", "http://[::1", "http://me:secret@127.0.0.1"])
async def test_invalid_url(hass: HomeAssistant, zoe: FakeZoe, url: str) -> None:
    result = await submit(hass, await start(hass), {"url": url})
    assert result["errors"] == {"base": "invalid_url"}
    await finish(hass, zoe, result, {"url": zoe.url})


async def test_cannot_connect(hass: HomeAssistant, zoe: FakeZoe, unused_tcp_port: int) -> None:
    result = await submit(hass, await start(hass), {"url": f"http://127.0.0.1:{unused_tcp_port}"})
    assert result["errors"] == {"base": "cannot_connect"}
    await finish(hass, zoe, result, {"url": zoe.url})


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=404, text="404 page not found"),
        lambda: web.Response(text="Ollama is running"),
        lambda: web.json_response({"status": "ok"}),
        lambda: web.json_response(["zoe"]),
    ],
)
async def test_not_zoe(hass: HomeAssistant, zoe: FakeZoe, answer: Callable[[], web.Response]) -> None:
    zoe.overrides["/health"] = zoe.overrides["/v1/models"] = _always(answer)
    result = await submit(hass, await start(hass), {"url": zoe.url})
    assert result["errors"] == {"base": "not_zoe"}
    zoe.overrides.clear()
    await finish(hass, zoe, result, {"url": zoe.url})


async def test_loading(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.ready = False
    result = await submit(hass, await start(hass), {"url": zoe.url})
    assert result["errors"] == {"base": "loading"}
    zoe.ready = True
    await finish(hass, zoe, result, {"url": zoe.url})


async def test_too_old(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.api_version = 0
    result = await submit(hass, await start(hass), {"url": zoe.url})
    assert result["errors"] == {"base": "server_too_old"}
    zoe.api_version = 2
    await finish(hass, zoe, result, {"url": zoe.url})


async def test_models_that_cannot_be_listed(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.overrides["/v1/models"] = _always(lambda: error_response(500, "server_error", "oops"))
    result = await submit(hass, await start(hass), {"url": zoe.url})
    assert (result["step_id"], result["errors"]) == ("api_key", {"base": "cannot_connect"})
    zoe.overrides.clear()
    await finish(hass, zoe, result, {"api_key": "any"})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: error_response(503, "unavailable_error", "the engine restarts"), "the engine restarts"),
        (list, "the connection was closed in the middle of the answer"),
    ],
)
async def test_a_check_that_fails_can_be_tried_again(
    hass: HomeAssistant, zoe: FakeZoe, answer: Callable[[], Any], message: str
) -> None:
    zoe.script.append(answer())
    form = await checked(hass, await submit(hass, await start(hass), {"url": zoe.url}))
    assert (form["step_id"], form["description_placeholders"]) == ("check_failed", {"message": message})
    await finish(hass, zoe, form, {})


async def test_a_model_that_says_nothing_fails_the_check(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.says()
    form = await checked(hass, await submit(hass, await start(hass), {"url": zoe.url}))
    assert form["step_id"] == "check_failed"


async def test_a_model_that_only_talks_is_told(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.says("I turned it on.")
    form = await checked(hass, await submit(hass, await start(hass), {"url": zoe.url}))
    assert form["step_id"] == "no_tool_calls"
    assert (await submit(hass, form, {}))["type"] is FlowResultType.CREATE_ENTRY


@pytest.mark.parametrize("prompt_tokens", [3900, 5000])
async def test_a_home_that_does_not_fit_is_told(hass: HomeAssistant, zoe: FakeZoe, prompt_tokens: int) -> None:
    zoe.prompt_tokens = prompt_tokens
    zoe.says("I turned it on.")
    form = await checked(hass, await submit(hass, await start(hass), {"url": zoe.url}))
    assert form["step_id"] == "too_long"
    assert form["description_placeholders"]["prompt_tokens"] == f"{prompt_tokens:,}"
    assert form["description_placeholders"]["context_tokens"] == "4,096"
    assert (await submit(hass, form, {}))["type"] is FlowResultType.CREATE_ENTRY


async def test_a_home_whose_states_do_not_fit_is_told(hass: HomeAssistant, zoe: FakeZoe) -> None:
    """A prompt that fits is not enough: the first question about a state would end in an error."""
    for number in range(150):
        entity_id = f"sensor.thermometer_{number}"
        state = {"friendly_name": f"Thermometer {number}", "device_class": "temperature", "unit_of_measurement": "°C"}
        hass.states.async_set(entity_id, "21.5", state)
        async_expose_entity(hass, "conversation", entity_id, True)
    zoe.prompt_tokens = 3000
    zoe.calls(("intent__HassTurnOn", {"name": "Kitchen light"}))
    form = await checked(hass, await submit(hass, await start(hass), {"url": zoe.url}))
    assert form["step_id"] == "too_long"
    told = form["description_placeholders"]
    assert (told["devices"], told["prompt_tokens"]) == ("150", "3,000")
    assert 900 < int(told["lookup_tokens"].replace(",", "")) < 6000


async def test_a_dialog_that_is_closed_ends_its_check(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.script.append([asyncio.Event()])
    form = await start(hass)
    result: Result = await hass.config_entries.flow.async_configure(form["flow_id"], {"url": zoe.url})
    assert result["type"] is FlowResultType.SHOW_PROGRESS
    async with asyncio.timeout(10):
        await zoe.asked.wait()
        hass.config_entries.flow.async_abort(result["flow_id"])
        await zoe.disconnected.wait()


async def test_a_known_server_gets_its_new_address(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry) -> None:
    hass.config_entries.async_update_entry(entry, data={"url": "http://127.0.0.1:1", "api_key": "kept"})
    result = await submit(hass, await start(hass), {"url": zoe.url})
    assert result["type"] is FlowResultType.ABORT
    assert result["reason"] == "already_configured"
    assert entry.data == {"url": zoe.url, "api_key": "kept"}


def announced(zoe: FakeZoe, **properties: str | None) -> ZeroconfServiceInfo:
    told = {"id": "server-1", "version": "0.1.0", "path": "/", "key": "0", **properties}
    return ZeroconfServiceInfo(
        ip_address=ip_address("127.0.0.1"),
        ip_addresses=[ip_address("127.0.0.1")],
        port=int(zoe.url.rpartition(":")[2]),
        hostname="zoe-server1.local.",
        type="_zoe._tcp.local.",
        name="Zoe on jetson._zoe._tcp.local.",
        properties=told,
    )


async def discover(hass: HomeAssistant, info: ZeroconfServiceInfo) -> Result:
    result: Result = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_ZEROCONF}, data=info)
    await hass.async_block_till_done()
    return result


async def test_a_server_is_discovered(hass: HomeAssistant, zoe: FakeZoe) -> None:
    form = await discover(hass, announced(zoe))
    assert form["step_id"] == "discovery_confirm"
    assert form["description_placeholders"] == {"name": "Zoe on jetson", "url": zoe.url}
    (flow,) = hass.config_entries.flow.async_progress()
    assert flow["context"]["title_placeholders"] == {"name": "Zoe on jetson"}
    zoe.ready = False
    form = await submit(hass, form, {})
    assert (form["step_id"], form["errors"]) == ("discovery_confirm", {"base": "loading"})
    zoe.ready = True
    result = await finish(hass, zoe, form, {})
    assert result["data"] == {"url": zoe.url}
    assert result["result"].unique_id == "server-1"


async def test_a_discovered_server_may_want_a_key(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.api_key = "secret"
    form = await submit(hass, await discover(hass, announced(zoe, key="1")), {})
    assert (form["step_id"], form["errors"]) == ("api_key", {})
    result = await finish(hass, zoe, form, {"api_key": "secret"})
    assert result["data"] == {"url": zoe.url, "api_key": "secret"}


async def test_of_several_addresses_the_one_that_answers_counts(hass: HomeAssistant, zoe: FakeZoe) -> None:
    async def refused_once(request: web.Request) -> web.StreamResponse:
        del zoe.overrides["/health"]
        return web.Response(text="a router")

    zoe.overrides["/health"] = refused_once
    form = await discover(hass, announced(zoe))
    assert form["description_placeholders"]["url"] == zoe.url
    assert (await discover(hass, announced(zoe)))["reason"] == "already_in_progress"


async def test_a_second_server_has_names_of_its_own(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry) -> None:
    zoe.server_id = "server-2"
    hass.config_entries.async_add_subentry(
        entry,
        ConfigSubentry(data=MappingProxyType({}), subentry_type="ai_task_data", title="Zoe AI task", unique_id=None),
    )
    form = await discover(hass, announced(zoe, id="server-2"))
    result = await finish(hass, zoe, form, {})
    assert result["title"] == "Zoe (jetson)"
    titles = [subentry.title for subentry in result["result"].subentries.values()]
    assert titles == ["Zoe (jetson)", "Zoe AI task (jetson)"]
    assert hass.states.get("conversation.zoe_jetson") is not None
    assert hass.states.get("binary_sensor.zoe_jetson_server_ready") is not None
    zoe.server_id = "server-3"
    result = await finish(hass, zoe, await start(hass), {"url": zoe.url})
    assert result["title"] == "Zoe (127.0.0.1)"
    zoe.server_id = "server-4"
    result = await finish(hass, zoe, await start(hass), {"url": zoe.url})
    assert result["title"] == "Zoe (127.0.0.1) 2"


async def test_an_agent_of_another_name_keeps_the_name_taken(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry
) -> None:
    """Its server may be called something else: a second agent `Zoe` would be one too many."""
    hass.config_entries.async_update_entry(entry, title="Cellar", unique_id="server-0")
    result = await finish(hass, zoe, await start(hass), {"url": zoe.url})
    assert result["title"] == "Zoe (127.0.0.1)"
    assert [subentry.title for subentry in result["result"].subentries.values()] == ["Zoe (127.0.0.1)", "Zoe AI task"]


def test_addresses_in_urls() -> None:
    hosts = [discovery_flow._host(ip_address(address)) for address in ("192.168.1.5", "fd00::5")]
    assert hosts == ["192.168.1.5", "[fd00::5]"]


@pytest.mark.parametrize("server_id", ["", None])
async def test_an_announcement_without_an_id_is_not_ours(
    hass: HomeAssistant, zoe: FakeZoe, server_id: str | None
) -> None:
    assert (await discover(hass, announced(zoe, id=server_id)))["reason"] == "not_zoe"


async def test_an_announcement_is_believed_only_if_the_server_says_the_same(hass: HomeAssistant, zoe: FakeZoe) -> None:
    assert (await discover(hass, announced(zoe, id="somebody-else")))["reason"] == "cannot_connect"


async def moved(hass: HomeAssistant, entry: MockConfigEntry, url: str, api_key: str = "secret") -> None:
    hass.config_entries.async_update_entry(entry, data={"url": url, "api_key": api_key})


async def test_a_server_that_moved_gets_its_new_address(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery_flow, "is_loopback", lambda _: False)  # all that tests can reach is loopback
    await moved(hass, entry, "http://127.0.0.1:1")
    assert (await discover(hass, announced(zoe)))["reason"] == "already_configured"
    assert entry.data == {"url": zoe.url, "api_key": "secret"}


async def app_found(hass: HomeAssistant, zoe: FakeZoe, server_id: str = "server-1") -> Result:
    url = URL(zoe.url)
    config = {"host": url.host, "port": url.port, "api_key": "secret", "id": server_id, "addon": "Zoe"}
    info = HassioServiceInfo(config, "Zoe", "zoe", "1234")
    return await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_HASSIO}, data=info)


async def test_the_app_tells_address_and_key(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.api_key = "secret"
    form = await app_found(hass, zoe)
    assert (form["step_id"], form["description_placeholders"]["name"]) == ("discovery_confirm", "Zoe")
    created = await finish(hass, zoe, form, {})
    assert created["data"] == {"url": zoe.url, "api_key": "secret"}
    assert created["result"].unique_id == "server-1"


async def test_an_app_that_has_moved_is_found_again(hass: HomeAssistant, zoe: FakeZoe) -> None:
    entry = MockConfigEntry(domain=DOMAIN, unique_id="server-1", data={"url": "http://10.0.0.1:1", "api_key": "old"})
    entry.add_to_hass(hass)
    assert (await app_found(hass, zoe))["reason"] == "already_configured"
    assert entry.data == {"url": zoe.url, "api_key": "secret"}


async def test_a_server_that_is_where_it_was_is_not_moved(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery_flow, "is_loopback", lambda _: False)
    impostor = FakeZoe(server_id="server-1")
    server = TestServer(impostor.app(), host="127.0.0.1")
    await server.start_server()
    impostor.url = str(server.make_url("")).rstrip("/")
    assert (await discover(hass, announced(impostor)))["reason"] == "already_configured"
    assert entry.data == {"url": zoe.url}
    await server.close()


async def test_a_known_id_at_an_address_that_does_not_confirm_it_moves_nothing(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery_flow, "is_loopback", lambda _: False)
    await moved(hass, entry, "http://127.0.0.1:1")
    zoe.server_id = "server-2"
    assert (await discover(hass, announced(zoe)))["reason"] == "cannot_connect"
    assert entry.data["url"] == "http://127.0.0.1:1"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "zoe.localhost", "[::1]"])
async def test_an_entry_on_this_machine_is_never_moved(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, host: str
) -> None:
    await moved(hass, entry, f"http://{host}:1")
    assert (await discover(hass, announced(zoe)))["reason"] == "already_configured"
    assert entry.data["url"] == f"http://{host}:1"


@pytest.mark.parametrize("url", ["http://192.168.1.5:11434", "https://zoe.example", "http://localhost.example"])
def test_other_machines(url: str) -> None:
    assert not discovery_flow.is_loopback(url)


async def test_reauth(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry) -> None:
    zoe.api_key = "new"
    await moved(hass, entry, zoe.url, "old")
    await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert entry.state is ConfigEntryState.SETUP_ERROR
    (flow,) = hass.config_entries.flow.async_progress()
    assert flow["step_id"] == "reauth_confirm"
    form = await submit(hass, flow, {"api_key": "wrong"})
    assert form["errors"] == {"base": "invalid_auth"}
    result = await submit(hass, form, {"api_key": "new"})
    assert result["reason"] == "reauth_successful"
    assert entry.data == {"url": zoe.url, "api_key": "new"}
    assert entry.state is ConfigEntryState.LOADED


async def test_reauth_asks_only_the_server_that_it_is_about(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry
) -> None:
    zoe.server_id = "server-2"
    form: Result = await entry.start_reauth_flow(hass)
    form = await submit(hass, form, {"api_key": "new"})
    assert form["errors"] == {"base": "other_server"}
    zoe.server_id = "server-1"
    assert (await submit(hass, form, {"api_key": "new"}))["reason"] == "reauth_successful"
    await hass.async_block_till_done()


async def test_reconfigure(hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry) -> None:
    form: Result = await entry.start_reconfigure_flow(hass)
    (url,) = [key for key in form["data_schema"].schema if key == "url"]
    assert url.description == {"suggested_value": zoe.url}
    form = await submit(hass, form, {"url": "zoe"})
    assert form["errors"] == {"base": "invalid_url"}
    zoe.api_key = "secret"
    form = await submit(hass, form, {"url": zoe.url})
    assert form["errors"] == {"base": "invalid_auth"}
    before = entry.runtime_data
    result = await submit(hass, form, {"url": f"{zoe.url}/", "api_key": "secret"})
    assert result["reason"] == "reconfigure_successful"
    assert entry.data == {"url": zoe.url, "api_key": "secret"}
    assert entry.state is ConfigEntryState.LOADED
    assert entry.runtime_data is not before


async def test_an_entry_that_is_known_by_its_address_may_move(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry
) -> None:
    old = "http://127.0.0.1:1"
    hass.config_entries.async_update_entry(entry, data={"url": old}, unique_id=old)
    form: Result = await entry.start_reconfigure_flow(hass)
    assert (await submit(hass, form, {"url": zoe.url}))["reason"] == "reconfigure_successful"
    assert entry.data == {"url": zoe.url}


def _always(answer: Callable[[], web.Response]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return answer()

    return handler
