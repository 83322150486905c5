"""What is wrong with a server is an issue, and each issue can be put right where it is shown."""

import pytest
from aiohttp import web
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.homeassistant.exposed_entities import async_should_expose
from homeassistant.config_entries import ConfigEntryDisabler, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.zoe import issues
from tests.ha.fake_zoe import FakeZoe, error_response, served_model
from tests.ha.repairs_page import Repairs, open_repairs, poll

SELF_TEST = "button.zoe_server_run_a_self_test"


@pytest.fixture
async def repairs(home: HomeAssistant, hass_client: ClientSessionGenerator) -> Repairs:
    return await open_repairs(home, hass_client)


async def self_test(hass: HomeAssistant) -> None:
    await hass.services.async_call("button", "press", {"entity_id": SELF_TEST}, blocking=True)
    await hass.async_block_till_done()


async def test_nothing_is_wrong(home: HomeAssistant, repairs: Repairs, zoe: FakeZoe, agent: str) -> None:
    zoe.calls(("intent__HassTurnOn", {"name": "Kitchen light"}))
    await self_test(home)
    assert repairs.issues() == {}


async def test_unreachable(
    home: HomeAssistant,
    repairs: Repairs,
    zoe: FakeZoe,
    entry: MockConfigEntry,
    agent: str,
    unused_tcp_port: int,
    freezer: FrozenDateTimeFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zoe.overrides["/health"] = _not_zoe
    await poll(home, freezer)
    assert repairs.issues() == {}
    monkeypatch.setattr(issues, "UNREACHABLE_AFTER_S", 0.0)
    await poll(home, freezer)
    assert repairs.issues()["server_unreachable"].severity is ir.IssueSeverity.ERROR
    form = await repairs.start("server_unreachable")
    assert form["description_placeholders"]["name"] == "Zoe"
    form = await repairs.submit(form, {"url": "zoe"})
    assert form["errors"] == {"base": "invalid_url"}
    form = await repairs.submit(form, {"url": f"http://127.0.0.1:{unused_tcp_port}"})
    assert form["errors"] == {"base": "cannot_connect"}
    zoe.overrides.clear()
    assert (await repairs.submit(form, {"url": f"{zoe.url}/v1"}))["type"] == "create_entry"
    assert repairs.issues() == {}
    assert entry.state is ConfigEntryState.LOADED


async def test_unreachable_from_the_start(
    home: HomeAssistant, repairs: Repairs, zoe: FakeZoe, entry: MockConfigEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issues, "UNREACHABLE_AFTER_S", 0.0)
    home.config_entries.async_update_entry(entry, data={"url": "http://127.0.0.1:1"})
    await home.config_entries.async_setup(entry.entry_id)
    assert entry.state is ConfigEntryState.SETUP_RETRY
    form = await repairs.start("server_unreachable")
    assert (await repairs.submit(form, {"url": zoe.url}))["type"] == "create_entry"
    assert entry.data == {"url": zoe.url}
    assert entry.state is ConfigEntryState.LOADED


async def test_it_is_only_unreachable_after_a_while_without_an_answer(
    home: HomeAssistant, repairs: Repairs, zoe: FakeZoe, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    for overrides in ({"/health": _not_zoe}, {}, {"/health": _not_zoe}):
        zoe.overrides = dict(overrides)
        for _ in range(7):  # 3.6 minutes
            await poll(home, freezer)
    assert repairs.issues() == {}
    for _ in range(7):
        await poll(home, freezer)
    assert list(repairs.issues()) == ["server_unreachable"]


async def test_too_old(
    home: HomeAssistant,
    repairs: Repairs,
    zoe: FakeZoe,
    entry: MockConfigEntry,
    agent: str,
    freezer: FrozenDateTimeFactory,
) -> None:
    zoe.api_version = 0
    await poll(home, freezer)
    form = await repairs.start("server_too_old")
    form = await repairs.submit(form)
    assert form["errors"] == {"base": "server_too_old"}
    zoe.api_version = 1
    assert (await repairs.submit(form))["type"] == "create_entry"
    assert repairs.issues() == {}
    assert entry.state is ConfigEntryState.LOADED


async def test_quarantine(
    home: HomeAssistant, repairs: Repairs, zoe: FakeZoe, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    zoe.served.append(served_model("qwen", "chat", status="quarantined", reason="it crashed three times"))
    await poll(home, freezer)
    assert repairs.issues()["model_quarantined"].translation_placeholders == {
        "name": "Zoe",
        "model": "qwen",
        "message": "it crashed three times",
    }
    zoe.overrides["/admin/models/qwen/load"] = _does_not_fit
    form = await repairs.submit(await repairs.start("model_quarantined"))
    assert form["errors"] == {"base": "load_failed"}
    assert form["description_placeholders"]["message"] == "it does not fit"
    zoe.overrides.clear()
    assert (await repairs.submit(form))["type"] == "create_entry"
    assert zoe.orders == [("/admin/models/qwen/load", {})]
    zoe.served = zoe.served[:1]
    await poll(home, freezer)
    assert repairs.issues() == {}


async def test_a_model_that_leaves_quarantine_or_the_server_is_no_issue(
    home: HomeAssistant, repairs: Repairs, zoe: FakeZoe, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    zoe.served += [served_model(name, "chat", status="quarantined") for name in ("a", "b")]
    await poll(home, freezer)
    assert len(_ids(home)) == 2
    zoe.served = [served_model("zoe-nano", "tools"), served_model("a", "chat")]
    await poll(home, freezer)
    assert _ids(home) == []


async def test_no_tools_model(
    home: HomeAssistant,
    repairs: Repairs,
    zoe: FakeZoe,
    entry: MockConfigEntry,
    agent: str,
    freezer: FrozenDateTimeFactory,
) -> None:
    zoe.served = [served_model("llama", "chat")]
    await poll(home, freezer)
    issue = repairs.issues()["no_tools_model"]
    assert issue.is_fixable
    assert issue.translation_placeholders == {"name": "Zoe", "models": "llama"}
    (subentry,) = entry.subentries.values()
    home.config_entries.async_update_subentry(entry, subentry, data={})
    await home.async_block_till_done()
    assert repairs.issues() == {}


async def test_no_tool_calls(home: HomeAssistant, repairs: Repairs, zoe: FakeZoe, agent: str) -> None:
    zoe.says("I did.")
    await self_test(home)
    form = await repairs.start("no_tool_calls")
    assert form["description_placeholders"]["model"] == "zoe-nano"
    zoe.says("I did.")
    form = await repairs.submit(form)
    assert form["errors"] == {"base": "still_no_tool_calls"}
    zoe.script.append(error_response(503, "unavailable_error", "the engine restarts"))
    form = await repairs.submit(form)
    assert form["errors"] == {"base": "cannot_connect"}
    zoe.calls(("intent__HassTurnOn", {"name": "Kitchen light"}))
    assert (await repairs.submit(form))["type"] == "create_entry"
    assert repairs.issues() == {}


async def test_prompt_too_long(home: HomeAssistant, repairs: Repairs, zoe: FakeZoe, agent: str) -> None:
    zoe.prompt_tokens = 9000
    zoe.calls(("intent__HassTurnOn", {"name": "Kitchen light"}))
    await self_test(home)
    form = await repairs.start("prompt_too_long")
    told = form["description_placeholders"]
    assert (told["devices"], told["prompt_tokens"], told["context_tokens"]) == ("3", "9,000", "4,096")
    labels = [option["label"] for field in form["data_schema"] for option in field["selector"]["select"]["options"]]
    assert labels == ["Light (2)", "Sensor (1)", "Kitchen (1)"]
    zoe.prompt_tokens = 5000
    form = await repairs.submit(form, {"domains": ["sensor"]})
    assert form["errors"] == {"base": "still_too_long"}
    assert form["description_placeholders"]["prompt_tokens"] == "5,000"
    zoe.prompt_tokens = 1000
    kitchen = ar.async_get(home).async_get_area_by_name("Kitchen")
    assert kitchen is not None
    assert (await repairs.submit(form, {"areas": [kitchen.id]}))["type"] == "create_entry"
    exposed = {one for one in home.states.async_entity_ids() if async_should_expose(home, "conversation", one)}
    assert exposed & {"light.kitchen_light", "light.desk_lamp", "sensor.outside"} == {"light.desk_lamp"}
    assert repairs.issues() == {}


async def test_the_issue_of_an_agent_that_is_gone_is_put_right_by_that(
    home: HomeAssistant, repairs: Repairs, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    zoe.prompt_tokens = 9000
    zoe.says("I did.")
    await self_test(home)
    (subentry,) = entry.subentries.values()
    home.config_entries.async_remove_subentry(entry, subentry.subentry_id)
    await home.async_block_till_done()
    for kind in ("prompt_too_long", "no_tool_calls"):
        assert (await repairs.submit(await repairs.start(kind)))["type"] == "create_entry"
    assert repairs.issues() == {}


@pytest.mark.parametrize("disabled", [True, False])
async def test_the_issues_of_a_server_that_is_not_wanted_any_more(
    home: HomeAssistant, repairs: Repairs, zoe: FakeZoe, entry: MockConfigEntry, agent: str, disabled: bool
) -> None:
    zoe.prompt_tokens = 9000
    zoe.says("I did.")
    await self_test(home)
    assert len(repairs.issues()) == 2
    if disabled:
        await home.config_entries.async_set_disabled_by(entry.entry_id, ConfigEntryDisabler.USER)
        form = await repairs.start("prompt_too_long")
        assert (await repairs.submit(form))["type"] == "create_entry"
        assert list(repairs.issues()) == ["no_tool_calls"]
    await home.config_entries.async_remove(entry.entry_id)
    assert repairs.issues() == {}


def _ids(hass: HomeAssistant) -> list[str]:
    return [issue_id for domain, issue_id in ir.async_get(hass).issues if domain == "zoe"]


async def _not_zoe(request: web.Request) -> web.StreamResponse:
    return web.Response(text="a router")


async def _does_not_fit(request: web.Request) -> web.StreamResponse:
    return error_response(503, "unavailable_error", "it does not fit")
