"""What is chosen for an agent gets into its requests, and nothing gets in their way."""

import asyncio

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.options import AgentOptions
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe, role
from tests.ha.tool_turns import options, speech

OWN = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "reasoning_effort", "seed")


async def test_what_is_not_chosen_is_not_asked_for(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.says("Hello.")
    await say("hello")
    (request,) = zoe.requests
    assert [key for key in OWN if key in request] == []


async def test_what_is_chosen_is_asked_for(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    sampling = {"temperature": 0.5, "top_p": 0.9, "top_k": 20.0, "min_p": 0.1, "repetition_penalty": 1.1}
    await options(home, entry, **sampling, thinking="off", request_fields={"seed": 7, "stream": False, "max_tokens": 1})
    zoe.says("Hello.")
    await say("hello")
    (request,) = zoe.requests
    assert [request[key] for key in OWN] == [0.5, 0.9, 20, 0.1, 1.1, "none", 7]
    assert isinstance(request["top_k"], int)
    assert (request["stream"], request["max_tokens"]) == (True, 1024)


async def test_a_prompt_that_is_computed_ahead_has_the_same_fields(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    await options(home, entry, thinking="high", request_fields={"chat_template_kwargs": {"tone": "dry"}})
    await home.services.async_call("zoe", "prime", {}, blocking=True)
    zoe.says("Hello.")
    await say("hello")
    primed, asked = zoe.primed[-1], zoe.requests[-1]
    assert primed["max_tokens"] == 0
    for key in ("reasoning_effort", "chat_template_kwargs"):
        assert primed[key] == asked[key]


@pytest.mark.parametrize(("thinking", "effort"), [("default", None), ("off", "none"), ("low", "low"), ("high", "high")])
def test_thinking_in_the_words_of_openai(thinking: str, effort: str | None) -> None:
    assert AgentOptions.from_data({"thinking": thinking}).as_request().get("reasoning_effort") == effort


async def test_nobody_waits_for_ever(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say
) -> None:
    await options(home, entry, timeout=0.2)
    zoe.script.append([role(), asyncio.Event()])
    assert speech(await say("hello")) == "That was taking too long, so I gave up."
    zoe.says("Here I am.")
    assert speech(await say("hello")) == "Here I am."
