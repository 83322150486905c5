"""The integration and Zoe's own gateway: what one asks about the server, the other answers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from homeassistant.config_entries import SOURCE_USER, ConfigEntry, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import issue_registry as ir

from custom_components.zoe.const import DOMAIN
from tests.fixtures.scripted_engine import Answer, ScriptedEngine
from zoe_server import protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.fleet import Fleet
from zoe_server.gateway.app import create_app
from zoe_server.gateway.services import Services
from zoe_server.routing.router import Router
from zoe_server.settings import ServerSettings

KEY = "a key"
NANO = ModelSpec(
    "zoe-nano", Path("unused"), engine="scripted", roles=("tools",), options=LlamaOptions(n_ctx_tokens=2048)
)
CHAT = ModelSpec("llama/3:1b", Path("unused"), engine="scripted", roles=("chat",), aliases=("llama",))
CALL = (
    protocol.ToolCallStart(0, "c", "intent__HassTurnOn"),
    protocol.ToolCallArguments(0, '{"name": "Kitchen light"}'),
)
TIMINGS = protocol.Timings(0.001, 0.2, 0.6)
ANSWERS = (
    Answer((*CALL, protocol.Finish("tool_calls", protocol.Usage(100, 60, 5), TIMINGS)), "kitchen light"),
    Answer((protocol.Text("Blue."),), "sky"),
    Answer((protocol.Finish("length", protocol.Usage(900, 0, 0), TIMINGS),)),  # the prompt without a sentence
)

type Result = Any  # several kinds of typed dicts, each with other keys


@pytest.fixture
async def state(socket_enabled: None) -> AsyncIterator[Services]:
    fleet = Fleet((NANO, CHAT), lambda spec: ScriptedEngine(spec, ANSWERS))
    state = Services(ServerSettings(), KEY, fleet, Router(fleet.specs), "0123456789abcdef" * 2)
    fleet.start()
    await fleet.settled()
    yield state
    await fleet.stop()


@pytest.fixture
async def url(state: Services) -> AsyncIterator[str]:
    server = TestServer(create_app(state), host="127.0.0.1")
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


@pytest.fixture
async def entry(home: HomeAssistant, url: str) -> ConfigEntry:
    """Connected through the dialog, the way a person does it."""
    flow = home.config_entries.flow
    form: Result = await flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    form = await flow.async_configure(form["flow_id"], {"url": url})
    assert form["step_id"] == "api_key"
    form = await flow.async_configure(form["flow_id"], {"api_key": KEY})
    assert form["type"] is FlowResultType.SHOW_PROGRESS
    await home.async_block_till_done()
    form = await flow.async_configure(form["flow_id"])
    assert form["step_id"] == "checked", form
    told = form["description_placeholders"]
    assert (told["model"], told["prompt_tokens"], told["context_tokens"]) == ("zoe-nano", "900", "2,048")
    result = await flow.async_configure(form["flow_id"], {})
    await home.async_block_till_done()
    entry: ConfigEntry = result["result"]
    return entry


def value(hass: HomeAssistant, name: str) -> str:
    state = hass.states.get(f"sensor.zoe_server_{name}")
    assert state is not None
    return state.state


async def test_it_is_connected(home: HomeAssistant, entry: ConfigEntry) -> None:
    assert entry.state is ConfigEntryState.LOADED
    assert entry.unique_id == "0123456789abcdef" * 2
    assert home.states.is_state("binary_sensor.zoe_server_ready", "on")
    assert (value(home, "tools_model"), value(home, "chat_model")) == ("zoe-nano", "llama/3:1b")
    assert float(value(home, "memory_used")) > 0
    assert value(home, "failures") == "0"
    assert float(value(home, "time_to_first_token")) == pytest.approx(200)
    assert float(value(home, "decode_rate")) == pytest.approx(10)
    assert float(value(home, "prompt_reuse")) == pytest.approx(100 * 60 / 1000)


async def test_actions(home: HomeAssistant, entry: ConfigEntry) -> None:
    async def call(action: str, **data: str) -> dict[str, Any]:
        answer: dict[str, Any] = await home.services.async_call(
            DOMAIN, action, data, blocking=True, return_response=True
        )
        return answer

    assert (await call("ask", text="What colour is the sky?", model="llama"))["text"] == "Blue."
    assert value(home, "last_route") == "named"
    choice = await call("explain", text="turn on the desk lamp")
    assert (choice["rule"], choice["model"]) == ("automation", "zoe-nano")
    (agent,) = (await call("prime"))["agents"]
    assert (agent["prompt_tokens"], agent["context_tokens"], agent["fits"]) == (900, 2048, True)


async def test_self_test_and_models(home: HomeAssistant, state: Services, entry: ConfigEntry) -> None:
    await home.services.async_call("button", "press", {"entity_id": "button.zoe_server_run_a_self_test"}, blocking=True)
    assert [key for key in ir.async_get(home).issues if key[0] == DOMAIN] == []
    client = entry.runtime_data.client
    await client.async_unload_model("llama/3:1b", 5.0)
    await entry.runtime_data.async_refresh()
    assert value(home, "chat_model") == "unknown"
    await client.async_load_model("llama/3:1b")
    await entry.runtime_data.async_refresh()
    assert value(home, "chat_model") == "llama/3:1b"


async def test_a_key_that_changes(home: HomeAssistant, state: Services, entry: ConfigEntry) -> None:
    state.api_key = "another key"
    with pytest.raises(HomeAssistantError, match="refuses the API key"):
        await home.services.async_call(DOMAIN, "prime", {}, blocking=True)
    await entry.runtime_data.async_refresh()
    await home.async_block_till_done()
    (flow,) = home.config_entries.flow.async_progress()
    assert flow["context"]["source"] == "reauth"
    result: Result = await home.config_entries.flow.async_configure(flow["flow_id"], {"api_key": "another key"})
    assert result["reason"] == "reauth_successful"
    await home.async_block_till_done()
    assert entry.state is ConfigEntryState.LOADED


async def test_recent_requests(home: HomeAssistant, entry: ConfigEntry) -> None:
    requests = await entry.runtime_data.client.async_recent_requests()
    assert {request["path"] for request in requests} == {"/v1/chat/completions"}
