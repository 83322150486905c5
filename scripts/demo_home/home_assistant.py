"""A client of Home Assistant's HTTP and websocket interfaces: what a person's browser does, without the browser."""

# ruff: noqa: ANN401 -- what a command returns is the JSON that Home Assistant defines for it

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp

from demo_home.errors import DemoError

USER = "demo"
PASSWORD = "demo"  # noqa: S105 -- printed for the person at this machine; the server listens on loopback only
_POLL_S = 0.1
_COMMAND_TIMEOUT_S = 180.0
_DISCOVERY_TIMEOUT_S = 60.0
_PIPELINE_NAME = "Zoe"
# How the check of a server may end without keeping it from being connected, and what the household should know then.
_COMPLAINTS = {
    "checked": "",
    "no_tool_calls": "{model} calls no tools: it can talk, but it controls nothing",
    "too_long": "{model} reads {context_tokens} tokens, and this home's {devices} devices need {prompt_tokens}",
}
_SPEECH = ("stt_engine", "stt_language", "tts_engine", "tts_language", "tts_voice", "wake_word_entity", "wake_word_id")
type Json = dict[str, Any]


class HomeAssistant:
    """One Home Assistant at `url` (no trailing slash); use `connected` to get one with a token."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self._session = session
        self._token: str | None = None
        self._client_id = f"{url}/"

    async def wait_until_answering(self) -> None:
        """Wait until the web server can create the user; whoever calls bounds the time."""
        while True:
            try:
                async with self._session.get(f"{self.url}/api/onboarding") as response:
                    if response.status in (
                        HTTPStatus.OK,
                        HTTPStatus.NOT_FOUND,
                    ):  # not found: an earlier demo did the onboarding
                        return
            except aiohttp.ClientConnectionError:
                pass  # not listening yet
            await asyncio.sleep(_POLL_S)

    async def log_in(self) -> None:
        """Create the demo's user, or log in as the one an earlier demo created.

        Raises:
            DemoError: Home Assistant refuses both.
        """
        user = {"name": "Demo", "username": USER, "password": PASSWORD, "client_id": self._client_id, "language": "en"}
        async with self._session.post(f"{self.url}/api/onboarding/users", json=user) as response:
            created: Json | None = await response.json() if response.ok else None
        code = created["auth_code"] if created else await self._login_flow()
        form = {"grant_type": "authorization_code", "code": code, "client_id": self._client_id}
        async with self._session.post(f"{self.url}/auth/token", data=form) as response:
            self._token = (await _json(response))["access_token"]

    async def wait_until_running(self) -> None:
        """Wait until all integrations are set up.

        Raises:
            DemoError: Home Assistant is in recovery mode.
        """
        while True:
            config = await self.get("/api/config")
            if config["recovery_mode"]:
                raise DemoError("Home Assistant started in recovery mode; its log says which integration failed")
            if config["state"] == "RUNNING":
                return
            await asyncio.sleep(_POLL_S)

    async def add_zoe(self, zoe_url: str) -> str:
        """Configure the integration the way a person does, through its config flow; an entry that exists is kept.

        Returns what the flow had to say of a server that it accepted, nothing if all is well.

        Raises:
            DemoError: the flow refuses, with what it says.
        """
        entries: list[Json] = await self.get("/api/config/config_entries/entry?domain=zoe")
        if entries:
            return ""
        flow = await self.post("/api/config/config_entries/flow", {"handler": "zoe"})
        path = f"/api/config/config_entries/flow/{flow['flow_id']}"
        result = await self.post(path, {"url": zoe_url})
        while result["type"] == "progress":  # the server is being checked
            await asyncio.sleep(_POLL_S)
            result = await self.get(path)
        complaint = ""
        if result["type"] == "form" and result["step_id"] in _COMPLAINTS:
            complaint = _COMPLAINTS[result["step_id"]].format(**result["description_placeholders"])
            result = await self.post(path, {})
        if result["type"] != "create_entry":
            raise DemoError(f"Home Assistant could not set up Zoe: {_refusal(result)}")
        return complaint

    async def get(self, path: str) -> Any:
        """Return the JSON at `path`."""
        async with self._session.get(f"{self.url}{path}", headers=self._headers()) as response:
            return await _json(response)

    async def post(self, path: str, data: Json) -> Any:
        """Send `data` to `path` and return the JSON that comes back."""
        async with self._session.post(f"{self.url}{path}", json=data, headers=self._headers()) as response:
            return await _json(response)

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[Socket]:
        """Open the websocket interface."""
        async with self._session.ws_connect(f"{self.url}/api/websocket", max_msg_size=0) as connection:
            await connection.receive_json()
            await connection.send_json({"type": "auth", "access_token": self._token})
            answer = await connection.receive_json()
            if answer["type"] != "auth_ok":
                raise DemoError(f"Home Assistant refuses the token: {answer}")
            yield Socket(connection)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    async def _login_flow(self) -> str:
        start = {"client_id": self._client_id, "handler": ["homeassistant", None], "redirect_uri": self._client_id}
        flow = await self.post("/auth/login_flow", start)
        login = {"client_id": self._client_id, "username": USER, "password": PASSWORD}
        result = await self.post(f"/auth/login_flow/{flow['flow_id']}", login)
        if result["type"] != "create_entry":
            raise DemoError(f"the user {USER!r} of this folder cannot log in: {result.get('errors')}")
        code: str = result["result"]
        return code


class Socket:
    """The websocket interface, one command at a time; events that arrive meanwhile are kept in `events`."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._last_id = 0
        self.events: list[Json] = []

    async def command(self, kind: str, **fields: Any) -> Any:
        """Send a command and return its result.

        Raises:
            DemoError: Home Assistant refuses it, closes the connection, or does not answer in time.
        """
        self._last_id += 1
        await self._connection.send_json({"id": self._last_id, "type": kind, **fields})
        try:
            async with asyncio.timeout(_COMMAND_TIMEOUT_S):
                return await self._result(kind)
        except TimeoutError:
            raise DemoError(f"Home Assistant did not answer {kind} within {_COMMAND_TIMEOUT_S:.0f} s") from None

    async def drain(self) -> None:
        """Take in every event that was fired before this call: messages keep their order, so an answer flushes them."""
        await self.command("ping")

    async def _result(self, kind: str) -> Any:
        while True:
            message = await self._connection.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise DemoError("Home Assistant closed the connection")
            data: Json = message.json()
            if data["type"] == "event":
                self.events.append(data["event"])
            elif data["id"] == self._last_id:
                if not data.get("success", data["type"] == "pong"):
                    raise DemoError(f"Home Assistant refuses {kind}: {data['error']['message']}")
                return data.get("result")


