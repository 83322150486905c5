"""Which rounds a request carries, and what the server says about its length."""

import pytest
from homeassistant.components import conversation
from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm
from hypothesis import given
from hypothesis import strategies as st
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.turn.history import ContextBudget, round_starts, start_after, start_within
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe, Part, delta, ending, error_response, role, served_model
from tests.ha.tool_turns import options, speech

USER = conversation.UserContent("x")
ASSISTANT = conversation.AssistantContent("a", "y", tool_calls=[llm.ToolInput("t", {}, "1")])
RESULT = conversation.ToolResultContent("a", "1", "t", llm.ToolResult({}))
ROUNDS = st.lists(st.lists(st.sampled_from([ASSISTANT, RESULT]), max_size=4), min_size=1, max_size=20)


def log(rounds: list[list[conversation.Content]]) -> list[conversation.Content]:
    return [conversation.SystemContent(""), *(item for turn in rounds for item in (USER, *turn))]


@given(ROUNDS, st.integers(1, 8))
def test_whole_rounds_stay_and_the_last_one_always(rounds: list[list[conversation.Content]], most: int) -> None:
    content = log(rounds)
    start = start_within(content, most)
    assert content[start] is USER
    kept = len(round_starts(content[start:]))
    assert 1 <= kept <= most
    assert kept > most // 2 or kept == len(rounds)


@given(ROUNDS, st.integers(0, 100))
def test_enough_goes_or_all_but_the_last_round(rounds: list[list[conversation.Content]], excess: int) -> None:
    content = log(rounds)
    lengths = [3] * len(content)
    start = start_after(content, 1, excess, lengths)
    assert content[start] is USER
    assert sum(lengths[1:start]) >= excess or start == round_starts(content)[-1]


def test_a_log_in_which_nobody_spoke() -> None:
    assert start_within([conversation.SystemContent("")], 3) == 1
    assert start_after([conversation.SystemContent("")], 1, 10, [5]) == 1


def test_blocks_keep_the_beginning_the_same() -> None:
    starts = [start_within(log([[] for _ in range(count)]), 6) for count in range(1, 13)]
    assert starts == [1] * 6 + [4] * 3 + [7] * 3


def test_budget() -> None:
    budget = ContextBudget()
    assert budget.excess_chars(10**9, 100) == 0
    budget.learn_limit(prompt_tokens=0, context_tokens=0, chars=5)
    assert budget.excess_chars(10**9, 100) == 0
    budget.learn_limit(prompt_tokens=5000, context_tokens=4000, chars=20000)
    assert budget.excess_chars(20000, 100) == 20000 - 3900 * 4
    assert budget.excess_chars(20000, 4000) == 20000 - 3000 * 4
    budget.learn_length(prompt_tokens=10, chars=20)
    assert budget.excess_chars(7000, 4000) == 1000


def roles(zoe: FakeZoe, index: int = -1) -> list[str]:
    return [message["role"] for message in zoe.requests[index]["messages"]]


