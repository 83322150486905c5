"""Home Assistant's own Ollama integration talks to Zoe's gateway as if it were Ollama."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import ollama
import pytest
from aiohttp.test_utils import TestServer
from homeassistant.components import conversation
from homeassistant.config_entries import ConfigEntryState, ConfigSubentryData
from homeassistant.core import Context, HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from tests.fixtures.scripted_engine import ScriptedEngine, Step
from tests.server.gateway.pulling_server import CONFIGURATION, local_hub, serving
from zoe_server import protocol, settings
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.fleet import Fleet
from zoe_server.gateway.app import create_app
from zoe_server.gateway.services import Services
from zoe_server.routing.router import Router
from zoe_server.settings import ServerSettings

AGENT = "conversation.zoe_as_ollama"
SPEC = ModelSpec("zoe-nano", Path("unused"), engine="scripted")


class Helpful(ScriptedEngine):
    """Turns the light on when it is asked to, and says so when it has the result."""

    def _steps(self, request: protocol.ChatRequest) -> Iterator[Step]:
        if request.messages[-1]["role"] == "tool":
            yield protocol.Text("The light is on.")
            return
        yield protocol.ToolCallStart(0, "call_1", "intent__HassTurnOn")
        yield protocol.ToolCallArguments(0, '{"name": "Kitchen light"}')


@pytest.fixture(autouse=True)
async def closed_clients(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Close the clients that Home Assistant leaves to the garbage collector, whose complaint would fail a test."""
    made: list[ollama.AsyncClient] = []
    begin = ollama.AsyncClient.__init__

    def remember(client: ollama.AsyncClient, *args: object, **fields: object) -> None:
        begin(client, *args, **fields)
        made.append(client)

    monkeypatch.setattr(ollama.AsyncClient, "__init__", remember)
    yield
    for client in made:
        await client.close()


@pytest.fixture
async def engines() -> list[Helpful]:
    return []


@pytest.fixture
async def url(socket_enabled: None, engines: list[Helpful]) -> AsyncIterator[str]:
    def create(spec: ModelSpec) -> Helpful:
        engines.append(Helpful(spec, []))
        return engines[-1]

    fleet = Fleet((SPEC,), create)
    server = TestServer(create_app(Services(ServerSettings(), "a key", fleet, Router(fleet.specs))), host="127.0.0.1")
    await server.start_server()
    fleet.start()
    await fleet.settled()
    yield str(server.make_url(""))
    await fleet.stop()
    await server.close()


def entry(url: str, key: str) -> MockConfigEntry:
    subentry = ConfigSubentryData(
        data={"model": "zoe:latest", "llm_hass_api": ["assist"]},
        subentry_type="conversation",
        title="Zoe as Ollama",
        unique_id=None,
    )
    return MockConfigEntry(
        domain="ollama", data={"url": url, "api_key": key}, version=3, minor_version=3, subentries_data=[subentry]
    )


async def test_a_sentence_turns_on_a_light(home: HomeAssistant, url: str, engines: list[Helpful]) -> None:
    service = entry(url, "a key")
    service.add_to_hass(home)
    assert await home.config_entries.async_setup(service.entry_id)
    await home.async_block_till_done()
    result = await conversation.async_converse(home, "turn on the kitchen light", None, Context(), "en", AGENT)
    assert result.response.speech["plain"]["speech"] == "The light is on."
    await home.async_block_till_done()
    assert home.states.get("light.kitchen_light").state == "on"
    first, second = engines[0].requests
    assert "intent__HassTurnOn" in {tool.name for tool in first.tools}
    call, answer = second.messages[-2:]
    assert call["tool_calls"][0]["function"]["name"] == "intent__HassTurnOn"
    assert answer["tool_call_id"] == call["tool_calls"][0]["id"]
    assert '"error": false' in answer["content"] or '"error":false' in answer["content"]
    assert await home.config_entries.async_unload(service.entry_id)


async def test_a_model_that_is_not_there_is_downloaded(
    home: HomeAssistant, socket_enabled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoe.toml").write_text(CONFIGURATION.replace("chatty:3b", "llama3.2-vision"), encoding="utf-8")
    monkeypatch.setenv("ZOE_SERVER__MODELS_FOLDER", str(tmp_path / "models"))
    with local_hub(monkeypatch):
        async with serving(settings.load(tmp_path / "zoe.toml"), api_key="a key") as server:
            service = entry(str(server.client.make_url("")), "a key")
            service.add_to_hass(home)
            assert await home.config_entries.async_setup(service.entry_id)
            await home.async_block_till_done()
            flows = home.config_entries.subentries
            form = await flows.async_init((service.entry_id, "conversation"), context={"source": "user"})
            answers = {"name": "Talker", "model": "llama3.2-vision:latest"}
            form = await flows.async_configure(form["flow_id"], answers)
            assert form["step_id"] == "download"
            await home.async_block_till_done(wait_background_tasks=True)
            result = await flows.async_configure(form["flow_id"])
            assert result["type"] == "create_entry", result
            assert [spec.name for spec in server.state.fleet.specs] == ["talker", "zoe-nano"]
            await home.async_block_till_done()
            assert await home.config_entries.async_unload(service.entry_id)


async def test_a_wrong_key_asks_for_another_one(home: HomeAssistant, url: str) -> None:
    service = entry(url, "wrong")
    service.add_to_hass(home)
    assert not await home.config_entries.async_setup(service.entry_id)
    await home.async_block_till_done()
    assert service.state is ConfigEntryState.SETUP_ERROR
    assert [flow["context"]["source"] for flow in home.config_entries.flow.async_progress()] == ["reauth"]
