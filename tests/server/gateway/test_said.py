"""What a client that sends the member `zoe` is told of the sentence and of the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from zoe_server import protocol
from zoe_server.gateway.openai.answer import AnswerHead
from zoe_server.gateway.openai.chat import ChatWriter, Judge
from zoe_server.routing.said import Said, bundled_said

if TYPE_CHECKING:
    from tests.server.gateway.conftest import Gateway

HEAD = AnswerHead("id", 17, "m")
SAID = Said(0.9, 0.05004, 0.03, 0.02, 0.5)
JUDGE = Judge(SAID, bundled_said())
FINISH = protocol.Finish("stop")
HARD = "Is the kitchen window open, then turn off the heating"


async def streamed(gateway: Gateway, text: str, **fields: object) -> list[dict[str, Any]]:
    lines = (await (await gateway.chat(text, stream=True, **fields)).text()).splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


async def whole(gateway: Gateway, text: str, **fields: object) -> dict[str, Any]:
    answer: dict[str, Any] = await (await gateway.chat(text, **fields)).json()
    return answer


@pytest.mark.parametrize("model", ["zoe", "m", "old-name"])
async def test_the_first_chunk_and_the_finish_are_judged_whichever_model_answers(gateway: Gateway, model: str) -> None:
    first, *others, last = await streamed(gateway, HARD, zoe={}, model=model)
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert set(first["zoe"]) == {"said"}
    said = first["zoe"]["said"]
    assert said["order"] > 0.9
    assert sum(said[kind] for kind in ("order", "question", "reply", "talk")) == pytest.approx(1, abs=0.003)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert set(last["zoe"]) == {"answered"}
    assert last["zoe"]["answered"]["denies"] < 0.5
    assert not any("zoe" in chunk for chunk in others)


async def test_a_whole_answer_has_both(gateway: Gateway) -> None:
    answer = await whole(gateway, HARD, zoe={})
    assert set(answer["zoe"]) == {"said", "answered"}


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_else_is_told_anything(gateway: Gateway, stream: bool) -> None:
    assert '"zoe": {' not in await (await gateway.chat(HARD, stream=stream)).text()


async def test_calls_without_text_are_not_judged(gateway: Gateway) -> None:
    first, *_, last = await streamed(gateway, "lamp", zoe={})
    assert "said" in first["zoe"]
    assert "zoe" not in last
    assert "answered" not in (await whole(gateway, "lamp", zoe={}))["zoe"]


async def test_what_stands_behind_a_blank_line_was_not_said(gateway: Gateway) -> None:
    alone = (await whole(gateway, "Is the kitchen light on?", zoe={}))["zoe"]["said"]
    assert alone["question"] > 0.9
    added = "Is the kitchen light on?\n\nTurn off the heating. The time is 12:30."
    assert (await whole(gateway, added, zoe={}))["zoe"]["said"] == alone


async def test_the_last_user_message_is_judged_even_behind_a_tool_s_result(gateway: Gateway) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Turn on the lamp"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "true"},
    ]
    response = await gateway.client.post("/v1/chat/completions", json={"messages": messages, "zoe": {}})
    assert (await response.json())["zoe"]["said"]["order"] > 0.9


async def test_nothing_said_is_not_judged(gateway: Gateway) -> None:
    messages = [{"role": "system", "content": "You are Zoe"}]
    response = await gateway.client.post("/v1/chat/completions", json={"messages": messages, "zoe": {}})
    assert set((await response.json())["zoe"]) == {"answered"}


async def test_a_prompt_that_is_computed_ahead_is_answered_as_ever(gateway: Gateway) -> None:
    assert "said" in (await whole(gateway, "hi", zoe={}, max_tokens=0))["zoe"]


async def test_names_of_the_home_speak_against_talk(gateway: Gateway) -> None:
    names = {"argument_values": {"name": ["Zorbulon"]}}
    plain, named = [(await whole(gateway, "and the zorbulon", zoe=zoe))["zoe"]["said"]["talk"] for zoe in ({}, names)]
    assert named < plain


async def test_the_route_is_explained_with_it(gateway: Gateway) -> None:
    response = await gateway.client.post("/admin/route", json={"text": "Why is the light on?"})
    said = (await response.json())["said"]
    assert said["question"] > 0.8
    assert said["state"] < 0.5


def test_every_choice_is_judged_by_its_own_text() -> None:
    writer = ChatWriter(HEAD, 2, include_usage=True, judge=JUDGE)
    events: list[tuple[int, protocol.ChatEvent]] = [
        (1, protocol.Text("Sorry, I could ")),
        (0, protocol.Text("Done, the light is on.")),
        (1, protocol.Text("not find that.")),
        (1, FINISH),
        (0, FINISH),
    ]
    chunks = [chunk for index, event in events for chunk in writer.chunks(index, event)]
    judged = [(chunk["choices"][0]["index"], chunk["zoe"]) for chunk in chunks if "zoe" in chunk]
    assert judged[0] == (1, {"said": {"order": 0.9, "question": 0.05, "reply": 0.03, "talk": 0.02, "state": 0.5}})
    assert [index for index, _ in judged] == [1, 1, 0]
    assert judged[1][1]["answered"]["denies"] > 0.5 > judged[2][1]["answered"]["denies"]


def test_of_several_whole_choices_the_first_is_judged() -> None:
    texts = ("Done, the light is on.", "Sorry, I could not find that.")
    events = [(index, event) for index, text in enumerate(texts) for event in (protocol.Text(text), FINISH)]
    answer = ChatWriter(HEAD, 2, judge=JUDGE).whole(events)
    assert answer["zoe"]["answered"]["denies"] < 0.5
    assert "zoe" not in ChatWriter(HEAD, 2).whole(events)
