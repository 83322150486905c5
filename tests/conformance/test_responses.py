"""OpenAI's own client and its Responses API against a real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import openai
import pydantic
import pytest
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseOutputMessage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from tests.conformance.conftest import Client, ZoeProcess

AREAS = ["Kitchen", "Bathroom"]
TURN_ON: Any = {
    "type": "function",
    "name": "turn_on",
    "description": "Turns a device on",
    "parameters": {
        "type": "object",
        "properties": {"area": {"type": "string", "enum": AREAS}, "brightness": {"enum": [0, 50, 100]}},
        "required": ["area", "brightness"],
        "additionalProperties": False,
    },
    "strict": True,
}
STOP: Any = {"type": "function", "name": "stop", "parameters": {"type": "object", "properties": {}}, "strict": False}
CALLING: dict[str, Any] = {"tools": [STOP, TURN_ON], "parallel_tool_calls": False, "max_output_tokens": 200}


@pytest.fixture
async def api(zoe: ZoeProcess) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    async with openai.AsyncOpenAI(base_url=f"{zoe.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def the_call(response: Response) -> ResponseFunctionToolCall:
    (call,) = response.output
    assert isinstance(call, ResponseFunctionToolCall)
    return call


async def test_a_response_is_created(api: openai.AsyncOpenAI) -> None:
    response = await api.responses.create(
        model="random", input="Hello", instructions="Be brief", max_output_tokens=8, metadata={"room": "kitchen"}
    )
    Response.model_validate(response.model_dump())
    assert response.output_text
    assert (response.model, response.instructions, response.metadata) == ("random", "Be brief", {"room": "kitchen"})
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage is not None
    assert response.usage.output_tokens == 8
    assert response.usage.total_tokens == response.usage.input_tokens + 8


async def test_a_response_says_what_a_chat_says(api: openai.AsyncOpenAI) -> None:
    chat = await api.chat.completions.create(
        model="random",
        messages=[{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hello"}],
        max_completion_tokens=8,
    )
    response = await api.responses.create(
        model="random", instructions="Be brief", input=[{"role": "user", "content": "Hello"}], max_output_tokens=8
    )
    assert response.output_text == chat.choices[0].message.content
    assert response.usage is not None
    assert chat.usage is not None
    assert response.usage.input_tokens == chat.usage.prompt_tokens


async def test_the_same_input_again_is_cached(api: openai.AsyncOpenAI) -> None:
    for _ in range(2):
        response = await api.responses.create(model="random", input="Who is at the door?", max_output_tokens=4)
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens == response.usage.input_tokens - 1


async def test_a_streamed_response_is_the_whole_one(api: openai.AsyncOpenAI) -> None:
    whole = await api.responses.create(model="random", input="Hello", max_output_tokens=8)
    stream = await api.responses.create(model="random", input="Hello", max_output_tokens=8, stream=True)
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete",
    ]  # fmt: skip
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == whole.output_text


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "name": "turn_on"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "turn_on"}]},
    ],
)
async def test_a_required_call_follows_its_schema(api: openai.AsyncOpenAI, choice: Any) -> None:  # noqa: ANN401
    response = await api.responses.create(model="random", input="Lamp on", tool_choice=choice, **CALLING)
    call = the_call(response)
    assert (response.status, call.status, call.name) == ("completed", "completed", "turn_on")
    arguments = json.loads(call.arguments)
    assert arguments["area"] in AREAS
    assert arguments["brightness"] in (0, 50, 100)


async def test_arguments_are_held_to_the_values_that_exist(api: openai.AsyncOpenAI) -> None:
    parameters: Any = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    tools: Any = [{**TURN_ON, "parameters": parameters}]
    names = ["Reading lamp", "Küchenlicht"]
    response = await api.responses.create(
        model="random",
        input="Lamp on",
        tools=tools,
        tool_choice="required",
        parallel_tool_calls=False,
        max_output_tokens=200,
        extra_body={"zoe": {"argument_values": {"name": names}}},
    )
    assert json.loads(the_call(response).arguments)["name"] in names


async def test_a_streamed_call(api: openai.AsyncOpenAI) -> None:
    """The client's own accumulator follows every event, and checks their order."""
    choice: Any = {"type": "function", "name": "turn_on"}
    whole = await api.responses.create(model="random", input="Lamp on", tool_choice=choice, temperature=0, **CALLING)
    async with api.responses.stream(
        model="random", input="Lamp on", tool_choice=choice, temperature=0, **CALLING
    ) as stream:
        snapshots = [event.snapshot async for event in stream if event.type == "response.function_call_arguments.delta"]
        final = await stream.get_final_response()
    call = the_call(final)
    assert call.arguments == snapshots[-1] == the_call(whole).arguments
    assert call.parsed_arguments == json.loads(call.arguments)  # type: ignore[attr-defined]


