"""The dialogs of agents, against a real server."""

from typing import Any

import pytest
from aiohttp import web
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry

from tests.ha.fake_zoe import FakeZoe

type Result = Any  # three kinds of typed dicts, each with other keys


@pytest.fixture(autouse=True)
async def home_assistant_component(hass: HomeAssistant) -> None:
    """The conversation integration asks it which entities are exposed."""
    assert await async_setup_component(hass, "homeassistant", {})


async def start_agent(hass: HomeAssistant, entry: MockConfigEntry) -> Result:
    result: Result = await hass.config_entries.subentries.async_init(
        (entry.entry_id, "conversation"), context={"source": SOURCE_USER}
    )
    return result


async def submit_agent(hass: HomeAssistant, result: Result, data: dict[str, Any]) -> Result:
    answer: Result = await hass.config_entries.subentries.async_configure(result["flow_id"], data)
    await hass.async_block_till_done()
    return answer


def options_of(form: Result, field: str) -> list[Any]:
    selector = next(value for key, value in form["data_schema"].schema.items() if key == field)
    options: list[Any] = selector.config["options"]
    return options


async def test_add_agent(hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry) -> None:
    form = await start_agent(hass, entry)
    assert form["step_id"] == "set_options"
    assert options_of(form, "model") == ["zoe", "zoe-nano", "llama-3.2-3b"]
    assert options_of(form, "llm_hass_api") == [{"label": "Assist", "value": "assist"}]
    data = {"name": "Chatty", "model": "llama-3.2-3b", "prompt": "Be nice.", "llm_hass_api": ["assist"]}
    result = await submit_agent(hass, form, data)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert hass.states.get("conversation.chatty") is not None
    stored = next(sub for sub in entry.subentries.values() if sub.title == "Chatty")
    assert stored.data == {"model": "llama-3.2-3b", "prompt": "Be nice.", "llm_hass_api": ["assist"]}


async def test_change_agent(hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry) -> None:
    (subentry,) = entry.subentries.values()
    gone = {"model": "old-model", "llm_hass_api": ["assist", "gone"]}
    hass.config_entries.async_update_subentry(entry, subentry, data=gone)
    await hass.async_block_till_done()
    form: Result = await entry.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    assert options_of(form, "model") == ["zoe", "zoe-nano", "llama-3.2-3b", "old-model"]
    assert "name" not in form["data_schema"].schema
    suggested = {str(key): key.description["suggested_value"] for key in form["data_schema"].schema if key.description}
    assert suggested == {"model": "old-model", "llm_hass_api": ["assist"]}
    result = await submit_agent(hass, form, {"model": "zoe", "llm_hass_api": []})
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    assert entry.subentries[subentry.subentry_id].data == {"model": "zoe"}
    state = hass.states.get("conversation.zoe")
    assert state is not None
    assert state.attributes["supported_features"] == 0


async def test_agent_needs_a_loaded_entry(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    result = await start_agent(hass, entry)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "entry_not_loaded")


async def test_agent_needs_a_server_that_answers(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry
) -> None:
    zoe.overrides["/v1/models"] = _no_models
    result = await start_agent(hass, entry)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "cannot_connect")


async def _no_models(request: web.Request) -> web.StreamResponse:
    return web.json_response({"data": [{"name": "without an id"}]})
