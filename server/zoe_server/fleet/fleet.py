"""`Fleet`: all engines of this server. It starts them in order, lends them to requests, and stops them together.

It knows neither HTTP nor which model suits a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from zoe_server import errors
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine, Health
from zoe_server.engines.registry import create_engine
from zoe_server.fleet.process import EngineKeeper, State
from zoe_server.fleet.restart import RestartPolicy


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where one model stands; `reason` says why it is not ready (it may name files of this machine).

    `info` is what the last engine that was ready told of the model.
    """

    name: str
    state: State
    reason: str
    crashes: int
    load_s: float
    open_requests: int
    health: Health
    info: Mapping[str, Any]


class Fleet:
    """Owns one `EngineKeeper` per model. `ready_wait_s` bounds how long a request waits for an engine to start."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        create: Callable[[ModelSpec], Engine] = create_engine,
        *,
        ready_wait_s: float = 30.0,
        policy: RestartPolicy | None = None,
    ) -> None:
        self._keepers = {spec.name: EngineKeeper(spec, create, policy or RestartPolicy()) for spec in specs}
        self._open = dict.fromkeys(self._keepers, 0)
        self._ready_wait_s = ready_wait_s
        self._tasks: list[asyncio.Task[None]] = []
        self._starting: asyncio.Task[None] | None = None

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """The models, in the order they are loaded."""
        return tuple(keeper.spec for keeper in self._keepers.values())

    def start(self) -> None:
        """Begin to load the models one after the other, in the background."""
        self._starting = asyncio.create_task(self._start_in_order(), name="fleet start")

    async def settled(self) -> None:
        """Return when the first start of every model has succeeded or failed."""
        for keeper in self._keepers.values():
            await keeper.settled()

    @asynccontextmanager
    async def lease(self, model: str, n_requests: int = 1) -> AsyncGenerator[Engine, None]:
        """Lend the engine of `model` for `n_requests` requests at once.

        Raises:
            errors.QueueFullError: as many requests as may run and wait are open already.
            errors.EngineUnavailableError: the engine cannot start, or not in time.
        """
        keeper = self._keepers[model]
        limit = keeper.spec.n_slots + keeper.spec.queue_limit
        if self._open[model] + n_requests > limit:
            raise errors.QueueFullError(
                f"{self._open[model]} requests for model {model!r} are open already, at most {limit} may be; "
                "please try again in a moment",
                retry_after_s=1.0,
            )
        self._open[model] += n_requests
        try:
            yield await keeper.ensure_ready(self._ready_wait_s)
        finally:
            self._open[model] -= n_requests

    def status(self) -> tuple[ModelStatus, ...]:
        """Return where every model stands; never loads or wakes one."""
        return tuple(
            ModelStatus(
                name=name,
                state=keeper.state,
                reason=keeper.reason,
                crashes=keeper.crashes,
                load_s=keeper.load_s,
                open_requests=self._open[name],
                health=keeper.engine.health if keeper.engine else Health(alive=False),
                info=keeper.info,
            )
            for name, keeper in self._keepers.items()
        )

    async def stop(self) -> None:
        """Stop all engines at the same time and return when nothing of them is left."""
        tasks = [task for task in (self._starting, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_in_order(self) -> None:
        for keeper in self._keepers.values():
            self._tasks.append(asyncio.create_task(keeper.run(), name=f"keeper of {keeper.spec.name}"))
            await keeper.settled()
