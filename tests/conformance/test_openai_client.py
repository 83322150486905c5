"""OpenAI's own Python client against a real server: what it sends is understood, what it gets it can read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

    from tests.conformance.conftest import Client

USER: ChatCompletionMessageParam = {"role": "user", "content": "Turn on the lamp"}
TURN_ON: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "turn_on",
        "description": "Turns a device on",
        "parameters": {
            "type": "object",
            "properties": {"area": {"type": "string", "enum": ["Kitchen", "Bathroom"]}},
            "required": ["area"],
        },
    },
}
ENDS = ("length", "stop")


def connected(url: str, key: str | None = None) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key or "none needed", max_retries=0, timeout=60)


@pytest.fixture
async def ai(url: str, api_key: str | None) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    async with connected(url, api_key) as client:
        yield client


@pytest.fixture
async def name(ai: openai.AsyncOpenAI, model: str | None) -> str:
    """The model to ask."""
    return model or (await ai.models.list()).data[0].id


async def test_16_models_are_listed_and_retrieved(ai: openai.AsyncOpenAI) -> None:
    listed = [model async for model in ai.models.list()]
    assert listed
    for model in listed:
        assert model.object == "model"
        assert (await ai.models.retrieve(model.id)).id == model.id


async def test_9_a_whole_answer(ai: openai.AsyncOpenAI, name: str) -> None:
    answer = await ai.chat.completions.create(model=name, messages=[USER], max_completion_tokens=8)
    (choice,) = answer.choices
    assert (choice.message.role, choice.finish_reason in ENDS) == ("assistant", True)
    assert choice.message.content
    assert choice.message.tool_calls is None
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details is not None


async def test_17_18_a_streamed_answer_is_the_whole_one(ai: openai.AsyncOpenAI, name: str) -> None:
    whole = await ai.chat.completions.create(model=name, messages=[USER], max_tokens=8, temperature=0)
    stream = await ai.chat.completions.create(
        model=name,
        messages=[USER],
        max_tokens=8,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.choices == []
    assert last.usage is not None
    assert whole.usage is not None
    assert last.usage.completion_tokens == whole.usage.completion_tokens


async def test_23_the_client_s_own_reader_of_streams_puts_calls_together(ai: openai.AsyncOpenAI, name: str) -> None:
    asked: dict[str, Any] = {
        "model": name,
        "messages": [USER],
        "tools": [TURN_ON],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "temperature": 0,
        "max_tokens": 200,
    }
    whole = (await ai.chat.completions.create(**asked)).choices[0]
    async with ai.chat.completions.stream(**asked) as stream:
        collected = (await stream.get_final_completion()).choices[0]
    assert (collected.finish_reason, whole.finish_reason) == ("tool_calls", "tool_calls")
    assert arguments(collected.message.tool_calls) == arguments(whole.message.tool_calls)
    assert len(arguments(whole.message.tool_calls)) == 1


def arguments(calls: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - calls of two kinds
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls or ()]


async def test_21_a_required_call_and_its_result(ai: openai.AsyncOpenAI, name: str) -> None:
    answer = await ai.chat.completions.create(
        model=name,
        messages=[USER],
        tools=[TURN_ON],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=200,
    )
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    assert call.function.name == "turn_on"
    assert json.loads(call.function.arguments)["area"] in ("Kitchen", "Bathroom")
    after = await ai.chat.completions.create(
        model=name,
        messages=[
            USER,
            {"role": "assistant", "tool_calls": [call.to_dict()]},  # type: ignore[list-item,misc]
            {"role": "tool", "tool_call_id": call.id, "content": '{"success": true}'},
        ],
        tools=[TURN_ON],
        tool_choice="none",
        max_tokens=4,
    )
    assert after.choices[0].finish_reason in ENDS


async def test_16_a_prompt_is_completed(ai: openai.AsyncOpenAI, name: str) -> None:
    whole = await ai.completions.create(model=name, prompt="Once upon", max_tokens=6, temperature=0)
    assert whole.choices[0].text
    stream = await ai.completions.create(model=name, prompt="Once upon", max_tokens=6, temperature=0, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text


async def test_6_errors_become_its_exceptions(ai: openai.AsyncOpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await ai.chat.completions.create(model="gpt-9", messages=[USER])
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        await ai.models.retrieve("gpt-9")
    with pytest.raises(openai.BadRequestError) as wrong:
        await ai.chat.completions.create(model=name, messages=[USER], temperature=100)
    assert (wrong.value.param, wrong.value.type) == ("temperature", "invalid_request_error")
    with pytest.raises(openai.BadRequestError):
        await ai.chat.completions.create(model=name, messages=[], stream=True)


async def test_20_an_error_in_a_stream_becomes_its_exception(scripted: Callable[..., Any]) -> None:
    with scripted([{"event": "text", "text": "so"}, {"event": "crash"}]) as process:
        async with connected(process.url) as ai:
            stream = await ai.chat.completions.create(model="s", messages=[USER], stream=True)
            with pytest.raises(openai.APIError, match="crashed"):
                async for _ in stream:
                    pass


async def test_35_a_wrong_key_becomes_its_exception(scripted: Callable[..., Any]) -> None:
    with scripted([{"event": "text", "text": "so"}], ZOE_API_KEY="a key") as process:
        for key, accepted in (("other", False), ("a key", True)):
            async with connected(process.url, key) as ai:
                if accepted:
                    assert (await ai.models.list()).data
                else:
                    with pytest.raises(openai.AuthenticationError):
                        await ai.models.list()


async def test_8_a_full_queue_becomes_its_exception_and_tells_when_to_come_back(
    scripted: Callable[..., Any], connect: Callable[..., Client]
) -> None:
    with scripted([{"event": "hold"}], ZOE_SERVER__QUEUE_LIMIT="1", slots=1) as process:
        async with connected(process.url) as ai:
            held = [await begun(ai) for _ in range(2)]
            with pytest.raises(openai.RateLimitError) as refused:
                await ai.chat.completions.create(model="s", messages=[USER])
            assert int(refused.value.response.headers["retry-after"]) >= 1
            for stream in held:
                await stream.close()
            await connect(process).until_busy("s", open_requests=0)


async def begun(ai: openai.AsyncOpenAI) -> openai.AsyncStream[Any]:
    """Return a stream whose first comment has come."""
    return await ai.chat.completions.create(model="s", messages=[USER], stream=True)


@pytest.mark.parametrize("n_chunks", [0, 3])
async def test_30_leaving_a_stream_ends_the_generation(own: Client, n_chunks: int) -> None:
    async with connected(own.url) as ai:
        stream = await ai.chat.completions.create(model="random", messages=[USER], stream=True)
        for _ in range(n_chunks):
            await anext(stream)
        await own.until_busy("random", open_requests=1)
        await stream.close()
    await own.until_busy("random", open_requests=0, running=0, waiting=0)
    assert (await own.chat())["choices"][0]["finish_reason"] == "length"
