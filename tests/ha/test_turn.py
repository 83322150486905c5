"""The figures of a turn, with a clock of our own."""

from homeassistant.helpers import llm

from custom_components.zoe.turn.stats import TurnStats


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
        "tool_calls": [{"name": "t", "arguments": ["x"]}],
        "repairs": {"blank_argument": 1, "tool_name": 2},
    }


def test_no_word_of_the_household_is_in_the_event() -> None:
    turn = TurnStats(lambda: 0.0)
    for name, args in (
        ("zoe__remember", {"fact": "The code of the safe is 1234."}),
        ("todo__HassListAddItem", {"name": "Shopping list", "item": "a ring for Anna"}),
        ("assist_satellite__HassBroadcast", {"message": "Dinner"}),
    ):
        turn.tool_calls.append(llm.ToolInput(tool_name=name, tool_args=args))
    told = turn.as_event_data("c", "a")["tool_calls"]
    assert told == [
        {"name": "zoe__remember", "arguments": ["fact"]},
        {"name": "todo__HassListAddItem", "arguments": ["item", "name"]},
        {"name": "assist_satellite__HassBroadcast", "arguments": ["message"]},
    ]


def test_a_turn_in_which_nothing_came() -> None:
    data = TurnStats(lambda: 0.0).as_event_data("c", "a")
    assert (data["model"], data["ttft_ms"], data["requests"]) == (None, None, 0)
