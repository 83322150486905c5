"""`answer`: a chat's requests, answered by the first model of a plan that can, or by the one that it hands over to.

As long as nobody has said anything, another model may begin anew, and a chat model that got the short prompt may ask
for the home (see `use_home`); the client sees nothing of that.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

from zoe_server import protocol
from zoe_server.engines.base import Engine
from zoe_server.fleet.fleet import Fleet
from zoe_server.routing import fallback, use_home
from zoe_server.routing.question import needs
from zoe_server.routing.router import RoutePlan


class Listener(Protocol):
    """Hears how a chat is answered."""

    def planned(self, plan: RoutePlan) -> None:
        """Hear by which plan."""

    def asked(self, model: str, name: str) -> None:
        """Hear that `model` is asked now, which clients know by `name`; whoever was asked before did not answer."""

    def take(self, index: int, event: protocol.ChatEvent) -> None:
        """Take the next event of answer `index`; after one that is no `Started`, no other model is asked."""


class _HomeWantedError(Exception):
    """The model that got the short prompt called `use_home`."""


async def answer(fleet: Fleet, plan: RoutePlan, requests: Sequence[protocol.ChatRequest], listener: Listener) -> None:
    """Let one engine answer all `requests`, side by side, and tell `listener`.

    Raises:
        errors.ZoeError: no model can.
    """
    relay = _Relay(fleet, requests, listener)
    plan = _alone(plan, requests)
    listener.planned(plan)
    try:
        await relay.ask(plan)
    except _HomeWantedError:
        if plan.handover is None:
            raise
        listener.planned(plan.handover)
        await relay.ask(plan.handover)


def _alone(plan: RoutePlan, requests: Sequence[protocol.ChatRequest]) -> RoutePlan:
    """Return the plan without other candidates where the prompt is tokens, which mean nothing to another model."""
    if not any(isinstance(request.prompt, tuple) for request in requests):
        return plan
    return dataclasses.replace(plan, candidates=plan.candidates[:1], stands_alone=True)


class _Relay:
    """Brings the events of engines to the listener, and knows whether somebody has said anything."""

    def __init__(self, fleet: Fleet, requests: Sequence[protocol.ChatRequest], listener: Listener) -> None:
        self._fleet = fleet
        self._requests = requests
        self._listener = listener
        self._has_spoken = False

    async def ask(self, plan: RoutePlan) -> None:
        """Let the first candidate of `plan` answer that can.

        Raises:
            errors.ZoeError: none can.
            _HomeWantedError: it is one that got the short prompt, and needs the home for this.
        """
        lightens = len(self._requests) == 1 and use_home.suits(self._requests[0])
        background = all(request.priority == "background" for request in self._requests)

        async def ask_one(model: str, engine: Engine) -> None:
            requests, hands_over = self._requests, lightens and model in plan.without_home_tools
            if hands_over:
                requests = [use_home.lightened(request) for request in requests]
            elif model in plan.never_calling:
                requests = [use_home.without_calls(request) for request in requests]
            name = plan.named(model)
            self._listener.asked(model, name)
            routed = [dataclasses.replace(request, model=name, adapter=plan.adapter) for request in requests]
            await self._answer(engine, routed, hands_over)

        await fallback.ask(
            self._fleet, plan, ask_one, len(self._requests), needed=needs(self._requests[0]), background=background
        )

    async def _answer(self, engine: Engine, requests: Sequence[protocol.ChatRequest], hands_over: bool) -> None:
        """Let one engine answer. As long as nobody has said anything, its failure is that of the model alone.

        Raises:
            errors.ZoeError: it failed before the first word, and another model may answer.
            _HomeWantedError: it `hands_over`, and did.
        """
        pumps = [
            asyncio.create_task(self._pump(index, engine, request, hands_over))
            for index, request in enumerate(requests)
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
                if isinstance(event, protocol.Failure) and self._may_begin_anew(event):
                    raise event.error
                self._has_spoken = self._has_spoken or not isinstance(event, protocol.Started)
                self._listener.take(index, event)

    def _may_begin_anew(self, failure: protocol.Failure) -> bool:
        return not self._has_spoken and fallback.others_may_answer(failure.error)
