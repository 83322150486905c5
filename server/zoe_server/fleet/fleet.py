"""`Fleet`: all engines of this server, lent to requests. `planner` says who is in memory, `reconciler` brings it about.

It knows neither HTTP nor which model suits a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from zoe_server import errors
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.engine_log import LogLine
from zoe_server.engines.registry import create_engine
from zoe_server.fleet.clock import Clock
from zoe_server.fleet.health import HealthPolicy
from zoe_server.fleet.leases import Lease
from zoe_server.fleet.model import Model
from zoe_server.fleet.model_state import ModelState, ModelStatus
from zoe_server.fleet.planner import FleetPolicy, Urgency
from zoe_server.fleet.reconciler import Reconciler
from zoe_server.fleet.restart import RestartPolicy
from zoe_server.fleet.sizing import NoSizing, Sizing
from zoe_server.fleet.supervisor import EngineLifecycle


class Fleet:
    """Lends the models of `specs`. `ready_wait_s` bounds how long a request waits for an engine."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        create: Callable[[ModelSpec], Engine] = create_engine,
        *,
        ready_wait_s: float = 30.0,
        policy: RestartPolicy | None = None,
        health: HealthPolicy | None = None,
        planning: FleetPolicy | None = None,
        sizing: Sizing | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or Clock()
        self._ready_wait_s = ready_wait_s
        self._lifecycle = EngineLifecycle(
            create, policy or RestartPolicy(), health or HealthPolicy(), clock, self._wake
        )
        self._models = {spec.name: Model(spec, self._lifecycle) for spec in specs}
        self._reconciler = Reconciler(
            tuple(self._models.values()), sizing or NoSizing(), planning or FleetPolicy(), clock
        )
        self._reconciling: asyncio.Task[None] | None = None

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """The models, in the order of preference."""
        return tuple(model.spec for model in self._models.values())

    @property
    def budget_bytes(self) -> int | None:
        """How much memory all models together may take; None while that is unknown, or where it is not bounded."""
        return self._reconciler.budget_bytes

    @property
    def extra_bytes(self) -> int:
        """What a model takes in addition to its size because of how this machine computes."""
        return self._reconciler.extra_bytes

    def start(self) -> None:
        """Begin to load the models that are loaded at start, one after the other, in the background."""
        self._reconciling = asyncio.create_task(self._reconciler.run(), name="reconciler")

    async def watch(self) -> None:
        """Return when a fleet that was started is stopped.

        Raises:
            Exception: it can load nothing any more, because of this error, which nobody has thought of.
        """
        if self._reconciling is not None:
            await asyncio.wait({self._reconciling})
            if not self._reconciling.cancelled():
                self._reconciling.result()

    async def settled(self) -> None:
        """Return when the first start of every model that is loaded at start has succeeded or failed."""
        at_start = [model for model in self._models.values() if model.spec.load == "start"]
        await self._reconciler.until(lambda: all(model.state is not ModelState.LOADING for model in at_start))

    async def enlist(self, name: str, specs: Sequence[ModelSpec]) -> None:
        """Serve `specs` from now on: those that are here, and a new one called `name`.

        A new model that is loaded at start is loaded first, as far as there is room; until then nobody sees it, and the
        others answer as before. What may change of these is their order, and who answers in their place.

        Raises:
            errors.EngineUnavailableError: it cannot be loaded; everything stays as it was.
        """
        known = {spec.name: spec for spec in specs}
        newcomer = Model(known[name], self._lifecycle, is_newcomer=True)
        self._check_order()
        await self._reconciler.add(newcomer)
        await self._reconciler.until(lambda: newcomer.state is not ModelState.LOADING and not newcomer.is_going)
        if newcomer.state in (ModelState.FAILED, ModelState.STOPPED):
            self._reconciler.remove(newcomer)
        if newcomer.state in (ModelState.FAILED, ModelState.STOPPED, ModelState.LOST):
            raise newcomer.error(newcomer.reason)
        self._models = _in_order({**self._models, name: newcomer}, known)

    @asynccontextmanager
    async def lease(self, model: str, n_requests: int = 1, *, background: bool = False) -> AsyncGenerator[Engine, None]:
        """Lend the engine of `model` for `n_requests` requests at once, loading it if it is not in memory.

        Raises:
            errors.QueueFullError: as many requests as may run and wait are open already.
            errors.EngineUnavailableError: the engine cannot start, or not in time.
        """
        lender = self._models[model]
        self._check_order()
        lease = lender.lend(n_requests, Urgency.BACKGROUND if background else Urgency.INTERACTIVE)
        try:
            yield await self._engine_for(lender, lease)
        finally:
            lender.give_back(lease)
            self._wake()

    async def load(self, model: str) -> None:
        """Bring the model into memory now, also out of quarantine.

        Raises:
            errors.EngineUnavailableError: it cannot start, or not in time.
        """
        self._models[model].reset_failures()
        self._wake()
        async with self.lease(model, 0):
            return

    async def unload(self, model: str, *, wait_s: float = 0.0) -> None:
        """Take the model out of memory, pinned or not, once its requests have ended; others wait until it is gone.

        A load that is under way is given up, and who waits for it turned away.

        Raises:
            errors.ModelBusyError: they have not ended after `wait_s`, or somebody loads it again; it stays.
            errors.EngineUnavailableError: its process does not end.
        """
        leaving = self._models[model]
        if not leaving.takes_memory:
            leaving.stay_away()
            return
        if leaving.state is ModelState.LOST:
            raise leaving.error(leaving.reason)
        unload_request = leaving.request_unload()
        self._wake()
        try:
            async with asyncio.timeout(wait_s if leaving.leases.n_used else None):
                problem = await unload_request
        except TimeoutError as error:
            text = f"the model {model!r} still answers {leaving.leases.n_used} requests; try again later"
            raise errors.ModelBusyError(text) from error
        finally:
            leaving.unload_requests.recall(unload_request)
            self._wake()
        if problem is not None:
            raise problem

    def status(self) -> tuple[ModelStatus, ...]:
        """Return where every model stands; never loads or wakes one."""
        return tuple(model.status() for model in self._models.values())

    def log(self, model: str) -> tuple[LogLine, ...]:
        """Return what the engines of the model wrote last, the oldest first."""
        return self._models[model].log

    async def stop(self) -> None:
        """Stop all engines at the same time and return when nothing of them is left, or can be ended."""
        if self._reconciling is not None:
            self._reconciling.cancel()
            await asyncio.wait({self._reconciling})
        await asyncio.gather(*(model.stop() for model in self._reconciler.models))

    async def _engine_for(self, model: Model, lease: Lease) -> Engine:
        if lease.waits and (error := model.unavailable()) is not None:
            raise error
        self._wake()
        try:
            async with asyncio.timeout(self._ready_wait_s):
                await lease.let_in
        except TimeoutError as error:
            wait = self._reconciler.explain_wait(model)
            raise model.error(f"after {self._ready_wait_s:g} s {wait}") from error
        if model.engine is None:  # it went away at the moment it came
            raise model.error(model.reason)
        return model.engine

    def _check_order(self) -> None:
        """Refuse to wait for a reconciler that is gone; its last words are in the log."""
        task = self._reconciling
        if task is not None and task.done() and not task.cancelled():
            raise errors.EngineUnavailableError("the server is out of order; its log says why, and a restart helps")

    def _wake(self) -> None:
        self._reconciler.wake()


def _in_order(models: Mapping[str, Model], specs: Mapping[str, ModelSpec]) -> dict[str, Model]:
    """Return the models in the order of `specs`, with their fallbacks; those that `specs` lack come last, unchanged."""
    for name, spec in specs.items():
        models[name].fall_back_on(spec.fallback)
    return {name: models[name] for name in (*specs, *(name for name in models if name not in specs))}
