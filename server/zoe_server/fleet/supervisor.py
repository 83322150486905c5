"""`Supervisor`: the engine of one model from its start to the moment when nothing is left of it.

It starts and stops it, watches its health, and tells when it went by itself. What that means for the model is not its
to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from zoe_server import errors
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine, Health
from zoe_server.engines.engine_log import N_LINES, LogLine
from zoe_server.fleet.clock import Clock
from zoe_server.fleet.health import HealthPolicy, Verdict, watch
from zoe_server.fleet.restart import RestartPolicy

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineLifecycle:
    """How engines are made and cared for; `changed` is called when one has ended that nobody stopped."""

    create: Callable[[ModelSpec], Engine]
    restart: RestartPolicy
    health: HealthPolicy
    clock: Clock
    changed: Callable[[], None]


class Supervised(Protocol):
    """Who is told of the engine."""

    def engine_gone(self, reason: str, *, unhealthy: bool) -> None:
        """Take note that it went by itself, or was ended because it was `unhealthy`; it still takes memory."""
        ...

    def engine_released(self, *, lost: bool) -> None:
        """Take note that nothing is left of it, or that it is `lost`: its process does not end."""
        ...


class Supervisor:
    """Has one engine at a time, which has `n_used` requests in hand, from `start` to `stop` or until it went."""

    def __init__(self, lifecycle: EngineLifecycle, owner: Supervised, n_used: Callable[[], int]) -> None:
        self._lifecycle = lifecycle
        self._owner = owner
        self._n_used = n_used
        self._engine: Engine | None = None
        self._task: asyncio.Task[None] | None = None
        self._past_log: deque[LogLine] = deque(maxlen=N_LINES)
        self.checked_s: float | None = None

    @property
    def engine(self) -> Engine | None:
        """The engine, from the moment it is made until it is stopped."""
        return self._engine

    @property
    def health(self) -> Health:
        """What the engine last said about itself."""
        return self._engine.health if self._engine is not None else Health(alive=False)

    @property
    def log(self) -> tuple[LogLine, ...]:
        """What all engines wrote last, the oldest first."""
        return (*self._past_log, *(self._engine.log if self._engine is not None else ()))[-N_LINES:]

    async def start(self, spec: ModelSpec) -> Engine:
        """Return a new engine that is ready, and watch it from now on.

        Raises:
            errors.ZoeError: it cannot be started. Its owner was not told of its end yet; `stop` does that.
        """
        self._engine = engine = self._lifecycle.create(spec)
        self.checked_s = None
        try:
            await engine.start()
        except errors.ZoeError:
            raise
        except Exception as error:
            _LOGGER.exception("model %s cannot be started", spec.name)
            raise errors.EngineUnavailableError(f"its engine cannot be started: {error!r}") from error
        self._task = asyncio.create_task(self._watch(engine), name=f"supervisor of {spec.name}")
        return engine

    async def stop(self) -> None:
        """End the engine, wherever it stands in its life."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        if self._engine is not None:
            await self._end(self._engine)

    async def _watch(self, engine: Engine) -> None:
        """Follow one engine until it ends, by itself or because it is not well."""
        lifecycle = self._lifecycle
        closed = asyncio.ensure_future(engine.wait_closed())
        watching = asyncio.create_task(watch(self._look, lifecycle.health, lifecycle.clock, self._checked))
        try:
            await asyncio.wait({closed, watching}, return_when=asyncio.FIRST_COMPLETED)
            if unhealthy := not closed.done():
                await engine.kill(_diagnosis(watching.result(), lifecycle.health))
            self._owner.engine_gone(await closed, unhealthy=unhealthy)
        finally:
            closed.cancel()
            watching.cancel()
        await self._end(engine)
        lifecycle.changed()

    async def _end(self, engine: Engine) -> None:
        """Stop the engine; whatever goes wrong with that, its owner hears what is left of it."""
        try:
            await engine.stop()
        except Exception:
            _LOGGER.exception("an engine could not be stopped in good order")
        self._task = None
        self._release(engine)

    def _release(self, engine: Engine) -> None:
        self._engine = None
        self._past_log.extend(engine.log)
        self._owner.engine_released(lost=engine.lingers)
        if engine.lingers:
            self._task = asyncio.create_task(self._outlive(engine))

    async def _outlive(self, engine: Engine) -> None:
        await engine.wait_ended()
        self._owner.engine_released(lost=False)
        self._lifecycle.changed()

    def _look(self) -> tuple[Health, int]:
        return self.health, self._n_used()

    def _checked(self, now_s: float) -> None:
        self.checked_s = now_s


def _diagnosis(verdict: Verdict, policy: HealthPolicy) -> str:
    if verdict is Verdict.STUCK:
        return f"it made no progress for {policy.stuck_s:g} s"
    return f"it was silent in {policy.n_silent} checks one after another"
