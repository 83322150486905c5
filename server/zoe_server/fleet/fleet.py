"""`Fleet`: all engines of this server, lent to requests. `planner` says who is in memory, `reconciler` brings it about.

It knows neither HTTP nor which model suits a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from zoe_server import errors
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine, Health, Loading
from zoe_server.engines.engine_log import LogLine
from zoe_server.engines.registry import create_engine
from zoe_server.fleet.berth import Berth
from zoe_server.fleet.clock import Clock
from zoe_server.fleet.events import FleetEvent
from zoe_server.fleet.health import HealthPolicy
from zoe_server.fleet.planner import FleetPolicy, Urgency
from zoe_server.fleet.process import Care, EngineKeeper, State
from zoe_server.fleet.reconciler import Reconciler
from zoe_server.fleet.restart import RestartPolicy
from zoe_server.fleet.sizing import NoSizing, Sizing
from zoe_server.fleet.tickets import Ticket

_UNLOADING: Final = "it is being unloaded"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where one model stands; `reason` says why it is not ready (it may name files of this machine).

    It `is_starting` while the server has just begun and loads it. `info` is what the last engine that was ready told of
    the model. `size_bytes` is what the model takes, or would; `resident_bytes` is 0 while it is not in memory.
    `checked_ago_s` is the age of the last look at its health, None if there was none; `quarantined_s` is how long it
    will still be left alone. `loading` is how far it is while it is being loaded, where that is known.
    """

    name: str
    state: State
    reason: str
    crashes: int
    load_s: float
    open_requests: int
    health: Health
    info: Mapping[str, Any]
    is_starting: bool = False
    restarts: int = 0
    waiting_requests: int = 0
    pinned: bool = False
    size_bytes: int = 0
    resident_bytes: int = 0
    checked_ago_s: float | None = None
    quarantined_s: float = 0.0
    loading: Loading | None = None


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
        self._clock = clock or Clock()
        self._ready_wait_s = ready_wait_s
        self._observers: list[Callable[[FleetEvent], None]] = []
        self._create = create
        self._care = Care(policy or RestartPolicy(), health or HealthPolicy(), self._clock)
        self._berths = {spec.name: Berth(self._keeper(spec)) for spec in specs}
        self._reconciler = Reconciler(
            tuple(self._berths.values()), sizing or NoSizing(), planning or FleetPolicy(), self._clock, self.tell
        )
        self._open = dict.fromkeys(self._berths, 0)
        self._reconciling: asyncio.Task[None] | None = None

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """The models, in the order of preference."""
        return tuple(berth.keeper.spec for berth in self._berths.values())

    @property
    def budget_bytes(self) -> int | None:
        """How much memory all models together may take; None while that is unknown, or where it is not bounded."""
        return self._reconciler.budget_bytes

    @property
    def extra_bytes(self) -> int:
        """What a model takes in addition to its size because of how this machine computes."""
        return self._reconciler.extra_bytes

    def observe(self, observer: Callable[[FleetEvent], None]) -> None:
        """Call `observer` with everything that happens from now on."""
        self._observers.append(observer)

    def tell(self, event: FleetEvent) -> None:
        """Tell all observers."""
        for observer in self._observers:
            observer(event)

    def start(self) -> None:
        """Begin to load the models that are at home here, one after the other, in the background."""
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
        """Return when the first start of every model that is at home here has succeeded or failed."""
        home = [berth.keeper for berth in self._berths.values() if berth.keeper.spec.load == "start"]
        await self._reconciler.until(lambda: all(keeper.state is not State.LOADING for keeper in home))

    async def enlist(self, name: str, specs: Sequence[ModelSpec]) -> None:
        """Serve `specs` from now on: those that are here, and a new one called `name`.

        A new model that is at home here is loaded first, as far as there is room; until then nobody sees it, and the
        others answer as before. What may change of these is their order, and who answers in their place.

        Raises:
            errors.EngineUnavailableError: it cannot be loaded; everything stays as it was.
        """
        known = {spec.name: spec for spec in specs}
        newcomer = Berth(self._keeper(known[name]), is_newcomer=True)
        keeper = newcomer.keeper
        self._check_order()
        await self._reconciler.admit(newcomer)
        await self._reconciler.until(lambda: keeper.state is not State.LOADING)
        if keeper.state in (State.FAILED, State.STOPPED):
            self._reconciler.dismiss(newcomer)
            raise keeper.error(keeper.reason)
        self._open[name] = 0
        self._berths = _in_order({**self._berths, name: newcomer}, known)

    @asynccontextmanager
    async def lease(self, model: str, n_requests: int = 1, *, background: bool = False) -> AsyncGenerator[Engine, None]:
        """Lend the engine of `model` for `n_requests` requests at once, loading it if it is not in memory.

        Raises:
            errors.QueueFullError: as many requests as may run and wait are open already.
            errors.EngineUnavailableError: the engine cannot start, or not in time.
        """
        berth = self._berths[model]
        self._check_order()
        self._check_limit(berth, n_requests)
        self._open[model] += n_requests
        urgency = Urgency.BACKGROUND if background else Urgency.INTERACTIVE
        ticket = berth.keeper.tickets.take(self._clock.now_s(), urgency)
        try:
            yield await self._engine_for(berth, ticket)
        finally:
            self._open[model] -= n_requests
            if ticket.is_used:
                berth.keeper.last_used_s = self._clock.now_s()
            berth.keeper.tickets.give_back(ticket)
            self._wake()

    async def load(self, model: str) -> None:
        """Bring the model into memory now, also out of quarantine.

        Raises:
            errors.EngineUnavailableError: it cannot start, or not in time.
        """
        berth = self._berths[model]
        berth.keeper.forgive()
        berth.dismissals.clear()
        self._wake()
        async with self.lease(model, 0):
            return

    async def unload(self, model: str, *, wait_s: float = 0.0) -> None:
        """Take the model out of memory, pinned or not, once its requests have ended; until then it takes no others.

        Raises:
            errors.ModelBusyError: they have not ended after `wait_s`, or somebody loads it again; it stays.
            errors.EngineUnavailableError: its process does not end.
        """
        berth = self._berths[model]
        keeper = berth.keeper
        if keeper.phase is None:
            keeper.at_home = False
            return
        if (lost := self._lost(berth)) is not None:
            raise lost
        dismissal = object()
        berth.dismissals.add(dismissal)
        berth.draining = True
        berth.keeper.tickets.turn_away(berth.keeper.error(_UNLOADING))
        self._wake()
        ends = (State.LOST, State.STOPPED)
        try:
            async with asyncio.timeout(wait_s if berth.keeper.tickets.n_used else None):
                await self._reconciler.until(
                    lambda: keeper.phase is None or keeper.state in ends or dismissal not in berth.dismissals
                )
        except TimeoutError as error:
            text = f"the model {model!r} still answers {keeper.tickets.n_used} requests; try again later"
            raise errors.ModelBusyError(text) from error
        finally:
            berth.dismissals.discard(dismissal)
            self._wake()
        if (lost := self._lost(berth)) is not None:
            raise lost
        if keeper.phase is not None:
            raise errors.ModelBusyError(f"the model {model!r} stays, because somebody loads it again")

    @staticmethod
    def _lost(berth: Berth) -> errors.EngineUnavailableError | None:
        keeper = berth.keeper
        return keeper.error(keeper.reason) if keeper.state is State.LOST else None

    def pin(self, model: str, *, pinned: bool = True) -> None:
        """Say whether the model has to stay once it is in memory."""
        self._berths[model].pinned = pinned
        for berth in self._berths.values():
            berth.keeper.fits = True
        self._wake()

    def status(self) -> tuple[ModelStatus, ...]:
        """Return where every model stands; never loads or wakes one."""
        return tuple(self._status(name, berth) for name, berth in self._berths.items())

    def log(self, model: str) -> tuple[LogLine, ...]:
        """Return what the engines of the model wrote last, the oldest first."""
        return self._berths[model].keeper.log

    async def stop(self) -> None:
        """Stop all engines at the same time and return when nothing of them is left."""
        if self._reconciling is not None:
            self._reconciling.cancel()
            await asyncio.wait({self._reconciling})
        await asyncio.gather(*(berth.keeper.stop() for berth in self._reconciler.berths))

    def _keeper(self, spec: ModelSpec) -> EngineKeeper:
        return EngineKeeper(spec, self._create, self._care, self._wake)

    async def _engine_for(self, berth: Berth, ticket: Ticket) -> Engine:
        keeper = berth.keeper
        if berth.is_open:
            ticket.let_in.set_result(True)
        elif (error := keeper.unavailable()) is not None:
            raise error
        elif berth.dismissed:
            raise keeper.error(_UNLOADING)
        self._wake()
        try:
            async with asyncio.timeout(self._ready_wait_s):
                await ticket.let_in
        except TimeoutError as error:
            wait = self._reconciler.explain_wait(berth)
            raise keeper.error(f"after {self._ready_wait_s:g} s {wait}") from error
        if keeper.engine is None:  # it went away at the moment it came
            raise keeper.error(keeper.reason)
        return keeper.engine

    def _check_order(self) -> None:
        """Refuse to wait for a reconciler that is gone; its last words are in the log."""
        task = self._reconciling
        if task is not None and task.done() and not task.cancelled():
            raise errors.EngineUnavailableError("the server is out of order; its log says why, and a restart helps")

    def _check_limit(self, berth: Berth, n_requests: int) -> None:
        spec = berth.keeper.spec
        limit = spec.n_slots + spec.queue_limit
        if self._open[spec.name] + n_requests > limit:
            raise errors.QueueFullError(
                f"{self._open[spec.name]} requests for model {spec.name!r} are open already, at most {limit} may be; "
                "please try again in a moment",
                retry_after_s=1.0,
            )

    def _status(self, name: str, berth: Berth) -> ModelStatus:
        keeper, now_s = berth.keeper, self._clock.now_s()
        is_loading = keeper.state is State.LOADING and keeper.spec.load == "start"
        quarantined = keeper.state is State.QUARANTINED
        return ModelStatus(
            name=name,
            state=keeper.state,
            reason=keeper.reason,
            crashes=keeper.crashes,
            load_s=keeper.load_s,
            open_requests=self._open[name],
            health=keeper.health,
            info=keeper.info,
            is_starting=is_loading and not keeper.n_ready and not berth.is_newcomer,
            restarts=max(0, keeper.n_ready - 1),
            waiting_requests=len(keeper.tickets.waiting),
            pinned=berth.pinned,
            size_bytes=berth.size_bytes,
            resident_bytes=berth.size_bytes if keeper.phase is not None else 0,
            checked_ago_s=None if keeper.checked_s is None else now_s - keeper.checked_s,
            quarantined_s=max(0.0, keeper.not_before_s - now_s) if quarantined else 0.0,
            loading=keeper.loading,
        )

    def _wake(self) -> None:
        self._reconciler.wake()


def _in_order(berths: Mapping[str, Berth], specs: Mapping[str, ModelSpec]) -> dict[str, Berth]:
    """Return the berths in the order of `specs`, with their fallbacks; those that `specs` lack come last, unchanged."""
    for name, spec in specs.items():
        keeper = berths[name].keeper
        keeper.spec = replace(keeper.spec, fallback=spec.fallback)
    return {name: berths[name] for name in (*specs, *(name for name in berths if name not in specs))}
