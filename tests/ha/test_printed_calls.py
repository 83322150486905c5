"""Which calls are found in a text that a model wrote."""

from pathlib import Path
from time import process_time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.speech.hidden import LONGEST, printed_calls

TOOLS = ("intent__HassTurnOn", "light__HassLightSet", "llm__GetDateTime")
CASES: list[Any] = yaml.safe_load(Path(__file__).with_name("speech.yaml").read_text())["called"]
PIECES = [
    *("{", "}", "[", "]", "(", ")", "<", ">", "$", "\\", "'", '"', ",", ":", "=", "|", " ", "\n", "a", "1"),
    *("{{", '{"name": "HassTurnOn", ', '"arguments": {', '{"name":', "HassTurnOn(", "HassTurnOn ", "a=", "a.", "a__"),
    *("<think>", "<tool_call>", "</tool_call>", "<function=a>", "<|channel|>", "<|message|>", "<a b=c ", "<arg_key>"),
    *(
        "[TOOL_CALLS]",
        "[ARGS]",
        "[value ",
        "\\frac{",
        "\\(",
        "$$",
        "$a",
        "【1",
        "&a",
        "<|tool_call>",
        "call:",
        "print(",
    ),
    *("<parameter=a>", "</arg_key>", "<arg_value>", '<|"|>', "to=functions.a", "Hass_", "{'a':"),
]


@pytest.mark.parametrize(("written", "calls"), CASES)
def test_calls(written: str, calls: list[list[Any]]) -> None:
    assert printed_calls(written, TOOLS) == [tuple(call) for call in calls]


def test_a_name_may_lack_the_prefix_on_either_side() -> None:
    assert printed_calls('a__go(x="1")', ["go"]) == [("go", {"x": "1"})]
    assert printed_calls('go(x="1")', ["a__go"]) == [("a__go", {"x": "1"})]
    assert printed_calls('go(x="1")', ["a__go", "b__go"]) == []
    assert printed_calls('go(x="1")', []) == []


def test_the_text_is_bounded() -> None:
    call = '\nHassTurnOn(name="Lamp")'
    assert printed_calls("a" * (LONGEST - len(call)) + call, TOOLS)
    assert not printed_calls("a" * LONGEST + call, TOOLS)


@pytest.mark.parametrize("begin", ["", "<tool_call>x", '{"name": "HassTurnOn", "arguments": '])
def test_it_takes_time_in_proportion_to_the_text(begin: str) -> None:
    for piece in PIECES:
        text = begin + piece * (20_000 // len(piece))
        started = process_time()
        printed_calls(text, TOOLS)
        assert process_time() - started < 1, piece


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_it_never_raises(written: str) -> None:
    for tool, arguments in printed_calls(written, TOOLS):
        assert tool in TOOLS
        assert isinstance(arguments, dict)
