"""Names of tools as models write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.turn.executor import MAX_CANDIDATES, resolve_tool, similar_tools

TOOLS = [
    "intent__HassTurnOn",
    "intent__HassTurnOff",
    "light__HassLightSet",
    "homeassistant__GetLiveContext",
    "script__set",
    "one__same",
    "two__same",
]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("intent__HassTurnOn", "intent__HassTurnOn"),
        ("HassTurnOn", "intent__HassTurnOn"),
        ("hassturnon", "intent__HassTurnOn"),
        ("turn_on", "intent__HassTurnOn"),
        ("TurnOff", "intent__HassTurnOff"),
        ("light__HassTurnOff", "intent__HassTurnOff"),
        ("assist__intent__HassTurnOff", "intent__HassTurnOff"),
        ("functions.GetLiveContext", "homeassistant__GetLiveContext"),
        ("get-live-context", "homeassistant__GetLiveContext"),
        ("set", "script__set"),
        ("same", None),
        ("on", None),
        ("make_coffee", None),
        ("", None),
        ("__", None),
    ],
)
def test_resolve_tool(said: str, meant: str | None) -> None:
    assert resolve_tool(said, TOOLS) == meant


def test_similar_tools() -> None:
    assert similar_tools("TurnOnLight", TOOLS)[0] == "intent__HassTurnOn"
    assert similar_tools("xyz", TOOLS) == sorted(TOOLS)[:MAX_CANDIDATES]
    assert similar_tools("xyz", []) == []


@given(st.lists(st.from_regex(r"[a-z]{1,5}__[A-Za-z_]{1,8}", fullmatch=True), unique=True), st.text())
def test_only_what_exists(names: list[str], said: str) -> None:
    assert resolve_tool(said, names) in {None, *names}
    assert set(similar_tools(said, names)) <= set(names)
    assert all(resolve_tool(name, names) == name for name in names)