async def zoe_agent(socket: Socket) -> str:
    """Return the entity id of Zoe's conversation agent.

    Raises:
        DemoError: there is none.
    """
    for entity in await socket.command("config/entity_registry/list"):
        entity_id: str = entity["entity_id"]
        if entity["platform"] == "zoe" and entity_id.startswith("conversation."):
            return entity_id
    raise DemoError("Zoe is set up, but it has no conversation agent; see Home Assistant's log")


async def discovery_flow(socket: Socket, server_id: str) -> str:
    """Wait until Home Assistant offers the server with this id, and return the id of the flow that adds it.

    Raises:
        DemoError: it has not been found within a minute.
    """
    try:
        async with asyncio.timeout(_DISCOVERY_TIMEOUT_S):
            while True:
                for flow in await socket.command("config_entries/flow/progress"):
                    if flow["context"].get("unique_id") == server_id and flow["step_id"] == "discovery_confirm":
                        flow_id: str = flow["flow_id"]
                        return flow_id
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise DemoError("Home Assistant does not find the server; is multicast allowed on this network?") from None


async def name_areas(socket: Socket, names: Iterable[str]) -> None:
    """Give areas the spelling in `names`: creating the user also creates a "Living Room" if it is there first."""
    spelling = {name.casefold(): name for name in names}
    for area in await socket.command("config/area_registry/list"):
        name = spelling.get(area["name"].casefold(), area["name"])
        if name != area["name"]:
            await socket.command("config/area_registry/update", area_id=area["area_id"], name=name)


async def expose_home(socket: Socket) -> int:
    """Expose every device of the virtual home to conversation agents and return how many there are."""
    entities = await socket.command("config/entity_registry/list")
    ids = [entity["entity_id"] for entity in entities if entity["platform"] == "virtual_home"]
    await socket.command("homeassistant/expose_entity", assistants=["conversation"], entity_ids=ids, should_expose=True)
    return len(ids)


async def prefer_pipeline(socket: Socket, agent: str) -> None:
    """Make an Assist pipeline that asks `agent` for everything, and make it the one that the Assist dialog uses."""
    known = await socket.command("assist_pipeline/pipeline/list")
    pipeline = next((item for item in known["pipelines"] if item["name"] == _PIPELINE_NAME), None)
    if pipeline is None:
        pipeline = await socket.command(
            "assist_pipeline/pipeline/create",
            name=_PIPELINE_NAME,
            conversation_engine=agent,
            conversation_language="en",
            language="en",
            prefer_local_intents=False,
            **dict.fromkeys(_SPEECH),
        )
    await socket.command("assist_pipeline/pipeline/set_preferred", pipeline_id=pipeline["id"])


async def speak(socket: Socket, language: str, names: dict[str, str]) -> None:
    """Let the user and every Assist pipeline speak `language`, and call entities by the `names` in it."""
    await socket.command("frontend/set_user_data", key="language", value={"language": language})
    for pipeline in (await socket.command("assist_pipeline/pipeline/list"))["pipelines"]:
        pipeline_id = pipeline.pop("id")
        spoken = pipeline | {"language": language, "conversation_language": language}
        await socket.command("assist_pipeline/pipeline/update", pipeline_id=pipeline_id, **spoken)
    for entity_id, name in names.items():
        await socket.command("config/entity_registry/update", entity_id=entity_id, name=name)


async def _json(response: aiohttp.ClientResponse) -> Any:
    if not response.ok:
        raise DemoError(f"Home Assistant answers {response.status} to {response.url.path}: {await response.text()}")
    return await response.json()


def _refusal(result: Json) -> str:
    """Return why a config flow came to no entry."""
    placeholders = result.get("description_placeholders")
    return str(result.get("errors") or result.get("reason") or f"{result.get('step_id')} {placeholders}")
