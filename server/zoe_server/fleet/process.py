"""`EngineKeeper`: the single owner of one model's engine. It starts it, notices its end, and starts the next one.

    LOADING --started--> READY --gone--> RESTARTING --started--> READY
       \\--cannot start--> FAILED --after the back-off--> started or FAILED again        any --stop--> STOPPED

Others ask `ensure_ready`; nobody else starts or stops this engine. It knows no HTTP and no kind of engine.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from zoe_server import errors
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.fleet.restart import RestartPolicy

_LOGGER: Final = logging.getLogger(__name__)
_REMEMBERED_FAILURES: Final = 64


class State(Enum):
    """Where one model's engine stands."""

    LOADING = "loading"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


class EngineKeeper:
    """Keeps one engine for `spec` alive from `run` until it is cancelled; `create` makes a new one for every start."""

    def __init__(
        self,
        spec: ModelSpec,
        create: Callable[[ModelSpec], Engine],
        policy: RestartPolicy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self._create = create
        self._policy = policy
        self._clock = clock
        self._changed = asyncio.Condition()
        self._engine: Engine | None = None
        self._failures: deque[float] = deque(maxlen=_REMEMBERED_FAILURES)
        self.state = State.LOADING
        self.reason = "it is being loaded"
        self.crashes = 0
        self.load_s = 0.0
        self.info: Mapping[str, Any] = {}

    @property
    def engine(self) -> Engine | None:
        """The engine while it is ready."""
        return self._engine if self.state is State.READY else None

    async def ensure_ready(self, wait_s: float) -> Engine:
        """Return the running engine, waiting at most `wait_s` for one that is being started.

        Raises:
            errors.EngineUnavailableError: it failed, is stopped, or did not become ready in time.
        """
        try:
            async with asyncio.timeout(wait_s), self._changed:
                await self._changed.wait_for(lambda: self.state not in (State.LOADING, State.RESTARTING))
        except TimeoutError as error:
            raise self._unavailable(f"still {self.state.value} after {wait_s:g} s: {self.reason}") from error
        if self._engine is None or self.state is not State.READY:
            raise self._unavailable(self.reason)
        return self._engine

    async def settled(self) -> None:
        """Return when the first start has succeeded or failed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.state is not State.LOADING)

    async def run(self) -> None:
        """Keep the engine running until this is cancelled, then stop it."""
        try:
            while True:
                await self._live_once()
                delay_s = self._policy.delay_s(self._failures, self._clock())
                _LOGGER.info("model %s: next start in %.2f s", self.spec.name, delay_s)
                await asyncio.sleep(delay_s)
        finally:
            await self._set(State.STOPPED, "the server is stopping")

    async def _live_once(self) -> None:
        """One engine from its start to its end."""
        engine = self._create(self.spec)
        begun = self._clock()
        try:
            await engine.start()
        except errors.ZoeError as error:
            self._failures.append(self._clock())
            _LOGGER.error("model %s cannot be started: %s", self.spec.name, error.message)
            await self._set(State.FAILED, error.message)
            return
        self.load_s = self._clock() - begun
        self.info = engine.info
        try:
            await self._set(State.READY, "", engine)
            reason = await engine.wait_closed()
            self.crashes += 1
            self._failures.append(self._clock())
            _LOGGER.error("the engine of model %s is gone: %s", self.spec.name, reason)
            await self._set(State.RESTARTING, f"its engine is being restarted: {reason}")
        finally:
            await engine.stop()

    async def _set(self, state: State, reason: str, engine: Engine | None = None) -> None:
        self.state, self.reason, self._engine = state, reason, engine
        async with self._changed:
            self._changed.notify_all()

    def _unavailable(self, reason: str) -> errors.EngineUnavailableError:
        return errors.EngineUnavailableError(
            f"the model {self.spec.name!r} is not available: {reason}", retry_after_s=2.0
        )