async def test_a_conversation_goes_on_with_what_came_back(api: openai.AsyncOpenAI) -> None:
    items: list[Any] = [{"role": "user", "content": "Turn on the lamp"}]
    choice: Any = {"type": "function", "name": "turn_on"}
    first = await api.responses.create(model="random", input=items, tool_choice=choice, **CALLING)
    items += [item.model_dump() for item in first.output]
    items.append({"type": "function_call_output", "call_id": the_call(first).call_id, "output": "done"})
    second = await api.responses.create(model="random", input=items, tool_choice="none", **CALLING)
    (message,) = second.output
    assert isinstance(message, ResponseOutputMessage)
    assert second.output_text
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


async def test_what_needs_a_memory_is_a_clear_error(api: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="send the whole input") as caught:
        await api.responses.create(model="random", input="Hello", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        await api.responses.retrieve("resp_1")


async def test_an_input_beyond_the_context_is_refused_with_and_without_a_stream(api: openai.AsyncOpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="exceeds the available context size"):
            await api.responses.create(model="random", input="word " * 5000, stream=stream)


async def test_a_failure_in_the_middle_and_a_client_that_leaves(
    serve: Callable[..., Any], connect: Callable[[ZoeProcess], Client], tmp_path: Path
) -> None:
    said = {"event": "text", "text": "so"}
    script = [{"when": "wait", "events": [said, {"event": "hold"}]}, {"events": [said, {"event": "crash"}]}]
    (tmp_path / "script.json").write_text(json.dumps(script), encoding="utf-8")
    config = tmp_path / "zoe.toml"
    config.write_text("[models.s]\nengine = 'scripted'\npath = 'script.json'", encoding="utf-8")
    with serve(config) as process:
        async with openai.AsyncOpenAI(base_url=f"{process.url}/v1", api_key="none", max_retries=0) as api:
            stream = await api.responses.create(model="s", input="wait", stream=True)
            async for event in stream:
                if event.type == "response.output_text.delta":
                    break
            await connect(process).until_busy("s", open_requests=1)
            await stream.close()
            await connect(process).until_busy("s", open_requests=0)
            *_, last = [event async for event in await api.responses.create(model="s", input="fail", stream=True)]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.code == "server_error"
    assert last.response.output_text == "so"


class Lamp(pydantic.BaseModel):
    on: bool
    area: Literal["Hall", "Attic"]
    levels: Annotated[list[Annotated[int, pydantic.Field(ge=0, le=20)]], pydantic.Field(min_length=1, max_length=3)]


async def test_15_an_answer_is_parsed_into_a_model(api: openai.AsyncOpenAI) -> None:
    response = await api.responses.parse(model="random", input="Which lamps are on?", text_format=Lamp, temperature=1)
    assert isinstance(response.output_parsed, Lamp)
    assert response.text is not None
    assert response.text.format is not None
    assert response.text.format.type == "json_schema"


async def test_15_a_chat_is_parsed_into_a_model(api: openai.AsyncOpenAI) -> None:
    completion = await api.chat.completions.parse(
        model="random", messages=[{"role": "user", "content": "Which?"}], response_format=Lamp, temperature=1, seed=3
    )
    assert isinstance(completion.choices[0].message.parsed, Lamp)
