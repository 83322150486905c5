"""Lines 17 to 20 of the behaviours: what a stream looks like, and how it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.conftest import Client, ZoeProcess


async def test_17_role_first_one_identity_one_reason(client: Client) -> None:
    chunks = await client.stream()
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert not any("role" in delta for delta in deltas[1:])
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons[:-1] == [None] * (len(chunks) - 1)
    assert reasons[-1] in ("length", "stop")


async def test_18_the_finish_chunk_carries_nothing_else(client: Client) -> None:
    chunks = await client.stream()
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert "usage" not in chunks[-1]


async def test_18_usage_comes_last_when_asked_for(client: Client) -> None:
    whole = await client.chat()
    *others, last = await client.stream(stream_options={"include_usage": True})
    assert last["choices"] == []
    for count in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert last["usage"][count] == whole["usage"][count]
    assert all(chunk["usage"] is None for chunk in others)


async def test_18_stream_options_need_a_stream(client: Client) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "stream_options": {"include_usage": True}}
    status, error = await client.refusal(body)
    assert (status, error["param"]) == (400, "stream_options")


@pytest.mark.zoe_only("timings")
async def test_the_engine_s_timings_are_told(client: Client) -> None:
    timings = (await client.chat())["timings"]
    assert 0 <= timings["queue_ms"] <= timings["first_token_ms"] <= timings["total_ms"]
    assert set((await client.stream())[-1]["timings"]) == set(timings)


@pytest.mark.zoe_only("what was said, and what is answered")
async def test_what_was_said_comes_first_and_what_was_answered_last_to_those_who_know_our_extension(
    client: Client,
) -> None:
    first, *others, last = await client.stream("Is the window open, then turn off the heating", zoe={})
    assert set(first["zoe"]["said"]) == {"order", "question", "reply", "talk", "state"}
    assert first["zoe"]["said"]["order"] > 0.9
    assert 0 <= last["zoe"]["answered"]["denies"] <= 1
    assert not any("zoe" in chunk for chunk in others)
    whole = await client.chat("Is the window open, then turn off the heating", zoe={})
    assert whole["zoe"] == first["zoe"] | last["zoe"]
    assert not any("zoe" in chunk for chunk in await client.stream())


async def test_19_comments_keep_an_idle_connection_alive(
    scripted: Callable[..., Any], connect: Callable[[ZoeProcess], Client]
) -> None:
    with scripted([{"event": "hold"}]) as process:
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
        client = connect(process)
        response = await client.post(body)
        lines = [await response.content.readline() for _ in range(6)]
        assert [line for line in lines if line != b"\n"] == [b": keep-alive\n"] * 3
        response.close()
        await client.until_busy("s", open_requests=0)


async def test_20_a_failure_after_the_first_token_is_one_error_event_and_the_end(
    scripted: Callable[..., Any], connect: Callable[[ZoeProcess], Client]
) -> None:
    with scripted([{"event": "text", "text": "so"}, {"event": "crash"}]) as process:
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
        client = connect(process)
        events, broken_off = await client.events(await client.post(body))
        assert broken_off
        assert [event for event in events if "error" in event] == [events[-1]]
        assert events[-1]["error"]["type"] == "unavailable_error"
        assert not any(choice["finish_reason"] for event in events[:-1] for choice in event["choices"])
