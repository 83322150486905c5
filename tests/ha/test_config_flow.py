"""The dialogs of agents, against a real server."""

from typing import Any

import pytest
from aiohttp import web
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, section
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.memory import async_load_memory
from custom_components.zoe.options import AgentOptions
from tests.ha.fake_zoe import FakeZoe

type Result = Any  # three kinds of typed dicts, each with other keys


@pytest.fixture(autouse=True)
async def home_assistant_component(hass: HomeAssistant) -> None:
    """The conversation integration asks it which entities are exposed."""
    assert await async_setup_component(hass, "homeassistant", {})


SECTIONS: dict[str, Any] = {
    "answer": {"thinking": "low", "temperature": 0.3, "max_tokens": 200.0, "timeout": 60, "history_rounds": 5},
    "voice": {"follow_up": False, "plain_speech": True},
    "safety": {"confirm": "never"},
    "memory": {"facts": []},
    "expert": {"top_p": 0.9, "top_k": 20.0, "min_p": 0.1, "repetition_penalty": 1.1, "request_fields": {"seed": 1}},
}
FLAT = {option: value for name, fields in SECTIONS.items() if name != "memory" for option, value in fields.items()}
OPTIONS = AgentOptions(
    model="llama-3.2-3b",
    temperature=0.3,
    max_tokens=200,
    thinking="low",
    top_p=0.9,
    top_k=20,
    min_p=0.1,
    repetition_penalty=1.1,
    timeout_s=60,
    request_fields={"seed": 1},
    history_rounds=5,
    follow_up=False,
    plain_speech=True,
    confirm="never",
)


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
    assert "assist" in [api["value"] for api in options_of(form, "llm_hass_api")]
    chosen = {"model": "llama-3.2-3b", "prompt": "Be nice.", "llm_hass_api": ["assist"]}
    result = await submit_agent(hass, form, {"name": "Chatty", **chosen, **SECTIONS})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert hass.states.get("conversation.chatty") is not None
    stored = next(sub for sub in entry.subentries.values() if sub.title == "Chatty")
    assert stored.data == chosen | FLAT
    assert AgentOptions.from_data(stored.data) == OPTIONS


async def test_an_agent_has_defaults(hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry) -> None:
    form = await start_agent(hass, entry)
    empty: dict[str, Any] = {name: {} for name in SECTIONS}
    await submit_agent(hass, form, {"name": "Plain", "model": "zoe", **empty})
    stored = next(sub for sub in entry.subentries.values() if sub.title == "Plain")
    assert AgentOptions.from_data(stored.data) == AgentOptions.from_data({}) == AgentOptions()
    assert not {"temperature", "top_p", "request_fields"} & stored.data.keys()


async def test_ai_task(hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry) -> None:
    form = await start_agent(hass, entry, "ai_task_data")
    assert options_of(form, "model") == ["zoe", "zoe-nano", "llama-3.2-3b"]
    result = await submit_agent(hass, form, {"name": "Clerk", "model": "zoe-nano", "max_tokens": 500, "expert": {}})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert hass.states.get("ai_task.clerk") is not None
    stored = next(sub for sub in entry.subentries.values() if sub.title == "Clerk")
    defaults = {"thinking": "default", "timeout": 300.0}
    assert stored.data == {"model": "zoe-nano", "max_tokens": 500, **defaults}
    form = await entry.start_subentry_reconfigure_flow(hass, stored.subentry_id)
    chosen = {"model": "zoe", "temperature": 0, "max_tokens": 400, **defaults}
    form = await submit_agent(hass, form, {**chosen, "expert": {"request_fields": {"messages": []}}})
    assert form["errors"] == {"base": "request_fields_refused"}
    result = await submit_agent(hass, form, {**chosen, "expert": {"top_k": 5.0, "request_fields": {"seed": 2}}})
    assert result["reason"] == "reconfigure_successful"
    assert entry.subentries[stored.subentry_id].data == {**chosen, "top_k": 5.0, "request_fields": {"seed": 2}}
    form = await entry.start_subentry_reconfigure_flow(hass, stored.subentry_id)
    assert _suggested(form["data_schema"].schema["expert"]) == {"top_k": 5.0, "request_fields": {"seed": 2}}


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
    return {str(key): key.description["suggested_value"] for key in part.schema.schema if key.description}


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
    told = form["description_placeholders"]
    assert (told["max_facts"], told["max_chars"]) == ("100", "200")
    assert _suggested(form["data_schema"].schema["memory"]) == too_long["memory"]
    result = await submit_agent(hass, form, {"model": "zoe", **SECTIONS})
    assert result["reason"] == "reconfigure_successful"
    assert (await async_load_memory(hass)).facts == []


@pytest.mark.parametrize(
    "fields", [["seed"], "seed: 1", 1, {"messages": []}, {"seed": 1, "stream": False}, {"zoe": {}}]
)
async def test_additional_fields_must_leave_the_request_alone(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry, fields: object
) -> None:
    (subentry,) = entry.subentries.values()
    form: Result = await entry.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    wrong = {**SECTIONS, "expert": {"request_fields": fields}, "memory": {"facts": ["The cat is called Momo."]}}
    form = await submit_agent(hass, form, {"model": "zoe", **wrong})
    assert form["errors"] == {"base": "request_fields_refused"}
    assert "messages, model" in form["description_placeholders"]["fields"]
    assert _suggested(form["data_schema"].schema["expert"]) == {"request_fields": fields}
    assert (await async_load_memory(hass)).facts == []
    result = await submit_agent(hass, form, {"model": "zoe", **SECTIONS, "expert": {"request_fields": {}}})
    assert result["reason"] == "reconfigure_successful"
    assert "request_fields" not in entry.subentries[subentry.subentry_id].data


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ({"confirm_destructive": True}, "everything"),
        ({"confirm_destructive": False}, "opening"),
        ({}, "opening"),
        ({"confirm": "never", "confirm_destructive": True}, "never"),
    ],
)
async def test_an_older_agent_keeps_asking(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry, stored: dict[str, Any], read: str
) -> None:
    assert AgentOptions.from_data(stored).confirm == read
    (subentry,) = entry.subentries.values()
    hass.config_entries.async_update_subentry(entry, subentry, data=stored)
    await hass.async_block_till_done()
    form: Result = await entry.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    assert _suggested(form["data_schema"].schema["safety"]) == {"confirm": read}
    sections = {name: {} for name in SECTIONS} | {"safety": {"confirm": read}}
    await submit_agent(hass, form, {"model": "zoe", **sections})
    assert entry.subentries[subentry.subentry_id].data["confirm"] == read
    assert "confirm_destructive" not in entry.subentries[subentry.subentry_id].data


async def test_another_agent_of_a_server_has_another_name(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry
) -> None:
    empty: dict[str, Any] = {name: {} for name in SECTIONS}
    await submit_agent(hass, await start_agent(hass, entry), {"model": "zoe", **empty})
    await submit_agent(hass, await start_agent(hass, entry), {"model": "zoe", **empty})
    assert [agent.title for agent in entry.subentries.values()] == ["Zoe", "Zoe 2", "Zoe 3"]
