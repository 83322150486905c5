"""What the handlers share: one object in the application, made once at start."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from zoe_server.fleet.fleet import Fleet
from zoe_server.routing.router import Router
from zoe_server.settings import ServerSettings


@dataclass(slots=True)
class Services:
    """The parts that answer requests.

    `open_requests` counts those in work; `draining` says that no new ones are taken.
    """

    settings: ServerSettings
    api_key: str | None
    fleet: Fleet
    router: Router
    started_at: int = field(default_factory=lambda: int(time.time()))
    draining: bool = False
    open_requests: int = 0
    idle: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_idle(self) -> None:
        """Return when no request is in work."""
        async with self.idle:
            await self.idle.wait_for(lambda: self.open_requests == 0)


SERVICES: Final = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    """Return the services of the application that `request` came to."""
    return request.app[SERVICES]
