"""Walk a plan: the first of its candidates whose engine is available answers.

Only before the first token: what was already said to a client is never taken back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from zoe_server import errors
from zoe_server.engines.base import Engine
from zoe_server.fleet.fleet import Fleet
from zoe_server.routing.router import RoutePlan


@asynccontextmanager
async def lease(fleet: Fleet, plan: RoutePlan, n_requests: int = 1) -> AsyncGenerator[tuple[str, Engine], None]:
    """Lend the first available engine of `plan`, with its model's name.

    Raises:
        errors.EngineUnavailableError, errors.QueueFullError: that of the last candidate, when none is available.
    """
    async with AsyncExitStack() as stack:
        *better, last = plan.candidates
        for model in better:
            try:
                engine = await stack.enter_async_context(fleet.lease(model, n_requests))
            except (errors.EngineUnavailableError, errors.QueueFullError):
                continue
            yield model, engine
            return
        yield last, await stack.enter_async_context(fleet.lease(last, n_requests))
