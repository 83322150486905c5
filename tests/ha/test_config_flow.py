"""The dialogs, against a real server: each error is told and can be repaired in the same dialog."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from homeassistant.config_entries import SOURCE_USER, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, section
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.const import DOMAIN
from custom_components.zoe.memory import async_load_memory
from custom_components.zoe.options import AgentOptions
from tests.ha.fake_zoe import FakeZoe, error_response

type Result = Any  # three kinds of typed dicts, each with other keys


@pytest.fixture(autouse=True)
async def home_assistant_component(hass: HomeAssistant) -> None:
    """The conversation integration asks it which entities are exposed."""
    assert await async_setup_component(hass, "homeassistant", {})


async def start(hass: HomeAssistant) -> Result:
    result: Result = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    assert result["type"] is FlowResultType.FORM
    assert result["step_id"] == "user"
    return result


async def submit(hass: HomeAssistant, result: Result, data: dict[str, Any]) -> Result:
    answer: Result = await hass.config_entries.flow.async_configure(result["flow_id"], data)
    await hass.async_block_till_done()
    return answer


async def test_connects_and_makes_an_agent(hass: HomeAssistant, zoe: FakeZoe) -> None:
    form = await start(hass)
    assert form["errors"] == {}
    result = await submit(hass, form, {"url": f" {zoe.url}/v1/ "})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["title"] == "Zoe"
    assert result["data"] == {"url": zoe.url}
    entry = result["result"]
    assert entry.unique_id == "server-1"
    assert entry.state is ConfigEntryState.LOADED
    conversation, ai_task = entry.subentries.values()
    assert (conversation.subentry_type, conversation.title) == ("conversation", "Zoe")
    assert conversation.data == {"llm_hass_api": ["assist"]}
    assert hass.states.get("conversation.zoe") is not None
    assert (ai_task.subentry_type, ai_task.title, ai_task.data) == ("ai_task_data", "Zoe AI task", {})
    assert hass.states.get("ai_task.zoe_ai_task") is not None


async def test_connects_with_a_key(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.api_key = "secret"
    result = await submit(hass, await start(hass), {"url": zoe.url, "api_key": "secret"})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["data"] == {"url": zoe.url, "api_key": "secret"}


async def test_a_server_without_an_id_is_known_by_its_address(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.server_id = None
    result = await submit(hass, await start(hass), {"url": f"{zoe.url}/"})
    assert result["result"].unique_id == zoe.url


@pytest.mark.parametrize("url", ["zoe", "ftp://127.0.0.1", "http://", "http://[::1", "http://me:secret@127.0.0.1"])
async def test_invalid_url(hass: HomeAssistant, zoe: FakeZoe, url: str) -> None:
    result = await submit(hass, await start(hass), {"url": url})
    assert result["errors"] == {"base": "invalid_url"}
    await recover(hass, zoe, result)


async def test_cannot_connect(hass: HomeAssistant, zoe: FakeZoe, unused_tcp_port: int) -> None:
    result = await submit(hass, await start(hass), {"url": f"http://127.0.0.1:{unused_tcp_port}"})
    assert result["errors"] == {"base": "cannot_connect"}
    await recover(hass, zoe, result)


@pytest.mark.parametrize("key", [{}, {"api_key": "wrong"}])
async def test_invalid_auth(hass: HomeAssistant, zoe: FakeZoe, key: dict[str, str]) -> None:
    zoe.api_key = "secret"
    result = await submit(hass, await start(hass), {"url": zoe.url, **key})
    assert result["errors"] == {"base": "invalid_auth"}
    assert (await submit(hass, result, {"url": zoe.url, "api_key": "secret"}))["type"] is FlowResultType.CREATE_ENTRY


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
    async def health(request: web.Request) -> web.StreamResponse:
        return answer()

    zoe.overrides["/health"] = health
    result = await submit(hass, await start(hass), {"url": zoe.url})
    assert result["errors"] == {"base": "not_zoe"}
    await recover(hass, zoe, result)


async def test_loading(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.ready = False
    result = await submit(hass, await start(hass), {"url": zoe.url})
    assert result["errors"] == {"base": "loading"}
    zoe.ready = True
    await recover(hass, zoe, result)


async def test_models_that_cannot_be_listed(hass: HomeAssistant, zoe: FakeZoe) -> None:
    async def models(request: web.Request) -> web.StreamResponse:
        return error_response(500, "server_error", "oops")

    zoe.overrides["/v1/models"] = models
    result = await submit(hass, await start(hass), {"url": zoe.url})
    assert result["errors"] == {"base": "cannot_connect"}
    await recover(hass, zoe, result)


async def recover(hass: HomeAssistant, zoe: FakeZoe, result: Result) -> None:
    """The same dialog, with the trouble gone, ends well."""
    zoe.overrides.clear()
    assert (await submit(hass, result, {"url": zoe.url}))["type"] is FlowResultType.CREATE_ENTRY


async def test_a_known_server_gets_its_new_address(hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry) -> None:
    hass.config_entries.async_update_entry(entry, data={"url": "http://127.0.0.1:1"})
    result = await submit(hass, await start(hass), {"url": zoe.url})
    assert result["type"] is FlowResultType.ABORT
    assert result["reason"] == "already_configured"
    assert entry.data == {"url": zoe.url}


SECTIONS: dict[str, Any] = {
    "answer": {"temperature": 0.3, "max_tokens": 200.0, "history_rounds": 5},
    "voice": {"follow_up": False, "plain_speech": True},
    "safety": {"confirm_destructive": True},
    "memory": {"facts": []},
}
FLAT = {option: value for name, fields in SECTIONS.items() if name != "memory" for option, value in fields.items()}


async def start_agent(hass: HomeAssistant, entry: MockConfigEntry, kind: str = "conversation") -> Result:
    result: Result = await hass.config_entries.subentries.async_init(
        (entry.entry_id, kind), context={"source": SOURCE_USER}
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
    chosen = {"model": "llama-3.2-3b", "prompt": "Be nice.", "llm_hass_api": ["assist"]}
    result = await submit_agent(hass, form, {"name": "Chatty", **chosen, **SECTIONS})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert hass.states.get("conversation.chatty") is not None
    stored = next(sub for sub in entry.subentries.values() if sub.title == "Chatty")
    assert stored.data == chosen | FLAT
    assert AgentOptions.from_data(stored.data) == AgentOptions("llama-3.2-3b", 0.3, 200, 5, False, True, True)


async def test_an_agent_has_defaults(hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry) -> None:
    form = await start_agent(hass, entry)
    empty: dict[str, Any] = {name: {} for name in SECTIONS}
    await submit_agent(hass, form, {"name": "Plain", "model": "zoe", **empty})
    stored = next(sub for sub in entry.subentries.values() if sub.title == "Plain")
    assert AgentOptions.from_data(stored.data) == AgentOptions.from_data({}) == AgentOptions()
    assert "temperature" not in stored.data


async def test_ai_task(hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry) -> None:
    form = await start_agent(hass, entry, "ai_task_data")
    assert options_of(form, "model") == ["zoe", "zoe-nano", "llama-3.2-3b"]
    result = await submit_agent(hass, form, {"name": "Clerk", "model": "zoe-nano", "max_tokens": 500})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert hass.states.get("ai_task.clerk") is not None
    stored = next(sub for sub in entry.subentries.values() if sub.title == "Clerk")
    assert stored.data == {"model": "zoe-nano", "max_tokens": 500}
    form = await entry.start_subentry_reconfigure_flow(hass, stored.subentry_id)
    result = await submit_agent(hass, form, {"model": "zoe", "temperature": 0, "max_tokens": 400})
    assert result["reason"] == "reconfigure_successful"
    assert entry.subentries[stored.subentry_id].data == {"model": "zoe", "temperature": 0, "max_tokens": 400}


async def test_change_agent(hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry) -> None:
    (subentry,) = entry.subentries.values()
    gone = {"model": "old-model", "llm_hass_api": ["assist", "gone"], **FLAT}
    hass.config_entries.async_update_subentry(entry, subentry, data=gone)
    await hass.async_block_till_done()
    form: Result = await entry.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    assert options_of(form, "model") == ["zoe", "zoe-nano", "llama-3.2-3b", "old-model"]
    assert "name" not in form["data_schema"].schema
    suggested = {str(key): key.description["suggested_value"] for key in form["data_schema"].schema if key.description}
    assert suggested == {"model": "old-model", "llm_hass_api": ["assist"]}
    assert {str(key): _suggested(form["data_schema"].schema[key]) for key in SECTIONS} == SECTIONS
    result = await submit_agent(hass, form, {"model": "zoe", "llm_hass_api": [], **SECTIONS})
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    assert entry.subentries[subentry.subentry_id].data == {"model": "zoe"} | FLAT
    state = hass.states.get("conversation.zoe")
    assert state is not None
    assert state.attributes["supported_features"] == 0


def _suggested(part: section) -> dict[str, Any]:
    return {str(key): key.description["suggested_value"] for key in part.schema.schema}


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


async def test_facts_are_edited_in_the_form_of_an_agent(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry
) -> None:
    memory = await async_load_memory(hass)
    for fact in ("The cat is called Momo.", "The bins go out on Tuesday."):
        await memory.async_remember(fact)
    (subentry,) = entry.subentries.values()
    form: Result = await entry.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    assert _suggested(form["data_schema"].schema["memory"]) == {"facts": memory.facts}
    await memory.async_remember("Anna sleeps until nine.")
    edited = {**SECTIONS, "memory": {"facts": ["The bins go out on Friday.", "The cat is called Momo."]}}
    result = await submit_agent(hass, form, {"model": "zoe", **edited})
    assert result["reason"] == "reconfigure_successful"
    assert memory.facts == ["The cat is called Momo.", "Anna sleeps until nine.", "The bins go out on Friday."]
    assert "facts" not in entry.subentries[subentry.subentry_id].data


async def test_a_fact_that_is_too_long_is_refused_and_can_be_mended(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry
) -> None:
    (subentry,) = entry.subentries.values()
    form: Result = await entry.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    too_long = {**SECTIONS, "memory": {"facts": ["word " * 100]}}
    form = await submit_agent(hass, form, {"model": "zoe", **too_long})
    assert form["errors"] == {"base": "facts_refused"}
    assert form["description_placeholders"] == {"max_facts": "100", "max_chars": "200"}
    assert _suggested(form["data_schema"].schema["memory"]) == too_long["memory"]
    result = await submit_agent(hass, form, {"model": "zoe", **SECTIONS})
    assert result["reason"] == "reconfigure_successful"
    assert (await async_load_memory(hass)).facts == []
