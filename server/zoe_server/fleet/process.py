"""`EngineKeeper`: the single owner of one model's engine. It starts it, watches it, and takes note of its end.

    UNLOADED --load--> LOADING --started--> READY --unload--> UNLOADED              any --stop--> STOPPED
                         \\--cannot start--> FAILED: not before `not_before_s`
    any --its process does not end, not even when it is killed--> LOST, until it ends: then UNLOADED
    READY --gone, stuck or silent--> RESTARTING (UNLOADED, if nobody needs it without being asked)
                         \\--too often--> QUARANTINED, until `not_before_s` or an explicit load

The reconciler says when; nobody else starts or stops this engine. It knows no HTTP and no kind of engine.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from zoe_server import errors
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine, Health, Loading
from zoe_server.engines.engine_log import N_LINES, LogLine
from zoe_server.fleet.clock import Clock
from zoe_server.fleet.health import HealthPolicy, Verdict, watch
from zoe_server.fleet.planner import Phase
from zoe_server.fleet.restart import RestartPolicy
from zoe_server.fleet.tickets import Tickets

_LOGGER: Final = logging.getLogger(__name__)
_REMEMBERED_FAILURES: Final = 64


class State(Enum):
    """Where one model's engine stands."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    RESTARTING = "restarting"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    LOST = "lost"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Care:
    """How engines are cared for."""

    restart: RestartPolicy
    health: HealthPolicy
    clock: Clock


