"""What waits in the outbox, and what does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zoe_server.llama.event_batcher import EventBatcher
from zoe_server.llama.pieces import joined
from zoe_server.protocol import (
    ChatEvent,
    DrawnToken,
    Finish,
    Reasoning,
    Text,
    TokenProbability,
    ToolCallArguments,
    ToolCallStart,
)

Sent = list[tuple[str, list[ChatEvent]]]


def make(held_s: float = 1.0) -> tuple[EventBatcher, Sent]:
    sent: Sent = []
    return EventBatcher(lambda request_id, events: sent.append((request_id, events)), held_s), sent


def test_the_first_words_leave_at_once_and_those_that_follow_fast_together() -> None:
    outbox, sent = make()
    for now, word in ((0.0, "one "), (0.5, "two "), (0.9, "three "), (1.0, "four ")):
        outbox.put("a", [Text(word)])
        outbox.release(now)
    assert sent == [("a", [Text("one ")]), ("a", [Text("two three four ")])]


def test_slow_words_leave_one_by_one() -> None:
    outbox, sent = make()
    for now in range(4):
        outbox.put("a", [Text(str(now))])
        outbox.release(float(now))
    assert [events for _, events in sent] == [[Text("0")], [Text("1")], [Text("2")], [Text("3")]]


def test_the_end_takes_along_what_is_held() -> None:
    outbox, sent = make()
    outbox.put("a", [Text("one")])
    outbox.release(0.0)
    outbox.put("a", [Text(", two")])
    outbox.release(0.1)
    outbox.end("a", [Finish("stop")])
    assert sent == [("a", [Text("one")]), ("a", [Text(", two"), Finish("stop")])]
    outbox.flush()
    assert len(sent) == 2


def test_what_is_held_leaves_although_its_request_says_nothing_more() -> None:
    """It may have been preempted, or its next words are held back by the dialect."""
    outbox, sent = make()
    for text in ("one", ", two"):
        outbox.put("a", [Text(text)])
        outbox.release(0.0)
    outbox.release(0.9)
    assert len(sent) == 1
    outbox.release(1.0)
    assert sent[1:] == [("a", [Text(", two")])]


def test_nothing_is_held_through_a_long_step() -> None:
    outbox, sent = make()
    for text in ("one", ", two"):
        outbox.put("a", [Text(text)])
        outbox.put("b", [Text(text)])
        outbox.release(0.0)
    outbox.flush()
    assert sent[2:] == [("a", [Text(", two")]), ("b", [Text(", two")])]


def test_pieces_are_joined_only_with_their_own_kind() -> None:
    drawn = [DrawnToken(TokenProbability((65 + n,), -0.5), ()) for n in range(2)]
    events: list[ChatEvent] = [
        *(Reasoning("a"), Reasoning("b"), Text("c", (drawn[0],)), Text("d", (drawn[1],))),
        *(ToolCallStart(0, "x", "f"), ToolCallArguments(0, "{"), ToolCallArguments(0, "}")),
        *(ToolCallStart(1, "y", "g"), ToolCallArguments(1, "{}")),
    ]
    assert joined(events) == [
        *(Reasoning("ab"), Text("cd", (drawn[0], drawn[1])), ToolCallStart(0, "x", "f"), ToolCallArguments(0, "{}")),
        *(ToolCallStart(1, "y", "g"), ToolCallArguments(1, "{}")),
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.text(max_size=3), st.floats(0, 2), st.sampled_from(["put", "flush", "end"])
        ),
        max_size=40,
    )
)
def test_no_text_is_lost_or_moved(steps: list[tuple[str, str, float, str]]) -> None:
    outbox, sent = make()
    said = {"a": "", "b": ""}
    now = 0.0
    for request_id, text, pause, action in steps:
        now += pause
        outbox.put(request_id, [Text(text)])
        said[request_id] += text
        if action == "flush":
            outbox.flush()
        elif action == "end":
            outbox.end(request_id, [])
        outbox.release(now)
    outbox.flush()
    for request_id, text in said.items():
        events = [event for other, events in sent if other == request_id for event in events]
        assert "".join(event.text for event in events if isinstance(event, Text)) == text
