"""Chat log and tools in OpenAI form: the same bytes for the same home."""

import json
from pathlib import Path
from typing import Any

import probatio
import pytest
from homeassistant.components import conversation
from homeassistant.components.intent import async_register_timer_handler
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import llm, selector
from homeassistant.setup import async_setup_component

from custom_components.zoe.home import varies_by_satellite
from custom_components.zoe.turn.messages import content_to_message, tools_to_openai


class Sort(llm.Tool):
    name = "test__sort"
    parameters = probatio.Schema(
        {
            probatio.Required("letter"): probatio.In(["b", "a"]),
            probatio.Optional("many"): [probatio.In(["d", "c"])],
            probatio.Optional("number"): probatio.In([2, 1]),
            probatio.Optional("chosen"): selector.SelectSelector({"options": ["y", "x"]}),
        }
    )


def test_tool_form() -> None:
    (tool,) = tools_to_openai([Sort()])
    assert tool["type"] == "function"
    assert tool["function"]["name"] == "test__sort"
    assert "description" not in tool["function"]
    properties = tool["function"]["parameters"]["properties"]
    assert properties["letter"]["enum"] == ["a", "b"]
    assert properties["many"]["items"]["enum"] == ["c", "d"]
    assert properties["number"]["enum"] == [2, 1]
    assert properties["chosen"]["enum"] == ["x", "y"]
    assert tool["function"]["parameters"]["required"] == ["letter"]


def test_own_serializer_is_used() -> None:
    class Own(llm.Tool):
        name = "test__own"
        description = "Does."
        parameters = probatio.Schema({probatio.Required("thing"): object})

    def serialize(schema: object) -> object:
        return {"type": "string", "format": "thing"} if schema is object else probatio.UNSUPPORTED

    (tool,) = tools_to_openai([Own()], serialize)
    assert tool["function"]["description"] == "Does."
    assert tool["function"]["parameters"]["properties"] == {"thing": {"type": "string", "format": "thing"}}


async def assist_tools(hass: HomeAssistant, device_id: str | None) -> list[dict[str, Any]]:
    context = llm.LLMContext("zoe", Context(), "en", "conversation", device_id)
    api = await llm.async_get_api(hass, "assist", context)
    return tools_to_openai(api.tools, api.custom_serializer)


async def test_satellites_share_the_longest_prefix(home: HomeAssistant) -> None:
    for component in ("conversation", "media_player"):
        assert await async_setup_component(home, component, {})
    await home.async_block_till_done()  # the domains register their intents in the background
    home.states.async_set("media_player.tv", "on", {"friendly_name": "TV"})
    async_register_timer_handler(home, "satellite", lambda *args: None)
    with_timers = await assist_tools(home, "satellite")
    without = await assist_tools(home, None)
    assert json.dumps(with_timers).startswith(json.dumps(without)[:-1])
    added = [tool["function"]["name"] for tool in with_timers[len(without) :]]
    assert len(added) == 7
    assert all(varies_by_satellite(name) for name in added)
    assert json.dumps(await assist_tools(home, "satellite")) == json.dumps(with_timers)
    volume = next(tool for tool in without if tool["function"]["name"].endswith("SetVolumeRelative"))
    assert ["down", "up"] in [choice.get("enum") for choice in _choices(volume, "volume_step")]


def _choices(tool: dict[str, Any], argument: str) -> list[dict[str, Any]]:
    choices: list[dict[str, Any]] = tool["function"]["parameters"]["properties"][argument]["anyOf"]
    return choices


@pytest.mark.parametrize(
    ("name", "varies"),
    [
        ("intent__HassStartTimer", True),
        ("assist__intent__HassTimerStatus", True),
        ("assist_satellite__HassBroadcast", True),
        ("intent__HassCancelAllTimers", False),
        ("intent__HassTurnOn", False),
    ],
)
def test_varies_by_satellite(name: str, varies: bool) -> None:
    assert varies_by_satellite(name) is varies


CALL = llm.ToolInput(id="c1", tool_name="intent__HassTurnOn", tool_args={"name": "Läma", "domain": ["light"]})
WIRE_CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "intent__HassTurnOn", "arguments": '{"name":"Läma","domain":["light"]}'},
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (conversation.SystemContent(content="Be brief."), {"role": "system", "content": "Be brief."}),
        (conversation.UserContent(content="Hello"), {"role": "user", "content": "Hello"}),
        (
            conversation.AssistantContent(agent_id="a", content="Hi", thinking_content="Hm"),
            {"role": "assistant", "content": "Hi"},
        ),
        (conversation.AssistantContent(agent_id="a", content=None), {"role": "assistant", "content": ""}),
        (
            conversation.AssistantContent(agent_id="a", content="", tool_calls=[CALL]),
            {"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]},
        ),
        (
            conversation.AssistantContent(agent_id="a", content="Wait.", tool_calls=[CALL]),
            {"role": "assistant", "content": "Wait.", "tool_calls": [WIRE_CALL]},
        ),
        (
            conversation.ToolResultContent(
                agent_id="a", tool_call_id="c1", tool_name="t", result=llm.ToolResult(data={"ok": 1})
            ),
            {"role": "tool", "tool_call_id": "c1", "content": '{"data":{"ok":1},"error":false}'},
        ),
    ],
)
def test_messages(content: conversation.Content, message: dict[str, Any]) -> None:
    assert content_to_message(content) == message


def test_pictures_follow_the_text() -> None:
    shown = conversation.Attachment("media", "image/png", Path("/cat.png"))
    content = conversation.UserContent(content="Who is it?", attachments=[shown])
    assert content_to_message(content, {Path("/cat.png"): "data:image/png;base64,AA=="}) == {
        "role": "user",
        "content": [
            {"type": "text", "text": "Who is it?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        ],
    }