class EngineKeeper:
    """Keeps the engine of `spec`; `create` makes a new one for every start, `changed` is called when it has ended.

    While `phase` is not None, the model takes memory. A model `at_home` is to be in memory without being asked for, as
    far as it `fits`. Moments in seconds by the clock.
    """

    def __init__(
        self, spec: ModelSpec, create: Callable[[ModelSpec], Engine], care: Care, changed: Callable[[], None]
    ) -> None:
        self.spec = spec
        self.tickets = Tickets()
        self.state = State.LOADING if spec.load == "start" else State.UNLOADED
        self.reason = "it is being loaded" if spec.load == "start" else "it is loaded when somebody asks for it"
        self.phase: Phase | None = None
        self.at_home = spec.load == "start"
        self.fits = True
        self.not_before_s = -math.inf
        self.crashes = 0
        self.n_ready = 0
        self.load_s = 0.0
        self.info: Mapping[str, Any] = {}
        self.loaded_at_s = self.last_used_s = 0.0
        self.checked_s: float | None = None
        self._create = create
        self._care = care
        self._changed = changed
        self._engine: Engine | None = None
        self._starting: Engine | None = None
        self._past_log: deque[LogLine] = deque(maxlen=N_LINES)
        self._life: asyncio.Task[None] | None = None
        self._failures: deque[float] = deque(maxlen=_REMEMBERED_FAILURES)
        self._crash_moments: deque[float] = deque(maxlen=_REMEMBERED_FAILURES)

    @property
    def engine(self) -> Engine | None:
        """The engine while it is ready."""
        return self._engine if self.state is State.READY else None

    @property
    def health(self) -> Health:
        """What the engine last said about itself."""
        return self._engine.health if self._engine is not None else Health(alive=False)

    @property
    def pid(self) -> int | None:
        """The process of the engine that runs or is started."""
        engine = self._starting or self._engine
        return None if engine is None else engine.pid

    @property
    def loading(self) -> Loading | None:
        """How far its load is, None if nothing is loaded or nothing is known."""
        return self._starting.loading if self._starting is not None else None

    @property
    def log(self) -> tuple[LogLine, ...]:
        """What its engines wrote last, the oldest first, those before the present one, too."""
        engine = self._starting or self._engine
        return (*self._past_log, *(engine.log if engine is not None else ()))[-N_LINES:]

    def unavailable(self) -> errors.EngineUnavailableError | None:
        """Return why nobody can even wait for this model now, None if it makes sense to wait."""
        due = self._care.clock.now_s() >= self.not_before_s
        if self.state in (State.STOPPED, State.LOST) or (self.state in (State.FAILED, State.QUARANTINED) and not due):
            return self.error(self.reason)
        return None

    def error(self, reason: str) -> errors.EngineUnavailableError:
        """Return the error of a request that this model cannot answer for `reason`."""
        text = f"the model {self.spec.name!r} is not available: {reason}"
        return errors.EngineUnavailableError(text, retry_after_s=2.0)

    async def load(self) -> errors.ZoeError | None:
        """Start an engine; return why that failed. Nothing of it is left then."""
        self.phase = Phase.LOADING
        if self.state is not State.RESTARTING:
            self.state, self.reason = State.LOADING, "it is being loaded"
        begun_s = self._care.clock.now_s()
        engine = self._starting = self._create(self.spec)
        try:
            await engine.start()
        except errors.ZoeError as error:
            self._cannot_start(error)
            self._settle(engine)
            return error
        except Exception as error:
            _LOGGER.exception("model %s cannot be started", self.spec.name)
            unknown = errors.EngineUnavailableError(f"its engine cannot be started: {error!r}")
            self._cannot_start(unknown)
            self._settle(engine)
            return unknown
        finally:
            self._starting = None
        self.loaded_at_s = self.last_used_s = self._care.clock.now_s()
        self.load_s = self.loaded_at_s - begun_s
        self.info = engine.info
        self.n_ready += 1
        self._engine, self.phase, self.checked_s = engine, Phase.READY, None
        self.state, self.reason = State.READY, ""
        self.at_home, self.fits = self.spec.load == "start", True
        self._life = asyncio.create_task(self._live(engine), name=f"keeper of {self.spec.name}")
        return None

    async def unload(self, reason: str) -> None:
        """Stop the engine; return when its memory is free."""
        self.phase = Phase.LEAVING
        self.state, self.reason = State.UNLOADING, "it is being unloaded"
        engine = await self._end()
        self.state, self.reason = State.UNLOADED, reason
        self._settle(engine)

    async def stop(self) -> None:
        """Stop for good."""
        error = self.error("the server is stopping")
        try:
            await self._end()
        finally:
            self.phase = None
            self.state, self.reason = State.STOPPED, "the server is stopping"
            self.tickets.turn_away(error)

    def forgive(self) -> None:
        """Forget what went wrong: it may be started at once."""
        self.not_before_s, self.fits = -math.inf, True
        self._failures.clear()
        self._crash_moments.clear()
        if self.state in (State.FAILED, State.QUARANTINED):
            self.state, self.reason = State.UNLOADED, "it is loaded when somebody asks for it"

    def refuse(self, reason: str) -> None:
        """Take note that there is no room for it, however long it waits."""
        self.state, self.reason, self.fits = State.FAILED, reason, False
        self.tickets.turn_away(self.error(reason))

    def _cannot_start(self, error: errors.ZoeError) -> None:
        now_s = self._care.clock.now_s()
        self._failures.append(now_s)
        policy = self._care.restart
        lacks_memory = isinstance(error, errors.OutOfMemoryError)
        self.not_before_s = now_s + (policy.no_memory_s if lacks_memory else policy.delay_s(self._failures, now_s))
        self.state, self.reason = State.FAILED, error.message
        _LOGGER.error("model %s cannot be started: %s", self.spec.name, error.message)
        self.tickets.turn_away(self._as_told(error))

    def _as_told(self, error: errors.ZoeError) -> errors.ZoeError:
        told = self.error(error.message)
        if isinstance(error, errors.OutOfMemoryError):
            return errors.OutOfMemoryError(told.message, retry_after_s=told.retry_after_s)
        return told

    async def _live(self, engine: Engine) -> None:
        """Watch one engine until it ends, by itself or because it is not well."""
        closed = asyncio.ensure_future(engine.wait_closed())
        watching = asyncio.create_task(watch(self._look, self._care.health, self._care.clock, self._checked))
        try:
            await asyncio.wait({closed, watching}, return_when=asyncio.FIRST_COMPLETED)
            delay_s = None
            if not closed.done():
                delay_s = self._care.restart.unhealthy_s
                await self._put_down(engine, watching.result())
            self._gone(await closed, delay_s)
        finally:
            closed.cancel()
            watching.cancel()
        await engine.stop()
        self._engine = self._life = None
        self._settle(engine)
        self._changed()

    def _settle(self, engine: Engine | None) -> None:
        """Take note that an engine was stopped: its memory is free, unless its process does not end."""
        if engine is not None:
            self._past_log.extend(engine.log)
        if engine is None or not engine.lingers:
            self.phase = None
            return
        self.phase, self.state = Phase.LOST, State.LOST
        self.reason = "its process does not end, not even when it is killed; what it takes counts until it does"
        _LOGGER.error("model %s is lost: %s", self.spec.name, self.reason)
        self.tickets.turn_away(self.error(self.reason))
        self._life = asyncio.create_task(self._await_end(engine), name=f"the end of {self.spec.name}")

    async def _await_end(self, engine: Engine) -> None:
        await engine.wait_ended()
        self.phase, self.state = None, State.UNLOADED
        self.reason = "its process has ended at last; it is loaded when somebody asks for it"
        _LOGGER.warning("model %s: %s", self.spec.name, self.reason)
        self._changed()

    async def _put_down(self, engine: Engine, verdict: Verdict) -> None:
        policy = self._care.health
        if verdict is Verdict.STUCK:
            await engine.kill(f"it made no progress for {policy.stuck_s:g} s")
        else:
            await engine.kill(f"it was silent in {policy.n_silent} checks one after another")

    def _look(self) -> tuple[Health, int]:
        return self.health, self.tickets.n_used

    def _checked(self, now_s: float) -> None:
        self.checked_s = now_s

    def _gone(self, reason: str, delay_s: float | None) -> None:
        """Take note of the engine's end; it still takes memory until it is stopped."""
        now_s, policy = self._care.clock.now_s(), self._care.restart
        self.crashes += 1
        self._failures.append(now_s)
        self._crash_moments.append(now_s)
        self.phase = Phase.LEAVING
        _LOGGER.error("the engine of model %s is gone: %s", self.spec.name, reason)
        if policy.quarantines(self._crash_moments, now_s):
            self._quarantine(reason, now_s + policy.quarantine_s)
            return
        self.not_before_s = now_s + (policy.delay_s(self._failures, now_s) if delay_s is None else delay_s)
        if self.at_home or self.tickets.waiting:
            self.state, self.reason = State.RESTARTING, f"its engine is being restarted: {reason}"
        else:
            self.state, self.reason = State.UNLOADED, f"its engine is gone: {reason}"

    def _quarantine(self, reason: str, until_s: float) -> None:
        minutes = self._care.restart.quarantine_s / 60
        self.not_before_s = until_s
        self.reason = f"its engine crashed too often and is left alone for {minutes:g} min: {reason}"
        self.state = State.QUARANTINED
        self._crash_moments.clear()
        _LOGGER.error("model %s: %s", self.spec.name, self.reason)
        self.tickets.turn_away(self.error(self.reason))

    async def _end(self) -> Engine | None:
        """Stop the engine, wherever it stands in its life, and return it."""
        life, engine = self._life, self._engine
        if life is not None:
            life.cancel()
            await asyncio.wait({life})
        if engine is not None:
            await engine.stop()
        self._life = self._engine = None
        return engine
