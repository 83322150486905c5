"""A chat that turns out to be about the home goes to the model for tools, and the client sees one answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from tests.fixtures.scripted_engine import Answer, Crash, ScriptedEngine
from zoe_server import protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.fleet import Fleet
from zoe_server.gateway.app import create_app
from zoe_server.gateway.services import Services
from zoe_server.routing.router import Router
from zoe_server.routing.use_home import USE_HOME
from zoe_server.settings import ServerSettings

TOOL = {"type": "function", "function": {"name": "turn_on", "parameters": {"type": "object", "properties": {}}}}
HANDOVER = protocol.ToolCallStart(0, "call_h", USE_HOME.name), protocol.ToolCallArguments(0, "{}")
TALK = (
    Answer((protocol.Text("Let me see. "), *HANDOVER), "a story about my house"),
    Answer(HANDOVER, "what makes you happy"),
    Answer((Crash(),), "tell me something sad"),
    Answer((protocol.Text("Arr!"),)),
)
ACT = (
    Answer(
        (protocol.ToolCallStart(0, "call_a", "turn_on"), protocol.ToolCallArguments(0, "{}")), "what makes you happy"
    ),
    Answer((protocol.Text("The house is warm."),)),
)


ROLES = (("act", "tools"), ("talk", "chat"))


class Home:
    """A gateway in front of models that talk and act."""

    def __init__(self, *specs: ModelSpec) -> None:
        self.engines: dict[str, ScriptedEngine] = {}
        fleet = Fleet(specs, self._create)
        self.state = Services(ServerSettings(), None, fleet, Router(fleet.specs))
        self.client: TestClient[Any, Any] = TestClient(TestServer(create_app(self.state)))

    async def __aenter__(self) -> Self:
        await self.client.start_server()
        self.state.fleet.start()
        await self.state.fleet.settled()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.state.fleet.stop()
        await self.client.close()

    def _create(self, spec: ModelSpec) -> ScriptedEngine:
        self.engines[spec.name] = ScriptedEngine(spec, TALK if spec.name == "talk" else ACT)
        return self.engines[spec.name]

    async def ask(self, text: str, **fields: object) -> ClientResponse:
        messages = [
            {"role": "system", "content": "Be kind.\nStatic Context: a lamp"},
            {"role": "user", "content": text},
        ]
        body = {"model": "zoe", "messages": messages, "tools": [TOOL], **fields}
        response = await self.client.post("/v1/chat/completions", json=body)
        assert response.status == 200, await response.text()
        return response


@pytest.fixture
async def home() -> AsyncGenerator[Home, None]:
    async with Home(*(ModelSpec(name, Path(name), roles=(role,)) for name, role in ROLES)) as home:
        yield home


async def test_a_joke_needs_no_home(home: Home) -> None:
    answer = await (await home.ask("tell me a joke about pirates")).json()
    assert (answer["model"], answer["choices"][0]["message"]["content"]) == ("talk", "Arr!")
    seen = home.engines["talk"].requests[-1]
    assert [tool.name for tool in seen.tools] == [USE_HOME.name]
    assert "Static Context" not in str(seen.messages)


async def test_the_model_for_tools_gets_the_request_as_it_came(home: Home) -> None:
    answer = await (await home.ask("what makes you happy")).json()
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert (answer["model"], call["function"]["name"]) == ("act", "turn_on")
    seen = home.engines["act"].requests[-1]
    assert [tool.name for tool in seen.tools] == ["turn_on"]
    assert "Static Context" in str(seen.messages)
    assert len(home.engines["talk"].cancelled) == 1


async def test_what_was_said_before_the_handover_stays_said(home: Home) -> None:
    text = await (await home.ask("tell me a story about my house", stream=True)).text()
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert said == "Let me see. The house is warm."
    assert USE_HOME.name not in text
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks].count("stop") == 1


async def test_who_stands_in_for_the_talker_gets_everything(home: Home) -> None:
    answer = await (await home.ask("tell me something sad")).json()
    assert (answer["model"], answer["choices"][0]["message"]["content"]) == ("act", "The house is warm.")
    assert [tool.name for tool in home.engines["act"].requests[-1].tools] == ["turn_on"]


async def test_the_handover_is_counted_as_a_route(home: Home) -> None:
    await home.ask("what makes you happy")
    metrics = await (await home.client.get("/metrics/json")).json()
    assert metrics["models"]["act"]["routes"] == {"use_home": 1}
    assert metrics["models"]["talk"]["fallbacks"] == {}


@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_who_takes_everything_for_a_command_cannot_act_on_talk(choice: str) -> None:
    """Only where the client leaves the choice: it may know better than a classifier."""
    home = Home(ModelSpec("act", Path("act"), roles=("tools",), converses=False))
    async with home:
        for text in ("tell me a joke about pirates", "turn on the kitchen light"):
            await home.ask(text, tool_choice=choice)
    talk, command = home.engines["act"].requests
    assert talk.tool_choice.mode == ("none" if choice == "auto" else "required")
    assert command.tool_choice.mode == choice
    assert talk.tools == command.tools, "the prompt of the home is the same, and known already"
