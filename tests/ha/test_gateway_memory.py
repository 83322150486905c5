"""What the household wants remembered, with a model for talk and another for tools behind Zoe's own gateway."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from homeassistant.config_entries import ConfigSubentryData
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.const import DOMAIN
from custom_components.zoe.memory import async_load_memory
from tests.fixtures.scripted_engine import Answer, ScriptedEngine, Step
from tests.ha.test_gateway import say
from zoe_server import protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.fleet import Fleet
from zoe_server.gateway.app import create_app
from zoe_server.gateway.services import Services
from zoe_server.routing import use_home
from zoe_server.routing.router import Router
from zoe_server.settings import ServerSettings

MILA = "Unsere Tochter heißt Mila"
SPECS = (
    ModelSpec("talk", Path("unused"), engine="scripted", roles=("chat",)),
    ModelSpec("act", Path("unused"), engine="scripted", roles=("tools",)),
)
HAND_OVER = Answer((protocol.ToolCallStart(0, "c", use_home.USE_HOME.name),), "unsere")
TALK = (HAND_OVER, Answer((protocol.Text("She is called Mila."),)))


def call(tool: str, fact: str, when: str) -> Answer:
    arguments = protocol.ToolCallArguments(0, f'{{"fact": "{fact}"}}')
    return Answer((protocol.ToolCallStart(0, "c", tool), arguments), when)


ACT = (
    call("zoe__remember", MILA, "Merk dir"),
    call("zoe__forget", "Tochter Mila", "vergiss"),
)


class Scripted(ScriptedEngine):
    """Says nothing about the result of a tool."""

    def _steps(self, request: protocol.ChatRequest) -> Iterator[Step]:
        return iter(()) if request.messages[-1]["role"] == "tool" else super()._steps(request)


@pytest.fixture
async def engines(home: HomeAssistant, socket_enabled: None) -> AsyncIterator[dict[str, Scripted]]:
    engines: dict[str, Scripted] = {}

    def create(spec: ModelSpec) -> Scripted:
        engines[spec.name] = Scripted(spec, TALK if spec.name == "talk" else ACT)
        return engines[spec.name]

    fleet = Fleet(SPECS, create)
    server = TestServer(create_app(Services(ServerSettings(), None, fleet, Router(fleet.specs))), host="127.0.0.1")
    await server.start_server()
    fleet.start()
    await fleet.settled()
    entry = MockConfigEntry(
        domain=DOMAIN,
        data={"url": str(server.make_url(""))},
        subentries_data=[
            ConfigSubentryData(
                data={"llm_hass_api": ["assist"]}, subentry_type="conversation", title="Zoe", unique_id=None
            )
        ],
    )
    entry.add_to_hass(home)
    assert await home.config_entries.async_setup(entry.entry_id)
    await home.async_block_till_done()
    yield engines
    await fleet.stop()
    await server.close()


async def test_the_model_for_talk_knows_the_facts(home: HomeAssistant, engines: dict[str, Scripted]) -> None:
    memory = await async_load_memory(home)
    await memory.async_remember(MILA)
    assert await say(home, "tell me a joke about my girl", "en") == "She is called Mila."
    (asked,) = engines["talk"].requests
    assert memory.as_prompt() in asked.messages[0]["content"]
    assert "Kitchen light" not in asked.messages[0]["content"]
    assert [tool.name for tool in asked.tools] == [use_home.USE_HOME.name]
    assert "remembered" in asked.tools[0].description


@pytest.mark.parametrize("known", [False, True])
async def test_what_changes_the_memory_gets_to_the_tools(
    home: HomeAssistant, engines: dict[str, Scripted], known: bool
) -> None:
    memory = await async_load_memory(home)
    if known:
        await memory.async_remember(MILA)
        assert await say(home, "vergiss das mit unserer Tochter", "de") == f"Das vergesse ich: {MILA}"
        assert memory.facts == []
    else:
        assert (await say(home, "Merk dir bitte, dass unsere Tochter Mila heißt und gern lacht", "de")).endswith(
            f": {MILA}"
        )
        assert memory.facts == [MILA]
    assert engines["act"].requests