async def test_rounds_beyond_the_option_are_left_out(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    subentry = next(iter(entry.subentries.values()))
    home.config_entries.async_update_subentry(entry, subentry, data={"llm_hass_api": ["assist"], "history_rounds": 2})
    await home.async_block_till_done()
    for index in range(4):
        zoe.calls(("homeassistant__GetLiveContext", {}))
        zoe.says(f"Answer {index}")
        await say(f"Question {index}", "talk")
    said = [message["content"] for message in zoe.requests[-1]["messages"] if message["role"] == "user"]
    assert said == ["Question 2", "Question 3"]
    assert roles(zoe) == [
        "system",
        "system",
        *("user", "assistant", "tool", "assistant"),
        *("user", "assistant", "tool"),
    ]


async def test_what_does_not_fit_is_sent_again_with_less(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    for index in range(3):
        zoe.says("word " * 100)
        await say(f"Question {index}", "talk")
    refusal = {"n_prompt_tokens": 1000, "n_ctx": 960}
    zoe.script.append(error_response(400, "exceed_context_size_error", "too long", **refusal))
    zoe.says("Short.")
    result = await say("Question 3", "talk")
    assert speech(result) == "Short."
    before, after = zoe.requests[-2:]
    assert before["messages"][:2] == after["messages"][:2]
    assert before["messages"][-len(after["messages"]) + 2 :] == after["messages"][2:]
    assert len(after["messages"]) < len(before["messages"])


def answer_of(model: str, text: str) -> list[Part]:
    """An answer that another model gives."""
    parts: list[Part] = [role(), delta(content=text), *ending("stop")]
    return [{**part, "model": model} if isinstance(part, dict) else part for part in parts]


def counted(zoe: FakeZoe, prompt_tokens: int) -> None:
    """Let the last answer of the script tell how long its prompt was."""
    answer = zoe.script[-1]
    assert isinstance(answer, list)
    for part in answer:
        if isinstance(part, dict) and "usage" in part:
            part["usage"]["prompt_tokens"] = prompt_tokens


TOO_LONG = {"n_prompt_tokens": 1000, "n_ctx": 960}


async def test_the_limit_of_a_small_model_cuts_nothing_of_a_large_one(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    zoe.served = [served_model("small", "tools"), served_model("large", "chat"), served_model("e", "embeddings")]
    await entry.runtime_data.async_refresh()
    for index in range(3):
        zoe.script.append(answer_of("small", "word " * 100))
        await say(f"Question {index}", "talk")
    zoe.script += [
        error_response(400, "exceed_context_size_error", "too long", **TOO_LONG),
        answer_of("small", "word " * 100),
        answer_of("large", "word " * 100),
    ]
    await say("Question 3", "talk")
    whole, cut = zoe.requests[-2:]
    assert len(cut["messages"]) < len(whole["messages"])
    await say("Question 4", "talk")
    assert len(zoe.requests[-1]["messages"]) == len(whole["messages"]) + 2


async def test_the_limit_of_the_only_model_is_kept(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    for index in range(3):
        zoe.says("word " * 100)
        await say(f"Question {index}", "talk")
    zoe.script.append(error_response(400, "exceed_context_size_error", "too long", **TOO_LONG))
    for index in (3, 4):
        zoe.says("word " * 100)
        counted(zoe, 950)
        await say(f"Question {index}", "talk")
    assert len(zoe.requests) == 6
    assert len(zoe.requests[5]["messages"]) < len(zoe.requests[3]["messages"])


async def test_after_a_tool_the_limit_of_the_model_of_the_sentence_counts(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    zoe.served = [served_model("zoe-nano", "tools"), served_model("large", "chat")]
    await entry.runtime_data.async_refresh()
    for index in range(3):
        zoe.says("word " * 100)
        await say(f"Question {index}", "talk")
    zoe.script.append(error_response(400, "exceed_context_size_error", "too long", **TOO_LONG))
    zoe.calls(("homeassistant__GetLiveContext", {}))
    counted(zoe, 950)
    zoe.says("Fine.")
    await say("Question 3", "talk")
    assert len(zoe.requests) == 6
    said = [message["content"] for message in zoe.requests[-1]["messages"] if message["role"] == "user"]
    assert "Question 0" not in said


async def test_the_limit_of_a_model_that_an_agent_names(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    await options(home, entry, model="an-alias")
    for index in range(3):
        zoe.says("word " * 100)
        await say(f"Question {index}", "talk")
    zoe.script.append(error_response(400, "exceed_context_size_error", "too long", **TOO_LONG))
    for index in (3, 4):
        zoe.says("Fine.")
        await say(f"Question {index}", "talk")
    assert len(zoe.requests) == 6


async def test_a_prompt_that_never_fits_is_an_error(
    home: HomeAssistant, zoe: FakeZoe, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    zoe.says("Hello.")
    await say("hello", "talk")
    refusal = {"n_prompt_tokens": 9000, "n_ctx": 100}
    for _ in range(2):
        zoe.script.append(error_response(400, "exceed_context_size_error", "too long", **refusal))
    result = await say("hello again", "talk")
    assert speech(result) == "That's more than I can take in at once."
    assert "could not answer: too long" in caplog.text
    assert roles(zoe) == ["system", "system", "user"]
