"""Several engine requests as one stream of events: the choices of an answer, computed side by side on one engine.

It knows no HTTP. Waiting for the engine is part of the stream, so that a client can be kept company meanwhile.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from zoe_server import errors, protocol
from zoe_server.engines.base import Engine
from zoe_server.fleet.fleet import Fleet
from zoe_server.gateway import pictures
from zoe_server.gateway.request_record import RequestRecord
from zoe_server.routing import fallback, use_home
from zoe_server.routing.router import RoutePlan

IndexedEvent = tuple[int, protocol.ChatEvent]

_LOGGER: Final = logging.getLogger(__name__)
_UNASKED_CANCEL: Final = "the engine gave the request up without being asked to; please try again"


class Fanout:
    """The merged events of all choices; each choice ends in its one terminal event, and `tracked` hears of each."""

    def __init__(self, model: str, tracked: RequestRecord) -> None:
        self.model = model
        self._tracked = tracked
        self._events: asyncio.Queue[IndexedEvent] = asyncio.Queue()
        self._held: deque[IndexedEvent] = deque()
        self._has_spoken = False

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
            background = all(request.priority == "background" for request in requests)

            plan = _alone(plan, loaded)
            try:
                await self._ask(fleet, plan, loaded, background=background)
            except _HomeWantedError:
                if plan.handover is None:
                    raise
                self._tracked.planned(plan.handover)
                await self._ask(fleet, plan.handover, loaded, background=background)
        except errors.ZoeError as error:
            self._events.put_nowait((0, protocol.Failure(error)))
        except Exception:
            _LOGGER.exception("request %s failed outside of its engine", requests[0].id)
            failure = errors.EngineError("the connection to the engine failed; the server's log has the details")
            self._events.put_nowait((0, protocol.Failure(failure)))

    async def _ask(
        self, fleet: Fleet, plan: RoutePlan, requests: Sequence[protocol.ChatRequest], *, background: bool
    ) -> None:
        """Let the first candidate answer that can.

        Raises:
            errors.ZoeError: none can.
            _HomeWantedError: it is one that got the short prompt, and needs the home for this.
        """
        lightens = len(requests) == 1 and use_home.suits(requests[0])

        async def answer(model: str, engine: Engine) -> None:
            if lightens and model in plan.talkers:
                light = [use_home.lightened(request) for request in requests]
                await self._answer(plan, model, engine, light, hands_over=True)
            elif model in plan.idlers:
                await self._answer(plan, model, engine, [use_home.without_calls(request) for request in requests])
            else:
                await self._answer(plan, model, engine, requests)

        await fallback.ask(fleet, plan, answer, len(requests), background=background)

    async def _answer(
        self,
        plan: RoutePlan,
        model: str,
        engine: Engine,
        requests: Sequence[protocol.ChatRequest],
        *,
        hands_over: bool = False,
    ) -> None:
        """Let one engine answer. As long as nobody has said anything, its failure is that of the model alone.

        Raises:
            errors.ZoeError: it failed before the first word, and another model may answer.
            _HomeWantedError: it `hands_over`, and did.
        """
        self._held.clear()
        self.model, self._tracked.model = plan.named(model), model
        routed = [dataclasses.replace(request, model=self.model, adapter=plan.adapter) for request in requests]
        pumps = [
            asyncio.create_task(self._pump(index, engine, request, hands_over)) for index, request in enumerate(routed)
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
            for pump in pumps:
                if pump.done():
                    pump.result()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)

    async def _pump(self, index: int, engine: Engine, request: protocol.ChatRequest, hands_over: bool) -> None:
        async with aclosing(engine.chat(request)) as events:
            async for event in events:
                if hands_over and use_home.asks_for_home(event):
                    raise _HomeWantedError
                self._take(index, event)

    def _take(self, index: int, event: protocol.ChatEvent) -> None:
        """Pass an event on; those before the first word are held back, so that another model can begin anew."""
        if not self._has_spoken:
            if isinstance(event, protocol.Failure) and fallback.others_may_answer(event.error):
                raise event.error
            self._held.append((index, event))
            if isinstance(event, protocol.Started):
                self._tracked.saw(index, event)
                return
            self._has_spoken = True
            while self._held:
                self._events.put_nowait(self._held.popleft())
            return
        self._events.put_nowait((index, event))


class _HomeWantedError(Exception):
    """The model that got the short prompt called `use_home`."""


def _alone(plan: RoutePlan, requests: Sequence[protocol.ChatRequest]) -> RoutePlan:
    """Return the plan without other candidates where the prompt is tokens, which mean nothing to another model."""
    if not any(isinstance(request.prompt, tuple) for request in requests):
        return plan
    return dataclasses.replace(plan, candidates=plan.candidates[:1], stands_alone=True)


@asynccontextmanager
async def fan_out(
    fleet: Fleet, plan: RoutePlan, requests: Sequence[protocol.ChatRequest], tracked: RequestRecord
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
