"""Whatever a tool returns becomes a message."""

import json
from typing import Any

import pytest
from homeassistant.components import conversation
from homeassistant.helpers import llm
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.turn.messages import content_to_message


class Quiet:
    pass


class Loud:
    def __str__(self) -> str:
        raise ValueError


class Named:
    def __repr__(self) -> str:
        return "the lamp\ud800"


def told(data: object) -> Any:  # noqa: ANN401 (JSON)
    result = llm.ToolResult(data)  # type: ignore[arg-type]
    message = content_to_message(conversation.ToolResultContent("a", "1", "t", result))
    return json.loads(message["content"])["data"]


ENDLESS: dict[str, Any] = {}
ENDLESS["itself"] = ENDLESS


@pytest.mark.parametrize(
    ("data", "read"),
    [
        ({"picture": b"\xffabc"}, {"picture": "\ufffdabc"}),
        ({"tags": {"b", "a"}, "more": frozenset({2, 1})}, {"tags": ["a", "b"], "more": [1, 2]}),
        (
            {"value": float("nan"), "other": [float("inf"), 1.5, True, None]},
            {"value": None, "other": [None, 1.5, True, None]},
        ),
        ({"one": Quiet(), "two": Loud(), "three": Named()}, {"one": "Quiet", "two": "Loud", "three": "the lamp?"}),
        ({("a", 1): 2**80, "b": (2**80, -1)}, {"('a', 1)": str(2**80), "b": [str(2**80), -1]}),
        ({"half": "\ud83d"}, {"half": "?"}),
        ({"x": {Quiet: 1}}, {"x": {f"{Quiet}": 1}}),
        ("words", "words"),
        (b"\x00", "\x00"),
        (None, None),
        (range(3), [0, 1, 2]),
    ],
)
def test_results_that_are_no_json(data: object, read: object) -> None:
    assert told(data) == read


def test_what_has_no_end_is_cut() -> None:
    assert "…" in json.dumps(told(ENDLESS), ensure_ascii=False)


def test_arguments_that_are_no_json() -> None:
    call = llm.ToolInput("t", {"half": "\ud83d"}, "1")
    message = content_to_message(conversation.AssistantContent("a", None, tool_calls=[call]))
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"half": "?"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON)
def test_what_is_json_stays(data: object) -> None:
    assert told(data) == json.loads(json.dumps(data))
    assert told({"data": data, "odd": {1, 2}}) == {"data": json.loads(json.dumps(data)), "odd": [1, 2]}
