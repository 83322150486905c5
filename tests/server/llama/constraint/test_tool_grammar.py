"""The grammar of a whole answer, with Home Assistant's own tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoe_server.llama.dialects.hermes import Hermes
from zoe_server.protocol import ChatRequest, Tool, ToolChoice

Check = Callable[[str, Mapping[str, bool]], None]
"""Fails unless llguidance takes the grammar and admits exactly the texts marked True."""


HOME_ASSISTANT_TOOLS = tuple(
    Tool(**tool) for tool in json.loads(Path(__file__).parent.with_name("home_assistant_tools.json").read_text("utf-8"))
)
"""The Assist tools of the demo home, a script and a satellite with timers, as Home Assistant 2026.10.4 gives them."""


def dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def wrapped(schema: object) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}, "required": ["x"]}


def request(tools: tuple[Tool, ...] = HOME_ASSISTANT_TOOLS, **more: Any) -> ChatRequest:  # noqa: ANN401 -- any field
    return ChatRequest(id="r", model="m", messages=({"role": "user", "content": "hi"},), tools=tools, **more)


def call(name: str, arguments: object) -> str:
    return f"<tool_call>\n{dumped({'name': name, 'arguments': arguments})}\n</tool_call>"


VALUES = {"name": ("Kitchen light", "TV"), "area": ("Kitchen",), "intent__HassStartTimer.name": None, "floor": ()}


def test_home_assistant_calls(check: Check) -> None:
    made = Hermes().grammar(request(argument_values=VALUES, tool_choice=ToolChoice("required")))
    assert made is not None
    assert not made.lazy
    on = call("intent__HassTurnOn", {"name": "Kitchen light", "domain": ["light"]})
    check(
        made.lark,
        {
            on: True,
            f"{on}\n{call('light__HassLightSet', {'area': 'Kitchen', 'color': 'red', 'brightness': 100})}": True,
            call("llm__GetDateTime", {}): True,
            call("homeassistant__GetLiveContext", {"domain": "light"}): True,
            call("homeassistant__GetLiveContext", {"domain": ["light", "fan"], "area": "Kitchen"}): True,
            call("intent__HassStartTimer", {"minutes": 5, "name": "pizza"}): True,
            call("media_player__HassSetVolumeRelative", {"volume_step": -20, "name": "TV"}): True,
            call("media_player__HassMediaPlayerMute", {"name": "TV", "is_volume_muted": True}): True,
            call("todo__get_items", {"todo_list": "Shopping list", "status": "all"}): True,
            call("fan__HassFanSetSpeed", {"floor": "Anywhere", "percentage": 50}): True,
            call("script__movie_night", {"brightness": 12.5, "details": {"a": [1]}, "colour": [255, 0, 0]}): True,
            call("intent__HassStartTimer", {"name": "pizza"}): False,
            call("intent__HassTurnOn", {"name": "Garden light"}): False,
            call("intent__HassTurnOn", {"name": "TV", "device_class": ["toaster"]}): False,
            call("light__HassLightSet", {"name": "TV", "brightness": 101}): False,
            call("intent__HassTurnO", {}): False,
            call("intent__HassSetPosition", {"name": "TV"}): False,
            on + on: False,
            f"{on}\n": False,
            f" {on}": False,
            on.replace('", "', '","'): False,
            "I turned it on.": False,
            "": False,
        },
    )


def test_every_home_assistant_tool_alone_is_accepted(check: Check) -> None:
    for tool in HOME_ASSISTANT_TOOLS:
        made = Hermes().grammar(request((tool,), argument_values=VALUES))
        assert made is not None
        check(made.lark, {call(tool.name, {"nothing": 1}): False, call("other", {}): False})


def test_tool_choice(check: Check) -> None:
    dialect = Hermes()
    on, time = call("intent__HassTurnOn", {}), call("llm__GetDateTime", {})
    auto = dialect.grammar(request())
    assert auto is not None
    assert (auto.lazy, auto.triggers) == (True, ("<tool_call>",))
    check(auto.lark, {on: True, f"{on}\n{time}": True})
    named = dialect.grammar(request(tool_choice=ToolChoice("required", "llm__GetDateTime")))
    assert named is not None
    assert (named.lazy, named.triggers) == (False, ())
    check(named.lark, {time: True, on: False})
    single = dialect.grammar(request(parallel_tool_calls=False))
    assert single is not None
    check(single.lark, {on: True, f"{on}\n{time}": False})
    assert dialect.grammar(request(tool_choice=ToolChoice("none"))) is None
    assert dialect.grammar(request(())) is None


def test_equal_tools_are_built_once() -> None:
    again = tuple(
        Tool(tool.name, tool.description, json.loads(dumped(tool.parameters))) for tool in HOME_ASSISTANT_TOOLS
    )
    first, second = Hermes().grammar(request()), Hermes().grammar(request(again, argument_values={}))
    assert first is not None
    assert second is not None
    assert first.lark is second.lark


def test_what_has_no_utf8_form_is_no_value(check: Check) -> None:
    made = Hermes().grammar(request((Tool("a", parameters=wrapped({"enum": ["\ud800", "ü\udc00", "ü"]})),)))
    assert made is not None
    check(made.lark, {call("a", {"x": "ü"}): True, call("a", {"x": "other"}): False})
