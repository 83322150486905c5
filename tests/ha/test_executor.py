"""What a model does wrong with tools, in a real home: put right, refused with candidates, or told honestly."""

import json
from random import Random
from typing import Any

import probatio
import pytest
from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.core import Context, Event, HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import llm
from homeassistant.helpers.json import json_dumps
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.const import MAX_TOOL_ITERATIONS
from custom_components.zoe.home import async_load_kinds
from custom_components.zoe.turn.executor import Executor, Order
from custom_components.zoe.turn.guard import Rules
from custom_components.zoe.turn.reach import Sentence
from custom_components.zoe.turn.stats import TurnStats
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe, delta, ending, role
from tests.ha.tool_turns import (
    ADMITTED,
    LIVE,
    ORDER,
    QUESTION,
    TURN_OFF,
    TURN_ON,
    EchoTool,
    Judged,
    ToolsAPI,
    options,
    repairs,
    speech,
    tool_results,
)


@pytest.mark.parametrize(
    ("name", "args", "counted"),
    [
        (TURN_ON, {"name": "Desk lamp", "area": "", "floor": None, "domain": []}, {"blank_argument": 3}),
        ("HassTurnOn", {"name": "Desk lamp"}, {"tool_name": 1}),
        ("light__HassTurnOn", {"name": "Desk lamp"}, {"tool_name": 1}),
        ("functions.HassTurnOn", {"name": "Desk lamp"}, {"tool_name": 1}),
        (TURN_ON, {"arguments": {"name": "Desk lamp"}}, {"wrapped_arguments": 1}),
        (TURN_ON, {"name": "Desk lamp", "domain": '["light"]'}, {"nested_json": 1}),
        (TURN_ON, {"name": "desk_lamp"}, {"name_letters": 1}),
        (TURN_ON, {"name": "Desk lamp, Glimmer"}, {"name_list": 1}),
        (TURN_ON, {"name": "Office desk lamp"}, {"name_area": 1}),
        (TURN_ON, {"name": "Glimmre"}, {"name_spelling": 1}),
        (TURN_ON, {"name": "Desk lamp", "device_class": ["tv"]}, {"filter_dropped": 1}),
        (TURN_ON, {"name": "Desk lamp", "area": "Kitchen"}, {"filter_dropped": 1}),
        (TURN_ON, {"entity_id": "light.desk_lamp"}, {"argument_name": 1, "name_exact": 1}),
        (TURN_ON, {"name": "light.desk_lamp"}, {"name_exact": 1}),
        (TURN_ON, {"name": "Office", "domain": "light"}, {"area_as_name": 1}),
        (TURN_ON, {"area": "OFFICE", "domain": ["light"]}, {"name_letters": 1}),
    ],
)
async def test_put_right(
    home: HomeAssistant,
    zoe: FakeZoe,
    say: Say,
    turns: list[Event],
    name: str,
    args: dict[str, Any],
    counted: dict[str, int],
) -> None:
    office = ar.async_get(home).async_create("Office")
    er.async_get(home).async_update_entity("light.desk_lamp", aliases=[er.COMPUTED_NAME, "Glimmer"], area_id=office.id)
    zoe.calls((name, args))
    zoe.says("It is on.")
    result = await say("turn on the desk lamp")
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")
    assert home.states.is_state("light.kitchen_light", "off")
    assert speech(result) == "It is on."
    assert repairs(turns) == counted
    # History keeps what the model wrote, so the server has computed it already.
    assert json.loads(zoe.requests[1]["messages"][-2]["tool_calls"][0]["function"]["arguments"]) == args
    traced = [
        event["data"]["repair"]
        for event in conversation.trace.async_get_traces()[-1].as_dict()["events"]
        if event["event_type"] == "agent_detail" and "repair" in event["data"]
    ]
    assert len(traced) == sum(counted.values())
    assert {repair["kind"] for repair in traced} == set(counted)
    assert {key for repair in traced for key in repair} <= {"kind", "tool", "argument"}


