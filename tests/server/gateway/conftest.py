"""A gateway over HTTP in front of scripted engines, in this process."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.fixtures.scripted_engine import Answer, Crash, Hold, ScriptedEngine
from zoe_server import protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.fleet import Fleet
from zoe_server.gateway.app import create_app
from zoe_server.gateway.services import Services
from zoe_server.routing.router import Router
from zoe_server.settings import ServerSettings

SPEC = ModelSpec(
    "m", Path("unused"), engine="scripted", queue_limit=2, aliases=("old-name",), options=LlamaOptions(n_slots=2)
)
ANSWERS = (
    Answer(
        (
            protocol.ToolCallStart(0, "call_a", "turn_on"),
            protocol.ToolCallArguments(0, '{"name": '),
            protocol.ToolCallArguments(0, '"Lamp"}'),
            protocol.ToolCallStart(1, "call_b", "turn_off"),
            protocol.ToolCallArguments(1, "{}"),
        ),
        "lamp",
    ),
    Answer((protocol.Reasoning("hm"), protocol.Text("so")), "think"),
    Answer((protocol.Text("a"), Hold(), protocol.Text("b")), "hold after text"),
    Answer((Hold(), protocol.Text("late")), "hold"),
    Answer((protocol.Text("a"), Crash()), "crash after text"),
    Answer((Crash(),), "crash"),
    Answer((protocol.Finish("cancelled"),), "give up"),
    Answer(
        (
            protocol.Text("Hello"),
            protocol.Text(" you"),
            protocol.Finish("stop", protocol.Usage(9, 8, 2), protocol.Timings(0.001, 0.002, 0.003)),
        )
    ),
)


@dataclass(slots=True)
class Gateway:
    """The running gateway: its client, its parts, and every engine it made."""

    client: TestClient[Any, Any]
    state: Services
    engines: list[ScriptedEngine] = field(default_factory=list)

    async def chat(self, text: str = "hi", **fields: object) -> aiohttp.ClientResponse:
        body = {"messages": [{"role": "user", "content": text}], **fields}
        return await self.client.post("/v1/chat/completions", json=body)

    async def engine_until(self, condition: Callable[[ScriptedEngine], bool]) -> ScriptedEngine:
        """Return the latest engine as soon as `condition` holds."""
        async with asyncio.timeout(10):
            while not condition(self.engines[-1]):  # noqa: ASYNC110 - it is the state behind the HTTP border that counts
                await asyncio.sleep(0.005)
        return self.engines[-1]


Start = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def start() -> AsyncGenerator[Start, None]:
    """Start gateways with `specs`, `api_key` and any field of `ServerSettings`."""
    running: list[Gateway] = []

    async def gateway(
        *,
        specs: Sequence[ModelSpec] = (SPEC,),
        api_key: str | None = None,
        wait: bool = True,
        answers: Sequence[Answer] = ANSWERS,
        **fields: object,
    ) -> Gateway:
        engines: list[ScriptedEngine] = []

        def create(spec: ModelSpec) -> ScriptedEngine:
            engines.append(ScriptedEngine(spec, answers if spec.path == SPEC.path else None))
            return engines[-1]

        settings = ServerSettings.model_validate(fields)
        fleet = Fleet(specs, create, ready_wait_s=settings.ready_wait_s)
        state = Services(settings, api_key, fleet, Router(fleet.specs))
        client = TestClient(TestServer(create_app(state)))
        running.append(Gateway(client, state, engines))
        await client.start_server()
        if wait:
            fleet.start()
            await fleet.settled()
        return running[-1]

    yield gateway
    for one in running:
        await one.state.fleet.stop()
        await one.client.close()


@pytest.fixture
def spec() -> ModelSpec:
    """The model that gateways serve here unless told otherwise."""
    return SPEC


@pytest.fixture
async def gateway(start: Start) -> Gateway:
    return await start()
