"""The figures of a turn, with a clock of our own."""

from homeassistant.helpers import llm

from custom_components.zoe.const import DOMAIN, MEMORY_ACTIONS
from custom_components.zoe.memory_tools import ForgetTool, RecallTool, RememberTool
from custom_components.zoe.turn import TurnStats


def test_figures_over_two_requests() -> None:
    now_s = 10.0
    turn = TurnStats(lambda: now_s)
    first = turn.new_request()
    now_s = 10.25
    turn.mark_delta()
    first.read_chunk({"model": "a", "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
    turn.tool_calls.append(llm.ToolInput(tool_name="t", tool_args={"x": 1}))
    turn.repairs.update({"tool_name": 2, "blank_argument": 1})
    now_s = 11.0
    turn.mark_delta()
    second = turn.new_request()
    second.read_chunk({"model": "b"})
    second.read_chunk({"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}}, "timings": None})
    now_s = 12.0
    assert turn.as_event_data("c", "conversation.zoe") == {
        "conversation_id": "c",
        "agent_id": "conversation.zoe",
        "model": "b",
        "requests": 2,
        "prompt_tokens": 14,
        "cached_tokens": 5,
        "completion_tokens": 2,
        "ttft_ms": 250.0,
        "total_ms": 2000.0,
        "tool_calls": [{"name": "t", "args": {"x": 1}}],
        "repairs": {"blank_argument": 1, "tool_name": 2},
    }


def test_what_the_household_told_its_agents_is_in_no_event() -> None:
    turn = TurnStats(lambda: 0.0)
    for name in ("zoe__remember", "forget"):
        turn.tool_calls.append(llm.ToolInput(tool_name=name, tool_args={"fact": "The code of the safe is 1234."}))
    told = turn.as_event_data("c", "a")["tool_calls"]
    assert told == [{"name": "zoe__remember", "args": {}}, {"name": "forget", "args": {}}]


def test_every_tool_of_the_memory_is_known_by_its_name() -> None:
    tools = (RememberTool, ForgetTool, RecallTool)
    assert {tool.name for tool in tools} == {f"{DOMAIN}__{action}" for action in MEMORY_ACTIONS}


def test_a_turn_in_which_nothing_came() -> None:
    data = TurnStats(lambda: 0.0).as_event_data("c", "a")
    assert (data["model"], data["ttft_ms"], data["requests"]) == (None, None, 0)
