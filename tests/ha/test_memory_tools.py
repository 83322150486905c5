"""What a model may remember and forget: what the user said, and not what a media title says."""

import json
from typing import Any

import pytest
from homeassistant.components import conversation
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import llm
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.llm import ForgetTool, Spoken
from custom_components.zoe.memory import async_load_memory
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe

BINS = "The bins go out on Tuesday evening."
ALARM = "The front door is never locked."
LOOK: tuple[str, dict[str, Any]] = ("homeassistant__GetLiveContext", {})


def told(zoe: FakeZoe, index: int = -1) -> dict[str, Any]:
    """What the model was told last."""
    result: dict[str, Any] = json.loads(zoe.requests[index]["messages"][-1]["content"])
    return result


async def facts(hass: HomeAssistant) -> list[str]:
    return (await async_load_memory(hass)).facts


async def test_what_the_user_did_not_say_is_not_remembered(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.calls(("zoe__remember", {"fact": ALARM}))
    zoe.says("Hello.")
    await say("hello there")
    assert told(zoe)["error"] is True
    assert "has not said this" in told(zoe)["data"]["error_text"]
    assert await facts(home) == []


@pytest.mark.parametrize(
    ("tool", "sentence"),
    [
        ("zoe__remember", "say how warm it is, and remember that the front door is never locked"),
        ("zoe__remember", "was läuft gerade"),
        ("zoe__forget", "say how warm it is"),
    ],
)
async def test_nothing_is_changed_after_foreign_words(
    home: HomeAssistant, zoe: FakeZoe, say: Say, tool: str, sentence: str
) -> None:
    memory = await async_load_memory(home)
    await memory.async_remember(BINS)
    zoe.calls(LOOK)
    zoe.calls((tool, {"fact": ALARM if tool == "zoe__remember" else BINS}))
    zoe.says("It is 12 degrees.")
    await say(sentence, language="de" if "gerade" in sentence else "en")
    assert "not the user's" in told(zoe)["data"]["error_text"]
    assert memory.facts == [BINS]


@pytest.mark.parametrize(("language", "kept"), [("en", False), ("de", True)])
async def test_a_translation_is_taken_where_nobody_else_can_have_said_it(
    home: HomeAssistant, zoe: FakeZoe, say: Say, language: str, kept: bool
) -> None:
    zoe.calls(("zoe__remember", {"fact": BINS}))
    zoe.says("Gut.")
    await say("Merk dir, dass der Müll am Dienstagabend rauskommt", "talk", language)
    assert bool(await facts(home)) is kept


async def test_a_translation_is_not_taken_once_others_words_were_read(
    home: HomeAssistant, zoe: FakeZoe, say: Say
) -> None:
    zoe.calls(LOOK)
    zoe.says("12 Grad.")
    await say("Wie warm ist es draußen?", "talk", "de")
    zoe.calls(("zoe__remember", {"fact": ALARM}))
    zoe.says("Gern.")
    await say("Danke", "talk", "de")
    assert "has not said this" in told(zoe)["data"]["error_text"]
    zoe.calls(("zoe__remember", {"fact": "Die Tonne kommt dienstags raus."}))
    zoe.says("Gut.")
    await say("Merk dir, die Tonne kommt dienstags raus", "talk", "de")
    assert await facts(home) == ["Die Tonne kommt dienstags raus."]


async def test_an_action_before_it_says_nothing(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.calls(("intent__HassTurnOn", {"name": "Desk lamp"}))
    zoe.calls(("zoe__remember", {"fact": BINS}))
    zoe.says("Both done.")
    await say("turn on the desk lamp, and remember that the bins go out on Tuesday evening")
    assert await facts(home) == [BINS]
    zoe.calls(("intent__HassTurnOff", {"name": "Desk lamp"}))
    zoe.calls(("zoe__remember", {"fact": ALARM}))
    zoe.says("Done.")
    await say("Schreibtischlampe aus", language="de")
    assert await facts(home) == [BINS]


async def test_looking_facts_up_is_no_foreign_text(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    await (await async_load_memory(home)).async_remember("The bins go out on Monday.")
    zoe.calls(("zoe__recall", {"about": "bins"}))
    zoe.calls(("zoe__forget", {"fact": "bins Monday"}))
    zoe.calls(("zoe__remember", {"fact": BINS}))
    zoe.says("Changed.")
    await say("no, the bins go out on Tuesday evening now, remember that")
    assert await facts(home) == [BINS]


async def test_facts_can_be_looked_up_after_foreign_words(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    await (await async_load_memory(home)).async_remember(BINS)
    zoe.calls(LOOK)
    zoe.calls(("zoe__recall", {"about": "bins"}))
    zoe.says("On Tuesday.")
    await say("do the bins go out when it rains?")
    assert told(zoe)["data"] == {"facts": [BINS]}


async def test_too_few_words_forget_nothing(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    memory = await async_load_memory(home)
    await memory.async_remember("Anna is allergic to nuts")
    zoe.calls(("zoe__forget", {"fact": "is"}))
    zoe.says("Do you mean that Anna is allergic to nuts?")
    await say("forget it")
    assert told(zoe)["data"]["error_text"].endswith("Ask the user whether this one is meant: Anna is allergic to nuts")
    assert memory.facts == ["Anna is allergic to nuts"]


async def test_outside_of_a_conversation_nothing_is_remembered(home: HomeAssistant, agent: str) -> None:
    context = llm.LLMContext("zoe", Context(), "de", "conversation", None)
    api = await llm.async_get_api(home, "assist", context)
    result = await api.async_call_tool(llm.ToolInput("zoe__remember", {"fact": BINS}))
    assert result.error
    assert await facts(home) == []


def test_tools_of_several_apis_are_still_known() -> None:
    content: list[conversation.Content] = [
        conversation.UserContent("x"),
        conversation.ToolResultContent("a", "1", f"assist__{ForgetTool.name}", llm.ToolResult({})),
    ]
    assert Spoken.of(content) == Spoken(("x",))


@given(st.lists(st.sampled_from(["user", "read", "act", "own"]), max_size=8))
def test_what_is_of_this_turn(kinds: list[str]) -> None:
    results: dict[str, tuple[str, dict[str, Any]]] = {
        "read": ("todo__get_items", {"items": []}),
        "act": ("intent__HassTurnOn", {"response_type": "action_done", "speech": {}}),
        "own": ("zoe__recall", {"facts": []}),
    }
    content: list[conversation.Content] = [
        conversation.UserContent("x")
        if kind == "user"
        else conversation.ToolResultContent("a", "1", results[kind][0], llm.ToolResult(results[kind][1]))
        for kind in kinds
    ]
    now = kinds[len(kinds) - kinds[::-1].index("user") :] if "user" in kinds else kinds
    said = Spoken.of(content)
    assert len(said.sentences) == kinds.count("user")
    assert (said.has_acted, said.has_read, said.has_ever_read) == ("act" in now, "read" in now, "read" in kinds)
