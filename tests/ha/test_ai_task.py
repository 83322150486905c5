"""AI tasks: data of a structure, pictures, and what is told when either cannot be had."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import probatio
import pytest
from homeassistant.components import ai_task
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.components.media_source import PlayMedia
from homeassistant.config_entries import ConfigSubentry, ConfigSubentryData
from homeassistant.core import Event, HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import llm
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_capture_events

from custom_components.zoe.api.offers import ModelFacts, model_facts, sees_pictures
from custom_components.zoe.const import DOMAIN, EVENT_TURN
from tests.ha.fake_zoe import FakeZoe
from tests.ha.tool_turns import TURN_ON

TASK = "ai_task.clerk"
STRUCTURE = {
    "count": {"description": "How many", "required": True, "selector": {"number": {"min": 0, "max": 9}}},
    "colour": {"selector": {"select": {"options": ["red", "blue"]}}},
}
PNG = b"\x89PNG\r\n\x1a\n"
SEEING: list[dict[str, Any]] = [
    {"id": "zoe", "roles": ["tools"], "abilities": ["tools"]},
    {"id": "zoe-nano", "roles": ["tools"], "abilities": ["tools"]},
    {"id": "qwen2-vl", "aliases": ["eyes"], "roles": ["vision"], "abilities": []},
]


@pytest.fixture
async def task(hass: HomeAssistant, zoe: FakeZoe) -> MockConfigEntry:
    """A server with an AI task, set up."""
    subentry = ConfigSubentryData(
        data={"max_tokens": 300.0}, subentry_type="ai_task_data", title="Clerk", unique_id=None
    )
    entry = MockConfigEntry(domain=DOMAIN, title="Zoe", data={"url": zoe.url}, subentries_data=[subentry])
    entry.add_to_hass(hass)
    assert await async_setup_component(hass, "homeassistant", {})
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return entry


async def generate(hass: HomeAssistant, **fields: object) -> object:
    result = await hass.services.async_call(
        "ai_task",
        "generate_data",
        {"task_name": "test", "instructions": "Count them.", "entity_id": TASK, **fields},
        blocking=True,
        return_response=True,
    )
    assert result is not None
    return result["data"]


async def test_text(hass: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry) -> None:
    turns: list[Event] = async_capture_events(hass, EVENT_TURN)
    zoe.says("**Two** of ", "them.")
    assert await generate(hass) == "**Two** of them."
    (request,) = zoe.requests
    assert request["model"] == "zoe"
    assert request["max_tokens"] == 300
    assert request["zoe"] == {"priority": "background"}
    assert "response_format" not in request
    system, user = request["messages"]
    assert "Current time" not in system["content"]
    assert user["content"].startswith("Count them.\n\nCurrent time is ")
    assert turns[0].data["agent_id"] == TASK


async def test_structure(hass: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry) -> None:
    zoe.says('{"count": 4, "colour": "red"}')
    assert await generate(hass, structure=STRUCTURE) == {"count": 4, "colour": "red"}
    (request,) = zoe.requests
    schema = request["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["count"]
    assert schema["properties"]["colour"]["enum"] == ["red", "blue"]
    assert schema["properties"]["count"]["description"] == "How many"


@pytest.mark.parametrize("wrong", ["Four.", '{"count": 40}', '{"colour": "red"}', '{"count": 4, "size": 1}', "[]"])
async def test_what_does_not_fit_is_told_once(
    hass: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry, wrong: str
) -> None:
    turns: list[Event] = async_capture_events(hass, EVENT_TURN)
    zoe.says(wrong)
    zoe.says('{"count": 4}')
    assert await generate(hass, structure=STRUCTURE) == {"count": 4}
    first, second = zoe.requests
    assert second["messages"][:2] == first["messages"]
    assert second["messages"][2] == {"role": "assistant", "content": wrong}
    assert second["messages"][3]["content"].startswith("This is not data of the structure that was asked for: ")
    assert turns[0].data["repairs"] == {"wrong_structure": 1}


async def test_what_never_fits_is_an_error(hass: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry) -> None:
    zoe.says("Four.")
    zoe.says("4")
    with pytest.raises(HomeAssistantError, match="did not write the data that was asked for"):
        await generate(hass, structure=STRUCTURE)
    assert len(zoe.requests) == 2


async def test_silence_is_an_error(hass: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry) -> None:
    zoe.says()
    zoe.says()
    with pytest.raises(HomeAssistantError, match="did not answer"):
        await generate(hass)


@pytest.fixture
def picture(hass: HomeAssistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayMedia:
    """A picture in the media folder, as Home Assistant resolves it."""
    media = PlayMedia(url="/media/cat.png", mime_type="image/png", path=tmp_path / "cat.png")
    assert media.path is not None
    media.path.write_bytes(PNG)

    async def resolve(*_: object) -> PlayMedia:
        return media

    monkeypatch.setattr("homeassistant.components.media_source.async_resolve_media", resolve)
    return media


ATTACHMENTS = [{"media_content_id": "media-source://media_source/local/cat.png", "media_content_type": "image/png"}]


async def test_pictures_go_along(hass: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry, picture: PlayMedia) -> None:
    zoe.says("A cat.")
    assert await generate(hass, attachments=ATTACHMENTS) == "A cat."
    text, shown = zoe.requests[0]["messages"][-1]["content"]
    assert text["type"] == "text"
    assert text["text"].startswith("Count them.\n\nCurrent time is ")
    assert shown == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


async def test_no_model_that_sees(hass: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry, picture: PlayMedia) -> None:
    zoe.facts = SEEING[:2]
    with pytest.raises(HomeAssistantError, match="There is no model that sees pictures"):
        await generate(hass, attachments=ATTACHMENTS)
    assert zoe.requests == []
    zoe.facts = SEEING
    zoe.says("A cat.")
    assert await generate(hass, attachments=ATTACHMENTS) == "A cat."


async def test_what_is_no_picture(hass: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry, picture: PlayMedia) -> None:
    pdf = [{**ATTACHMENTS[0], "media_content_type": "application/pdf"}]
    with pytest.raises(HomeAssistantError, match="is application/pdf, not a picture"):
        await generate(hass, attachments=pdf)
    assert picture.path is not None
    picture.path.unlink()
    with pytest.raises(HomeAssistantError, match="No such file"):
        await generate(hass, attachments=ATTACHMENTS)
    assert zoe.requests == []


class _Count(llm.Tool):
    name = "test__count"
    description = "Counts."
    integration = "test"
    parameters = probatio.Schema({})

    async def async_call(
        self, hass: HomeAssistant, tool_input: llm.ToolInput, llm_context: llm.LLMContext
    ) -> llm.ToolResult:
        return llm.ToolResult(data={"count": 3})


class _API(llm.API):
    async def async_get_api_instance(self, llm_context: llm.LLMContext) -> llm.APIInstance:
        return llm.APIInstance(self, "", llm_context, [_Count()])


async def test_tools(hass: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry) -> None:
    zoe.calls(("count", {}))
    zoe.says('{"count": 3}')
    structure = probatio.Schema({probatio.Required("count"): int})
    api = _API(hass=hass, id="test", name="Test")
    result = await ai_task.async_generate_data(
        hass, task_name="t", entity_id=TASK, instructions="Count.", structure=structure, llm_api=api
    )
    assert result.data == {"count": 3}
    asked, told = zoe.requests
    assert "response_format" in asked
    assert told["messages"][-1]["role"] == "tool"


@pytest.mark.parametrize(
    ("guarded", "state", "repaired"), [([], "on", {}), (["light.desk_lamp"], "off", {"never_unattended": 1})]
)
async def test_a_task_does_nothing_that_somebody_has_to_agree_to(
    home: HomeAssistant, zoe: FakeZoe, task: MockConfigEntry, guarded: list[str], state: str, repaired: dict[str, int]
) -> None:
    """Nobody is there to be asked. What is harmless is done, whatever words the instructions have for it."""
    agent = ConfigSubentry(
        data=MappingProxyType({"guarded": guarded}), subentry_type="conversation", title="Zoe", unique_id=None
    )
    home.config_entries.async_add_subentry(task, agent)
    await home.async_block_till_done()
    async_expose_entity(home, "ai_task", "light.desk_lamp", True)
    turns: list[Event] = async_capture_events(home, EVENT_TURN)
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.says("Fine.")
    (api,) = (one for one in llm.async_get_apis(home) if one.id == llm.LLM_API_ASSIST)
    await ai_task.async_generate_data(home, task_name="t", entity_id=TASK, instructions="Make it cosy.", llm_api=api)
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", state)
    assert turns[-1].data["repairs"] == repaired


@pytest.mark.parametrize(
    ("models", "wanted", "sees"),
    [
        (SEEING, "zoe", True),
        (SEEING, "qwen2-vl", True),
        (SEEING, "eyes", True),
        (SEEING, "zoe-nano", False),
        (SEEING[:2], "zoe", False),
        (SEEING, "unknown", True),
        ([{"id": "gpt"}], "zoe", True),
        ([{"id": "gpt"}], "gpt", True),
        ([{"id": "a", "roles": ["chat"], "abilities": []}], "a", True),
        ([{"id": "a", "roles": ["chat"], "abilities": ["vision"]}], "zoe", True),
    ],
)
def test_sees_pictures(models: list[dict[str, Any]], wanted: str, sees: bool) -> None:
    assert sees_pictures(model_facts({"data": models}), wanted) is sees


def test_model_facts() -> None:
    (fact,) = model_facts({"data": [{"id": "a", "aliases": ["b"], "roles": "odd", "abilities": ["vision"]}]})
    assert fact == ModelFacts(frozenset({"a", "b"}), None, frozenset({"vision"}))
