"""Zoe in Home Assistant's own test harness, against a real HTTP server on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.config_entries import ConfigSubentryData
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry

# Imported before Home Assistant puts its own test folder, which also has a `custom_components`, on the path.
from custom_components.zoe.const import DOMAIN

AGENT = "conversation.zoe"

# What Home Assistant 2026.10 itself warns about, which is not ours to repair.
HOME_ASSISTANT_WARNINGS = (
    # components/http keeps `app["hass"]` for old integrations.
    "ignore::aiohttp.web_exceptions.NotAppKeyWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for warning in HOME_ASSISTANT_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(autouse=True)
def no_complaints(enable_custom_integrations: None, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail when Home Assistant finds the integration doing something deprecated."""
    yield
    messages = [record.getMessage() for phase in ("setup", "call") for record in caplog.get_records(phase)]
    assert not [message for message in messages if "Detected that custom integration" in message]


type Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


@dataclass
class FakeZoe:
    """A Zoe server that answers chat requests from a script, one script entry per request, over real HTTP."""

    url: str = ""
    server_id: str | None = "server-1"
    ready: bool = True
    api_key: str | None = None
    models: Any = field(default_factory=lambda: ["zoe", "zoe-nano", "llama-3.2-3b"])
    overrides: dict[str, Handler] = field(default_factory=dict)
    script: list[list[dict[str, Any] | str | asyncio.Event] | web.Response] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._dispatch)
        return app

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        if override := self.overrides.get(request.path):
            return await override(request)
        if request.path == "/health":
            return self._health(request)
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return error_response(401, "authentication_error", "the API key is wrong")
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})
        return await self._chat(request)

    def _health(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        body = {"status": "ok" if self.ready else "loading", "server": "zoe", "version": "0.1.0", "id": self.server_id}
        return web.json_response(body, status=200 if self.ready else 503)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.asked.set()
        answer = self.script.pop(0)
        if isinstance(answer, web.Response):
            return answer
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for part in answer:
                if isinstance(part, asyncio.Event):
                    await part.wait()
                    continue
                data = part if isinstance(part, str) else f"data: {json.dumps(part)}\n\n"
                await response.write(data.encode())
        except asyncio.CancelledError:
            self.disconnected.set()
            raise
        return response

    def says(self, *pieces: str) -> None:
        """Answer the next request with these pieces of text."""
        self.script.append([role(), *(delta(content=piece) for piece in pieces), *ending("stop")])

    def calls(self, *calls: tuple[str, dict[str, Any]], text: str | None = None) -> None:
        """Answer the next request with tool calls, their arguments cut in two."""
        parts: list[Any] = [role()]
        if text:
            parts.append(delta(content=text))
        for index, (name, args) in enumerate(calls):
            arguments = json.dumps(args)
            first = {"index": index, "id": f"call_{len(self.script)}_{index}", "type": "function"}
            parts.append(delta(tool_calls=[{**first, "function": {"name": name, "arguments": ""}}]))
            for piece in (arguments[:4], arguments[4:]):
                parts.append(delta(tool_calls=[{"index": index, "function": {"arguments": piece}}]))
        self.script.append([*parts, *ending("tool_calls")])


def chunk(**members: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "zoe-nano", **members}


def delta(**members: Any) -> dict[str, Any]:
    return chunk(choices=[{"index": 0, "delta": members, "finish_reason": None}])


def role() -> dict[str, Any]:
    return delta(role="assistant", content="")


def ending(reason: str) -> list[dict[str, Any] | str]:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 90}}
    timings = {"queue_ms": 1.0, "first_token_ms": 20.0, "total_ms": 50.0}
    return [
        chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}]),
        ": keep-alive\n\n",
        chunk(choices=[], usage=usage, timings=timings),
        "data: [DONE]\n\n",
    ]


def error_response(status: int, kind: str, message: str, **details: Any) -> web.Response:
    return web.json_response({"error": {"message": message, "type": kind, **details}}, status=status)


@pytest.fixture
async def zoe(socket_enabled: None) -> AsyncIterator[FakeZoe]:
    fake = FakeZoe()
    server = TestServer(fake.app(), host="127.0.0.1")
    await server.start_server()
    fake.url = str(server.make_url("")).rstrip("/")
    yield fake
    await server.close()


@pytest.fixture
def entry(hass: HomeAssistant, zoe: FakeZoe) -> MockConfigEntry:
    """A configured server, not yet set up."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Zoe",
        unique_id="server-1",
        data={"url": zoe.url},
        subentries_data=[
            ConfigSubentryData(
                data={"llm_hass_api": ["assist"]}, subentry_type="conversation", title="Zoe", unique_id=None
            )
        ],
    )
    entry.add_to_hass(hass)
    return entry


@pytest.fixture
async def agent(hass: HomeAssistant, entry: MockConfigEntry) -> str:
    """The entity id of a conversation agent that is set up."""
    assert await async_setup_component(hass, "homeassistant", {})
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return AGENT


@pytest.fixture
async def home(hass: HomeAssistant) -> HomeAssistant:
    """Two areas on a floor, with real template lights over input booleans, and a thermometer."""
    assert await async_setup_component(hass, "homeassistant", {})
    lamps = {"kitchen": "Kitchen light", "desk": "Desk lamp"}
    booleans = {key: {"initial": False} for key in lamps}
    assert await async_setup_component(hass, "input_boolean", {"input_boolean": booleans})
    lights = [_template_light(key, name) for key, name in lamps.items()]
    assert await async_setup_component(hass, "template", {"template": [{"light": lights}]})
    await hass.async_block_till_done()

    floor = fr.async_get(hass).async_create("Ground floor", aliases={"downstairs"})
    areas = ar.async_get(hass)
    kitchen = areas.async_create("Kitchen", floor_id=floor.floor_id, aliases={"galley"})
    areas.async_create("Cellar")
    entities = er.async_get(hass)
    entities.async_update_entity("light.kitchen_light", area_id=kitchen.id)
    hass.states.async_set("sensor.outside", "12", {"friendly_name": "Outside", "device_class": "temperature"})
    for entity_id in ("light.kitchen_light", "light.desk_lamp", "sensor.outside"):
        async_expose_entity(hass, "conversation", entity_id, True)
    for entity_id in ("input_boolean.kitchen", "input_boolean.desk"):
        async_expose_entity(hass, "conversation", entity_id, False)
    return hass


def _template_light(key: str, name: str) -> dict[str, Any]:
    target = {"target": {"entity_id": f"input_boolean.{key}"}}
    return {
        "name": name,
        "unique_id": key,
        "state": f"{{{{ is_state('input_boolean.{key}', 'on') }}}}",
        "turn_on": {"action": "input_boolean.turn_on", **target},
        "turn_off": {"action": "input_boolean.turn_off", **target},
    }


type Say = Callable[..., Coroutine[Any, Any, conversation.ConversationResult]]


@pytest.fixture
def say(hass: HomeAssistant, agent: str) -> Say:
    """Say a sentence to the agent and wait for its answer."""

    async def _say(text: str, conversation_id: str | None = None) -> conversation.ConversationResult:
        return await conversation.async_converse(hass, text, conversation_id, Context(), "en", agent)

    return _say


@pytest.fixture
def wire() -> Any:
    """The builders of what a server sends: `chunk`, `delta`, `role`, `ending`, `error_response`."""

    class Wire:
        chunk = staticmethod(chunk)
        delta = staticmethod(delta)
        role = staticmethod(role)
        ending = staticmethod(ending)
        error_response = staticmethod(error_response)

    return Wire