async def test_arguments_that_are_almost_json(home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]) -> None:
    for arguments in ("{'name': 'Desk lamp'}", '{"name": '):
        call = {"index": 0, "id": "c", "function": {"name": TURN_ON, "arguments": arguments}}
        zoe.script.append([role(), delta(tool_calls=[call]), *ending("tool_calls")])
    zoe.says("I cannot say more.")
    assert speech(await say("turn on the desk lamp")) == "I cannot say more."
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")
    good, bad = tool_results(zoe)
    assert good["error"] is False
    assert bad["data"]["error"] == "broken_arguments"
    assert "column 10" in bad["data"]["error_text"]
    assert repairs(turns) == {"argument_text": 1, "broken_arguments": 1}


async def test_two_lamps_of_one_name_are_told_apart_by_their_area(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    areas, entities = ar.async_get(home), er.async_get(home)
    for entity_id, room in (("light.desk_lamp", "Attic"), ("light.kitchen_light", "Hall")):
        area = areas.async_create(room)
        entities.async_update_entity(entity_id, name="Lamp", area_id=area.id)
    await home.async_block_till_done()
    zoe.calls((TURN_ON, {"name": "attic lamp"}))
    zoe.says("It is on.")
    await say("turn on the attic lamp")
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")
    assert home.states.is_state("light.kitchen_light", "off")
    assert repairs(turns) == {"name_area": 1}


async def test_several_things_in_one_name_are_refused(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.calls((TURN_ON, {"name": "Kitchen light, Desk lamp"}))
    zoe.says("Which one?")
    result = await say("turn on the lamps")
    assert result.continue_conversation
    (refused,) = tool_results(zoe)
    assert refused["data"]["error"] == "ambiguous_name"
    assert refused["data"]["candidates"] == ["Kitchen light", "Desk lamp"]
    assert home.states.is_state("light.desk_lamp", "off")
    assert repairs(turns) == {"ambiguous_name": 1}


async def test_the_model_mends_a_name(home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]) -> None:
    zoe.calls((TURN_ON, {"name": "Kitchen lamp"}))
    zoe.calls((TURN_ON, {"name": "Kitchen light"}))
    zoe.says("It is on.")
    assert speech(await say("turn on the kitchen lamp")) == "It is on."
    await home.async_block_till_done()
    assert home.states.is_state("light.kitchen_light", "on")
    assert repairs(turns) == {"unknown_name": 1}


async def test_nothing_else_is_done_in_place_of_what_does_not_exist(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.judge = ORDER
    zoe.calls((TURN_ON, {"name": "Chandelier"}))
    zoe.calls((TURN_ON, {"name": "Kitchen light"}))
    zoe.says("The kitchen light is on.")
    assert speech(await say("turn on the chandelier")) == "I don't know anything called chandelier."
    await home.async_block_till_done()
    assert home.states.is_state("light.kitchen_light", "off")
    assert repairs(turns) == {"unknown_name": 1, "not_spoken_of": 1, "answer_corrected": 1}


async def test_an_argument_that_there_is_not_is_refused_by_name(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.judge = ADMITTED
    zoe.calls((TURN_ON, {"name": "Desk lamp", "delay": 5}))
    zoe.says("I cannot do that.")
    await say("turn on the desk lamp in five minutes")
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "off")
    (refused,) = tool_results(zoe)
    assert refused["data"]["error"] == "unknown_argument"
    assert "'delay'" in refused["data"]["error_text"]
    assert "name" in refused["data"]["candidates"]
    assert repairs(turns) == {"unknown_argument": 1}


async def test_what_was_mended_is_not_told_as_failed(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.calls((TURN_ON, {"name": "Ambience"}))
    zoe.calls((TURN_ON, {"name": "Kitchen light"}), (TURN_ON, {"name": "Desk lamp"}))
    zoe.says("I have turned on all lights.")
    assert speech(await say("turn on all lights")) == "I have turned on all lights."
    assert repairs(turns) == {"unknown_name": 1}


async def test_two_calls_made_again_at_once_are_one_strike(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    both = ((TURN_ON, {"name": "Kitchen light"}), (TURN_ON, {"name": "Desk lamp"}))
    zoe.calls(*both)
    zoe.calls(*both)
    zoe.says("Both are on.")
    assert speech(await say("turn on the kitchen light and the desk lamp")) == "Both are on."
    assert repairs(turns) == {"repeated_call": 2}


@pytest.mark.parametrize("judge", [ORDER, None])
async def test_one_that_failed_beside_one_that_worked_is_told(
    home: HomeAssistant, zoe: FakeZoe, say: Say, judge: Judged | None
) -> None:
    zoe.judge = judge
    zoe.calls((TURN_ON, {"name": "Desk lamp"}), (TURN_ON, {"name": "Chandelier"}))
    zoe.says()
    said = speech(await say("turn on the desk lamp and the chandelier"))
    assert said == "Done: Desk lamp. This didn't work: Chandelier."


async def test_an_area_without_such_things_is_refused(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.calls((TURN_ON, {"area": "Cellar", "domain": ["light"]}))
    zoe.says("There is no light in the cellar.")
    await say("turn on the light in the cellar")
    (refused,) = tool_results(zoe)
    assert (refused["data"]["error"], refused["data"]["candidates"]) == ("unknown_name", ["galley"])


async def test_unknown_tools_end_in_an_honest_sentence(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.calls(("make_coffee", {}))
    zoe.calls(("brew_coffee", {}))
    assert speech(await say("make coffee")) == "I'm not able to do that. Nothing was changed."
    (refused,) = tool_results(zoe)
    assert refused["data"]["error"] == "unknown_tool"
    assert refused["data"]["candidates"]
    assert repairs(turns) == {"unknown_tool": 2, "stopped": 1}


async def test_a_turn_that_stops_after_a_change_that_names_nothing(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    """Nobody can say what was done, but "nothing was changed" would be wrong."""
    await options(home, entry, llm_hass_api=["test"], confirm="never")
    llm.async_register_api(home, ToolsAPI(home, EchoTool()))
    zoe.calls(("test__tool", {}))
    zoe.calls(("make_coffee", {}))
    zoe.calls(("brew_coffee", {}))
    assert speech(await say("make coffee")) == "I'm not able to do that."


async def test_the_same_call_again_is_not_made(home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]) -> None:
    zoe.calls((TURN_ON, {"name": "Desk lamp"}), (TURN_ON, {"name": "desk lamp"}))
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.calls((TURN_ON, {"name": "Desk lamp", "area": ""}))
    said = speech(await say("turn on the desk lamp", language="de-CH"))
    assert said == "Ich habe aufgehört, weil ich mich im Kreis gedreht habe. Schon erledigt: Desk lamp."
    first, twin, again = tool_results(zoe)
    assert first["data"]["data"] == twin["data"]["data"]
    assert again["data"]["error"] == "repeated_call"
    assert again["data"]["result"]["data"]["success"]
    assert repairs(turns) == {"name_letters": 1, "repeated_call": 3, "blank_argument": 1, "stopped": 1}


async def test_what_does_something_again_each_time_is_done_as_often_as_it_is_called(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say, turns: list[Event]
) -> None:
    """As "skip two songs" is, in one answer or in two."""
    tool = EchoTool()
    llm.async_register_api(home, ToolsAPI(home, tool))
    await options(home, entry, llm_hass_api=["test"], confirm="never")
    zoe.calls(("test__tool", {}), ("test__tool", {}))
    zoe.calls(("test__tool", {}))
    zoe.says("Three times.")
    assert speech(await say("do it three times")) == "Three times."
    assert len(tool.calls) == 3
    assert repairs(turns) == {}


async def test_it_is_not_done_for_ever(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say, turns: list[Event]
) -> None:
    tool = EchoTool()
    llm.async_register_api(home, ToolsAPI(home, tool))
    await options(home, entry, llm_hass_api=["test"], confirm="never")
    for _ in range(5):
        zoe.calls(("test__tool", {"name": "Anna"}))
    said = speech(await say("do it"))
    assert said == "I stopped because I was going round in circles. Already done: Anna."
    assert len(tool.calls) == 3
    zoe.calls(*[("test__tool", {"name": "Anna"})] * 25)
    zoe.says("Often enough.")
    assert speech(await say("do it 25 times")) == "Often enough."
    assert len(tool.calls) == 3 + 20
    assert repairs(turns) == {"repeated_call": 5}


async def test_blinking_is_no_repetition(home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]) -> None:
    for tool in (TURN_ON, TURN_OFF, TURN_ON):
        zoe.calls((tool, {"name": "Desk lamp"}))
    zoe.says("It blinked.")
    assert speech(await say("blink the desk lamp")) == "It blinked."
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")
    assert repairs(turns) == {}


async def test_looking_again_after_a_change_is_no_repetition(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.calls((LIVE, {}))
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.calls((LIVE, {}))
    zoe.says("Now it is on.")
    await say("make sure that the desk lamp is on")
    assert [result["error"] for result in tool_results(zoe)] == [False] * 3
    assert repairs(turns) == {}


async def test_loop_limit_ends_in_an_honest_sentence(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    for index in range(MAX_TOOL_ITERATIONS):
        zoe.calls(((TURN_ON, TURN_OFF)[index % 2], {"name": "Desk lamp"}))
    said = speech(await say("blink the desk lamp"))
    assert said == "I gave up after 10 steps. Already done: Desk lamp."
    assert len(zoe.requests) == MAX_TOOL_ITERATIONS
    assert repairs(turns) == {"stopped": 1}


@pytest.mark.parametrize(
    ("language", "said"), [("en", "Done: Desk lamp."), ("fr-FR", "C'est fait : Desk lamp."), ("pt", "Done: Desk lamp.")]
)
async def test_silence_after_a_change_is_answered_from_the_result(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event], language: str, said: str
) -> None:
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.says("🙂")
    result = await say("turn on the desk lamp", language=language)
    assert speech(result) == said
    assert [target.id for target in result.response.success_results] == ["light.desk_lamp"]
    assert len(zoe.requests) == 2
    assert repairs(turns) == {"answer_from_result": 1}


async def test_silence_after_looking_is_asked_for_words_once(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.calls((LIVE, {"name": "Desk lamp"}))
    zoe.says()
    zoe.says("It is off.")
    assert speech(await say("is the desk lamp on?")) == "It is off."
    assert [request.get("tool_choice") for request in zoe.requests] == [None, None, "none"]
    assert zoe.requests[-1]["tools"] == zoe.requests[0]["tools"]
    assert repairs(turns) == {}


@pytest.mark.parametrize("judge", [QUESTION, None])
async def test_a_question_changes_nothing(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event], judge: Judged | None
) -> None:
    """The server says that it is one, else Home Assistant's own sentences do."""
    zoe.judge = judge
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.calls((LIVE, {"name": "Desk lamp"}))
    zoe.says("No, it is off.")
    assert speech(await say("Is the desk lamp on?")) == "No, it is off."
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "off")
    refused, looked = tool_results(zoe)
    assert (refused["data"]["error"], looked["error"]) == ("question_only", False)
    assert LIVE in refused["data"]["candidates"]
    assert repairs(turns) == {"question_only": 1}


async def test_what_was_an_order_after_all_is_done_when_it_is_called_again(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.judge = QUESTION
    for _ in range(2):
        zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.says("It is on.")
    assert speech(await say("Would you mind the desk lamp?")) == "It is on."
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")
    assert repairs(turns) == {"question_only": 1}


@pytest.mark.parametrize("judge", [ORDER, None])
async def test_a_polite_order_is_an_order(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event], judge: Judged | None
) -> None:
    zoe.judge = judge
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.says("It is on.")
    await say("Could you turn on the desk lamp?")
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")
    assert repairs(turns) == {}


class _MuteError(HomeAssistantError):
    """As Home Assistant's are that put a number where they expect a name."""

    def __str__(self) -> str:
        names: list[Any] = [1]
        return ", ".join(names)


async def test_a_tool_that_breaks_does_not_end_the_turn(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    tool = EchoTool(fail=KeyError("oops"))
    await options(home, entry, llm_hass_api=["test"], confirm="never")
    llm.async_register_api(home, ToolsAPI(home, tool))
    zoe.judge = ADMITTED
    zoe.calls(("tool", {"name": "anything"}))
    zoe.says("It does not work.")
    assert speech(await say("test")) == "It does not work."
    (result,) = tool_results(zoe)
    assert result["data"]["error"] == "KeyError"
    assert tool.calls == [{"name": "anything"}]


async def test_an_error_that_cannot_say_what_it_is_does_not_end_the_turn(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    await options(home, entry, llm_hass_api=["test"], confirm="never")
    llm.async_register_api(home, ToolsAPI(home, EchoTool(fail=_MuteError())))
    zoe.judge = ADMITTED
    zoe.calls(("tool", {}))
    zoe.says("It does not work.")
    assert speech(await say("test")) == "It does not work."
    (result,) = tool_results(zoe)
    assert result["data"]["error_text"].startswith("An argument has the wrong type: ")


class _NameTool(EchoTool):
    """Takes devices by name and domain, and nothing by its area."""

    integration = "homeassistant"
    parameters = probatio.Schema({probatio.Optional("name"): str, probatio.Optional("domain"): [str]})


async def test_what_is_neither_a_device_nor_an_area_is_refused(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.calls((TURN_ON, {"name": "Chandelier", "domain": ["light"]}))
    zoe.says("There is no chandelier.")
    await say("turn on the chandelier")
    (result,) = tool_results(zoe)
    assert result["data"]["error"] == "unknown_name"
    assert sorted(result["data"]["candidates"]) == ["Desk lamp", "Kitchen light"]


async def test_an_area_is_no_device_for_a_tool_that_knows_no_areas(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    tool = _NameTool()
    await options(home, entry, llm_hass_api=["test"], confirm="never")
    llm.async_register_api(home, ToolsAPI(home, tool))
    zoe.calls(("test__tool", {"name": "Kitchen", "domain": ["light"]}))
    zoe.says("There is no such light.")
    await say("do it with the kitchen lights")
    (result,) = tool_results(zoe)
    assert (result["data"]["error"], tool.calls) == ("unknown_name", [])
    assert "Kitchen light" in result["data"]["candidates"]


async def test_a_question_may_use_a_tool_of_the_open_world(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    tool = EchoTool()
    await options(home, entry, llm_hass_api=["test", "assist"], confirm="never")
    llm.async_register_api(home, ToolsAPI(home, tool))
    zoe.calls(("test__tool", {}))
    zoe.says("42.")
    assert speech(await say("What is the answer?")) == "42."
    assert tool.calls == [{}]


def _anything(random: Random, depth: int = 3) -> object:
    """Some JSON, of words that mean something here."""
    words = ["Desk lamp", "kitchen", "light", "", "all", "on", '["light"]', '{"name": "x"}', "50%", "null", "Küche, x"]
    if depth == 0 or random.random() < 0.6:
        return random.choice([*words, None, True, 0, -1.5, 10**9])
    if random.random() < 0.5:
        return [_anything(random, depth - 1) for _ in range(random.randrange(3))]
    return {random.choice([*ARGUMENTS, "x"]): _anything(random, depth - 1) for _ in range(random.randrange(3))}


ARGUMENTS = ("name", "area", "floor", "domain", "device_class", "brightness", "color", "arguments", "position", "item")


async def test_any_call_ends_in_a_result(home: HomeAssistant, agent: str) -> None:
    for domain in ("media_player", "todo", "cover", "climate", "vacuum"):
        assert await async_setup_component(home, domain, {})
        home.states.async_set(f"{domain}.thing", "on", {"friendly_name": domain, "supported_features": 0xFFFFFFF})
        async_expose_entity(home, "conversation", f"{domain}.thing", True)
    await home.async_block_till_done()
    context = llm.LLMContext("zoe", Context(), "en", "conversation", None)
    api = await llm.async_get_api(home, "assist", context)
    names = [tool.name for tool in api.tools]
    assert len(names) > 8
    kinds = await async_load_kinds(home, "en")
    random = Random(1)
    for _ in range(40):
        turn = TurnStats(lambda: 0.0)
        sentence = Sentence(random.choice(["turn on the light", "is it on?", "open everything", ""]), "en")
        rules = Rules(random.choice(["never", "opening", "everything"]), unattended=random.random() < 0.2)
        order = Order(sentence, rules, kinds, frozenset({"media_player.thing"}))
        executor = Executor(home, api, order, turn, lambda _: None)
        for _ in range(10):
            executor.begin_round()
            name = random.choice([*names, *names, "HassTurnOn", "unknown", ""])
            args = {random.choice(ARGUMENTS): _anything(random) for _ in range(random.randrange(5))}
            result = await executor.async_call_tool(llm.ToolInput(name, args))
            json_dumps(result.data)
    await home.async_block_till_done()
