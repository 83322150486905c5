"""Whether an answer may be spoken, by what happened in a real home."""

import pytest
from homeassistant.core import Event, HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe, error_response
from tests.ha.tool_turns import (
    LIVE,
    ORDER,
    QUESTION,
    TURN_ON,
    Judged,
    options,
    repairs,
    speech,
)


@pytest.mark.parametrize("judge", [ORDER, None])
@pytest.mark.parametrize(
    ("language", "said", "told"),
    [
        ("en", "turn on the desk lamp", "I haven't changed anything."),
        ("de", "Schalte die Desk lamp ein", "Ich habe nichts verändert."),
    ],
)
async def test_a_claim_without_a_call_is_not_spoken(
    home: HomeAssistant,
    zoe: FakeZoe,
    say: Say,
    turns: list[Event],
    judge: Judged | None,
    language: str,
    said: str,
    told: str,
) -> None:
    """The model is asked once more, and has to call something then; if it does not, the truth is told."""
    zoe.judge = judge
    zoe.says("I've turned on ", "the desk lamp.")
    zoe.says("I've turned on the desk lamp.")
    assert speech(await say(said, language=language)) == told
    assert [request.get("tool_choice") for request in zoe.requests] == [None, "required"]
    assert zoe.requests[1]["messages"] == zoe.requests[0]["messages"]
    assert repairs(turns) == {"asked_again": 1, "answer_corrected": 2}


async def test_a_claim_is_made_true(home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]) -> None:
    zoe.judge = ORDER
    zoe.says("I've turned on the desk lamp.")
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.says("Now it is on.")
    assert speech(await say("turn on the desk lamp")) == "Now it is on."
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")
    assert [request.get("tool_choice") for request in zoe.requests] == [None, "required", None]
    assert repairs(turns) == {"asked_again": 1, "answer_corrected": 1}


async def test_when_the_model_cannot_be_asked_again_the_truth_is_told(
    home: HomeAssistant, zoe: FakeZoe, say: Say
) -> None:
    zoe.judge = ORDER
    zoe.says("I've turned on the desk lamp.")
    zoe.script.append(error_response(503, "unavailable_error", "the engine restarts"))
    assert speech(await say("turn on the desk lamp")) == "I haven't changed anything."


async def test_who_admits_that_nothing_was_done_is_believed(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.judge = Judged(order=1.0, admits=1.0)
    zoe.says("I am not able to turn on the desk lamp.")
    assert speech(await say("turn on the desk lamp")) == "I am not able to turn on the desk lamp."
    assert repairs(turns) == {}


async def test_what_was_so_before_is_no_false_claim(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.judge = ORDER
    await home.services.async_call("light", "turn_on", {"entity_id": "light.desk_lamp"}, blocking=True)
    zoe.says("The desk lamp is on.")
    assert speech(await say("turn on the desk lamp")) == "The desk lamp is on. There was nothing to do."


@pytest.mark.parametrize("judge", [QUESTION, None])
async def test_a_state_is_read_before_it_is_told(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event], judge: Judged | None
) -> None:
    zoe.judge = judge
    look = {"type": "function", "function": {"name": LIVE}}
    zoe.says("The desk lamp is on.")
    zoe.calls((LIVE, {"name": "Desk lamp"}))
    zoe.says("It is off.")
    assert speech(await say("is the desk lamp on?")) == "It is off."
    assert [request.get("tool_choice") for request in zoe.requests] == [None, look, None]
    zoe.says("The desk lamp is on.")
    zoe.says("The desk lamp is on.")
    assert speech(await say("is the desk lamp on?")) == "I don't know that right now."
    assert repairs(turns) == {"asked_again": 1, "answer_corrected": 2}


async def test_a_claim_about_what_failed_is_corrected(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.calls((TURN_ON, {"name": "Desk lamp"}), (TURN_ON, {"name": "Chandelier"}))
    zoe.says("I have turned on the desk lamp and the chandelier.")
    said = speech(await say("turn on the desk lamp and the chandelier"))
    assert said == "I have turned on the desk lamp and the chandelier. That didn't work: Chandelier."
    assert repairs(turns) == {"unknown_name": 1, "answer_corrected": 1}


async def test_a_claim_about_what_was_done_stands(
    home: HomeAssistant, zoe: FakeZoe, say: Say, turns: list[Event]
) -> None:
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.says("I have turned on the desk lamp.")
    assert speech(await say("turn on the desk lamp", "talk")) == "I have turned on the desk lamp."
    zoe.says("Yes, I have turned on the desk lamp.")
    assert speech(await say("Did the desk lamp go on?", "talk")) == "Yes, I have turned on the desk lamp."
    assert [turn.data["repairs"] for turn in turns] == [{}, {}]


async def test_an_agent_without_tools_claims_nothing(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, say: Say
) -> None:
    await options(home, entry, llm_hass_api=[])
    zoe.judge = ORDER
    zoe.afterwards = "I have turned on the desk lamp."
    assert speech(await say("turn on the desk lamp")) == "I haven't changed anything."
