"""Several engine requests as one stream of events: the choices of an answer, computed side by side on one engine.

It knows no HTTP. Waiting for the engine is part of the stream, so that a client can be kept company meanwhile.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from zoe_server import errors, protocol
from zoe_server.engines.base import Engine
from zoe_server.fleet.fleet import Fleet
from zoe_server.gateway import pictures
from zoe_server.gateway.tracked import Tracked
from zoe_server.routing import fallback
from zoe_server.routing.router import RoutePlan

IndexedEvent = tuple[int, protocol.ChatEvent]

_LOGGER: Final = logging.getLogger(__name__)
_UNASKED_CANCEL: Final = "the engine gave the request up without being asked to; please try again"


class Fanout:
    """The merged events of all choices; each choice ends in its one terminal event, and `tracked` hears of each."""

    def __init__(self, model: str, tracked: Tracked) -> None:
        self.model = model
        self._tracked = tracked
        self._events: asyncio.Queue[IndexedEvent] = asyncio.Queue()

    async def next(self, timeout_s: float | None = None) -> IndexedEvent:
        """Return the next event of any choice; from the first one on, `model` is the one that answers.

        Raises:
            TimeoutError: there was none for `timeout_s`.
            errors.ZoeError: a choice failed, or no engine is available.
        """
        async with asyncio.timeout(timeout_s):
            index, event = await self._events.get()
        if isinstance(event, protocol.Finish) and event.reason == "cancelled":
            event = protocol.Failure(errors.EngineUnavailableError(_UNASKED_CANCEL, retry_after_s=1.0))
        self._tracked.saw(index, event)
        if isinstance(event, protocol.Failure):
            raise event.error
        return index, event

    async def produce(self, fleet: Fleet, plan: RoutePlan, requests: Sequence[protocol.ChatRequest]) -> None:
        """Lease an engine and bring all events; whatever goes wrong is an event as well: nobody waits forever."""
        try:
            loaded = await pictures.load(requests)
            async with fallback.lease(fleet, plan, len(requests)) as (name, engine), asyncio.TaskGroup() as tasks:
                self.model, self._tracked.model = plan.named(name), name
                for index, request in enumerate(loaded):
                    routed = dataclasses.replace(request, model=self.model, adapter=plan.adapter)
                    tasks.create_task(self._pump(index, engine, routed))
        except errors.ZoeError as error:
            self._events.put_nowait((0, protocol.Failure(error)))
        except Exception:
            _LOGGER.exception("request %s failed outside of its engine", requests[0].id)
            failure = errors.EngineError("the connection to the engine failed; the server's log has the details")
            self._events.put_nowait((0, protocol.Failure(failure)))

    async def _pump(self, index: int, engine: Engine, request: protocol.ChatRequest) -> None:
        async with aclosing(engine.chat(request)) as events:
            async for event in events:
                self._events.put_nowait((index, event))


@asynccontextmanager
async def fan_out(
    fleet: Fleet, plan: RoutePlan, requests: Sequence[protocol.ChatRequest], tracked: Tracked
) -> AsyncGenerator[Fanout, None]:
    """Begin all `requests` and lend their events; leaving the context cancels what is still open."""
    tracked.planned(plan)
    tracked.wants(requests)
    fanout = Fanout(plan.model, tracked)
    task = asyncio.create_task(fanout.produce(fleet, plan, requests))
    try:
        yield fanout
    finally:
        task.cancel()
        await asyncio.wait({task})
