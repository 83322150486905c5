"""A gateway as `zoe serve` makes it, in front of scripted engines, and a hub on loopback that it pulls models from."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from huggingface_hub import constants

from tests.fixtures.scripted_engine import Answer, ScriptedEngine
from tests.server.catalogue.local_hub import LocalHub
from zoe_server import protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.sizing import LoadedModel, NoSizing
from zoe_server.gateway.app import create_app
from zoe_server.gateway.pull import Pulls
from zoe_server.gateway.services import Services
from zoe_server.routing.router import Router
from zoe_server.settings import Settings

CONTENT = b"GGUF" + bytes(range(256)) * 12_288  # three times what is written at once
SUM = hashlib.sha256(CONTENT).hexdigest()
TALKER, OTHER, EYES, PROJECTOR = (f"somebody/GGUF/{name}.gguf" for name in ("talker", "other", "eyes", "mmproj-eyes"))
CONFIGURATION = """
[catalogue.talker]
description = "talks"
roles = ["chat"]
weights = { repository = "somebody/GGUF", file = "talker.gguf", size_bytes = 1_000_000 }
scores = { speed = 99 }
aliases = ["chatty:3b"]
[catalogue.other]
roles = ["chat"]
weights = { repository = "somebody/GGUF", file = "other.gguf", size_bytes = 1_000_000 }
scores = { speed = 98 }
[catalogue.eyes]
roles = ["vision"]
weights = { repository = "somebody/GGUF", file = "eyes.gguf", size_bytes = 1_000_000 }
projector = { repository = "somebody/GGUF", file = "mmproj-eyes.gguf", size_bytes = 1_000_000 }
scores = { tools = 99 }
[catalogue.huge]
roles = ["tools"]
weights = { repository = "somebody/GGUF", file = "huge.gguf", size_bytes = 900_000_000_000 }
scores = { tools = 100 }
"""


class Sizing(NoSizing):
    """There are 8 GB for models."""

    async def budget_bytes(self, held: Sequence[LoadedModel] = ()) -> int:
        del held
        return 8_000_000_000


@dataclass
class Server:
    """A gateway as `zoe serve` makes it, in front of scripted engines."""

    client: TestClient[Any, Any]
    state: Services
    settings: Settings

    @property
    def folder(self) -> Path:
        return self.settings.store.folder

    async def pull(self, **body: object) -> tuple[int, list[dict[str, Any]]]:
        """Return the status and all records."""
        response = await self.client.post("/api/pull", json=body)
        return response.status, [json.loads(line) for line in (await response.text()).splitlines()]

    async def offers(self) -> dict[str, Any]:
        found: dict[str, Any] = await (await self.client.get("/admin/catalogue")).json()
        return found

    async def offer(self, name: str) -> dict[str, Any]:
        return next(model for model in (await self.offers())["models"] if model["id"] == name)

    async def served(self) -> list[str]:
        found = await (await self.client.get("/admin/status")).json()
        return [model["id"] for model in found["models"]]


@contextmanager
def local_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """The hub that has the models of `CONFIGURATION`; downloads go there, and do not pause between attempts."""
    with LocalHub(files=dict.fromkeys((TALKER, OTHER, EYES, PROJECTOR), CONTENT)) as hub:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        yield hub


@asynccontextmanager
async def serving(chosen: Settings, api_key: str | None = None, broken: str = "") -> AsyncIterator[Server]:
    """Serve what is configured and what was pulled; the engine of the model `broken` cannot start."""

    def create(spec: ModelSpec) -> ScriptedEngine:
        answers = None if spec.name == broken else [Answer((protocol.Text(f"I am {spec.name}"),))]
        return ScriptedEngine(spec, answers)

    fleet = Fleet(chosen.specs(), create, sizing=Sizing())
    state = Services(chosen.server, api_key, fleet, Router(fleet.specs))
    if not chosen.is_closed:
        state.pulls = Pulls(chosen, fleet, state.enlist)
    fleet.start()
    await fleet.settled()
    async with TestClient(TestServer(create_app(state))) as client:
        yield Server(client, state, chosen)
        if state.pulls is not None:
            await state.pulls.stop()
        await fleet.stop()
