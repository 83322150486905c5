"""Lines 21 to 27 of the behaviours: tool calls, on a model that writes nonsense unless constrained, and reasoning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conformance.conftest import Client, ZoeProcess

USER = {"role": "user", "content": "Turn on the lamp"}
AREAS = ["Kitchen", "Bathroom"]
TURN_ON = {
    "type": "function",
    "function": {
        "name": "turn_on",
        "description": "Turns a device on",
        "parameters": {
            "type": "object",
            "properties": {"area": {"type": "string", "enum": AREAS}, "brightness": {"enum": [0, 50, 100]}},
            "required": ["area", "brightness"],
        },
    },
}
STOP = {"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {}}}}


def calls(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found = answer["choices"][0]["message"].get("tool_calls", [])
    assert isinstance(found, list)
    return found


async def test_21_none_means_no_calls(client: Client) -> None:
    answer = await client.chat(tools=[TURN_ON], tool_choice="none")
    assert calls(answer) == []
    assert answer["choices"][0]["message"]["content"]


async def test_21_auto_leaves_it_to_the_model(own: Client) -> None:
    for choice in ("auto", None):
        assert (await own.chat(tools=[TURN_ON], tool_choice=choice))["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "turn_on"}}])
async def test_21_required_calls_parse_and_validate(client: Client, choice: object) -> None:
    tools = [TURN_ON] if choice == "required" else [STOP, TURN_ON]
    answer = await client.chat(tools=tools, tool_choice=choice, parallel_tool_calls=False, max_tokens=200)
    (call,) = calls(answer)
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert (call["type"], call["function"]["name"]) == ("function", "turn_on")
    arguments = json.loads(call["function"]["arguments"])
    assert set(arguments) == {"area", "brightness"}
    assert arguments["area"] in AREAS
    assert arguments["brightness"] in (0, 50, 100)


@pytest.mark.zoe_only("the member zoe of a request")
async def test_21_arguments_are_held_to_the_values_that_exist(client: Client) -> None:
    free = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    tool = {"type": "function", "function": {"name": "turn_on", "parameters": free}}
    names = ["Reading lamp", "Küchenlicht"]
    for key in ("name", "turn_on.name"):
        answer = await client.chat(
            tools=[tool],
            tool_choice="required",
            parallel_tool_calls=False,
            max_tokens=200,
            zoe={"argument_values": {key: names}},
        )
        assert json.loads(calls(answer)[0]["function"]["arguments"])["name"] in names


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (
            {"tools": [TURN_ON], "tool_choice": {"type": "function", "function": {"name": "fly"}}},
            "tool_choice.function.name",
        ),
        ({"tool_choice": {"type": "function", "function": {"name": "turn_on"}}}, "tool_choice.function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TURN_ON], "tool_choice": {}}, "tool_choice.type"),
    ],
)
async def test_22_a_choice_that_cannot_be_met_is_refused(client: Client, fields: dict[str, Any], param: str) -> None:
    status, error = await client.refusal({"messages": [USER], **fields})
    assert (status, error["param"]) == (400, param)


async def test_23_streamed_calls_begin_with_their_name_and_concatenate(client: Client) -> None:
    fields: dict[str, Any] = {
        "tools": [TURN_ON],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 200,
        "temperature": 0,
    }
    chunks = await client.stream(**fields)
    deltas = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    first, *rest = deltas
    assert (first["index"], first["type"], first["function"]["name"]) == (0, "function", "turn_on")
    assert first["id"]
    assert all(set(delta) == {"index", "function"} and delta["index"] == 0 for delta in rest)
    streamed = "".join(delta["function"]["arguments"] for delta in deltas)
    assert streamed == calls(await client.chat(**fields))[0]["function"]["arguments"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_23_24_parallel_calls_are_counted_and_told_apart(client: Client) -> None:
    for seed in range(4):
        answer = await client.chat(
            tools=[STOP], tool_choice="required", parallel_tool_calls=True, max_tokens=200, temperature=1.0, seed=seed
        )
        found = calls(answer)
        assert found
        assert len({call["id"] for call in found}) == len(found)
        assert all(json.loads(call["function"]["arguments"]) == {} for call in found)


async def test_24_parallel_calls_are_off_when_asked(client: Client) -> None:
    for seed in range(4):
        answer = await client.chat(
            tools=[STOP], tool_choice="required", parallel_tool_calls=False, max_tokens=200, temperature=1.0, seed=seed
        )
        assert len(calls(answer)) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_25_an_answer_cut_before_the_call_is_no_half_call(client: Client, stream: bool) -> None:
    for n_tokens in (1, 3):
        fields: dict[str, Any] = {"tools": [TURN_ON], "tool_choice": "required", "max_tokens": None}
        fields["max_completion_tokens"] = n_tokens
        if stream:
            choices = [chunk["choices"][0] for chunk in await client.stream(**fields)]
            said = [choice["delta"] for choice in choices]
        else:
            choices = (await client.chat(**fields))["choices"]
            said = [choice["message"] for choice in choices]
        assert choices[-1]["finish_reason"] == "length"
        assert not any(message.get("tool_calls") for message in said)
        assert "<tool_call>" not in "".join(message.get("content") or "" for message in said)


async def test_26_what_looks_like_a_call_stays_text_without_tools(
    scripted: Callable[..., Any], connect: Callable[[ZoeProcess], Client]
) -> None:
    said = '<tool_call>\n{"name": "turn_on", "arguments": {}}\n</tool_call>'
    with scripted([{"event": "text", "text": said}]) as process:
        message = (await connect(process).chat(max_tokens=None))["choices"][0]["message"]
        assert message["content"] == said
        assert "tool_calls" not in message


async def test_27_reasoning_is_never_content(
    scripted: Callable[..., Any], connect: Callable[[ZoeProcess], Client]
) -> None:
    events = [{"event": "reasoning", "text": "Which "}, {"event": "reasoning", "text": "lamp?"}]
    with scripted([*events, {"event": "text", "text": "Done."}]) as process:
        client = connect(process)
        message = (await client.chat(max_tokens=None))["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == ("Which lamp?", "Done.")
        deltas = [chunk["choices"][0]["delta"] for chunk in await client.stream(max_tokens=None)]
        for member in ("reasoning_content", "content"):
            assert "".join(delta.get(member) or "" for delta in deltas) == message[member]


async def test_27_reasoning_that_the_prompt_opened_is_found(
    serve: Callable[..., Any], configure: Callable[..., Path], connect: Callable[[ZoeProcess], Client]
) -> None:
    template = "{% for m in messages %}{{ m.content }}\n{% endfor %}<think>\n"
    with serve(configure(model=f"chat_template = {json.dumps(template)}\ndialect = 'hermes'")) as process:
        message = (await connect(process).chat())["choices"][0]["message"]
        assert message["reasoning_content"]
        assert message["content"] == ""
