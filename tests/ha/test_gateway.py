"""The integration and Zoe's own gateway: what one sends, the other takes."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from homeassistant.components import conversation
from homeassistant.config_entries import ConfigSubentryData
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.const import DOMAIN
from tests.fixtures.scripted_engine import Answer, ScriptedEngine, Step
from zoe_server import protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.fleet import Fleet
from zoe_server.gateway.app import create_app
from zoe_server.gateway.services import Services
from zoe_server.routing.router import Router
from zoe_server.settings import ServerSettings

SPEC = ModelSpec("zoe-nano", Path("unused"), engine="scripted")
CALL = protocol.ToolCallStart(0, "c", "HassTurnOn")
PIECES = [
    Answer((protocol.Text("I have made the desk lamp brighter."),), "brighter"),
    Answer((protocol.Text("I am not able to change the desk lamp."),), "darker"),
    Answer((protocol.Text("**It** is "), protocol.Text("21"), protocol.Text(" °C 🙂")), "warm"),
    Answer(
        (protocol.ToolCallStart(0, "c", "HassTurnOn"), protocol.ToolCallArguments(0, "{'name': 'desk lamp'}")), "lamp"
    ),
    Answer((protocol.Text("Two"), protocol.Text(" cats.")), "Count"),
]


class Told(ScriptedEngine):
    """Says nothing about the result of a tool, so that the answer is made from it."""

    def _steps(self, request: protocol.ChatRequest) -> Iterator[Step]:
        return iter(()) if request.messages[-1]["role"] == "tool" else super()._steps(request)


@pytest.fixture
async def engines() -> list[Told]:
    return []


@pytest.fixture
async def url(socket_enabled: None, engines: list[Told]) -> AsyncIterator[str]:
    def create(spec: ModelSpec) -> Told:
        engines.append(Told(spec, PIECES))
        return engines[-1]

    fleet = Fleet((SPEC,), create)
    server = TestServer(create_app(Services(ServerSettings(), None, fleet, Router(fleet.specs))), host="127.0.0.1")
    await server.start_server()
    fleet.start()
    await fleet.settled()
    yield str(server.make_url(""))
    await fleet.stop()
    await server.close()


@pytest.fixture
async def entry(home: HomeAssistant, url: str) -> MockConfigEntry:
    talk = {"llm_hass_api": ["assist"], "temperature": 0.5, "max_tokens": 100.0, "history_rounds": 3.0}
    talk |= {"top_p": 0.9, "top_k": 20.0, "min_p": 0.1, "repetition_penalty": 1.1, "request_fields": {"seed": 7}}
    talk |= {"thinking": "low", "request_fields": {"seed": 7, "what_no_server_knows": {"at": "all"}}}
    entry = MockConfigEntry(
        domain=DOMAIN,
        data={"url": url},
        subentries_data=[
            ConfigSubentryData(data=talk, subentry_type="conversation", title="Zoe", unique_id=None),
            ConfigSubentryData(data={}, subentry_type="ai_task_data", title="Clerk", unique_id=None),
        ],
    )
    entry.add_to_hass(home)
    assert await home.config_entries.async_setup(entry.entry_id)
    await home.async_block_till_done()
    return entry


async def say(hass: HomeAssistant, text: str, language: str) -> str:
    result = await conversation.async_converse(hass, text, "talk", Context(), language, "conversation.zoe")
    return str(result.response.speech["plain"]["speech"])


async def test_sentences(home: HomeAssistant, engines: list[Told], entry: MockConfigEntry) -> None:
    assert await say(home, "How warm is it?", "en") == "It is 21 degrees Celsius"
    assert await say(home, "turn on the desk lamp", "it") == "Fatto: Desk lamp."
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")
    first, second, third = engines[0].requests
    assert (first.sampling.temperature, first.max_tokens, first.priority) == (0.5, 100, "interactive")
    sampling = first.sampling
    assert (sampling.top_p, sampling.top_k, sampling.min_p, sampling.repeat_penalty) == (0.9, 20, 0.1, 1.1)
    assert sampling.seed == 7
    assert first.argument_values["name"] == ("Desk lamp", "Kitchen light", "Outside")
    assert second.messages[1]["content"].endswith("Answer in Italian.")
    assert third.messages[-1]["role"] == "tool"


async def test_judgements(home: HomeAssistant, engines: list[Told], entry: MockConfigEntry) -> None:
    """What Home Assistant does not understand, the server does: an order, a false claim, an honest answer."""
    assert await say(home, "make the desk lamp a little brighter for me", "en") == "I haven't changed anything."
    assert [request.tool_choice.mode for request in engines[0].requests] == ["auto", "required"]
    honest = "I am not able to change the desk lamp."
    assert await say(home, "make the desk lamp a little darker for me", "en") == honest
    assert len(engines[0].requests) == 3


async def test_tasks(home: HomeAssistant, engines: list[Told], entry: MockConfigEntry) -> None:
    task = {"task_name": "t", "instructions": "Count the cats.", "entity_id": "ai_task.clerk"}
    answer = await home.services.async_call("ai_task", "generate_data", task, blocking=True, return_response=True)
    assert answer is not None
    assert answer["data"] == "Two cats."
    assert engines[0].requests[0].priority == "background"
    structure: dict[str, Any] = {"count": {"selector": {"number": {}}}}
    with pytest.raises(HomeAssistantError, match="cannot be held to a schema"):
        await home.services.async_call(
            "ai_task", "generate_data", {**task, "structure": structure}, blocking=True, return_response=True
        )
