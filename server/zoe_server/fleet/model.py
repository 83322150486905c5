"""`Model`: one model of the fleet, the only owner of its state: its engine, its leases, what it takes of the memory.

    from                         to            by
    unloaded, failed             loading       load
    loading, restarting          ready         load
    loading, restarting          failed        load, or fail: its engine cannot start
    ready                        unloading     unload
    loading, restarting          unloading     unload, which gives the load up
    unloading                    unloaded      unload, when its memory is free
    ready                        restarting    its engine is gone, and somebody needs it
    ready                        unloaded      its engine is gone, and nobody needs it
    ready                        quarantined   its engine is gone, for the third time in short
    failed, quarantined          unloaded      reset_failures
    unloaded, loading, restarting  failed      refuse: there can be no room for it
    loading, restarting          unloaded      leave_out: there is no room now, and nobody asks
    loading, restarting          unloaded      stay_away: its load has not begun, and nobody asks
    unloading, failed            lost          its process does not end, not even when it is killed
    unloaded, restarting, quarantined  lost    the same, after its engine was gone
    loading, ready               lost          the same, when the server stops
    lost                         unloaded      its process ended at last
    any                          stopped       stop

A model that is to be in memory from the start begins as `loading`, others as `unloaded`; one that is `restarting`
remains that while it is loaded. Who waits for a load that is given up is turned away; who asks while it is unloading
waits, and it is loaded again. The reconciler says when.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from zoe_server import errors
from zoe_server.catalogue.model_info import ModelInfo
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.engine_log import LogLine
from zoe_server.fleet.leases import Lease, Leases, UnloadRequest, UnloadRequests
from zoe_server.fleet.model_state import ModelState, ModelStatus
from zoe_server.fleet.planner import Resident, Urgency, Want
from zoe_server.fleet.restart import Failures
from zoe_server.fleet.sizing import LoadedModel
from zoe_server.fleet.supervisor import EngineLifecycle, Supervisor

_LOGGER: Final = logging.getLogger(__name__)
_COMING: Final = (ModelState.LOADING, ModelState.RESTARTING)
_ON_DEMAND: Final = "it is loaded when somebody asks for it"


class Model:
    """See the module. A newcomer arrived after the server had begun, which was ready without it.

    One that `loads_at_start` is to be in memory unasked, as far as it `fits`. Moments in seconds by the clock.
    """

    def __init__(self, spec: ModelSpec, lifecycle: EngineLifecycle, *, is_newcomer: bool = False) -> None:
        self.spec = spec
        self.leases = Leases(spec.name, spec.n_slots + spec.queue_limit)
        self.unload_requests = UnloadRequests()
        self.loads_at_start = spec.load == "start"
        self.state = ModelState.LOADING if self.loads_at_start else ModelState.UNLOADED
        self.reason = "it is being loaded" if self.loads_at_start else _ON_DEMAND
        self.fits = True
        self.draining = False
        self.size_bytes = 0
        self._lifecycle = lifecycle
        self._is_newcomer = is_newcomer
        self._failures = Failures(lifecycle.restart)
        self._estimated_bytes = 0
        self._supervisor = Supervisor(lifecycle, self, lambda: self.leases.n_used)
        self.takes_memory = False  # also on its way there or away
        self.is_going = False  # the engine went by itself, or could not start, and is not stopped yet
        self._info: ModelInfo | None = None
        self._n_ready = 0
        self._load_s = self._loaded_at_s = self._last_used_s = 0.0

    @property
    def name(self) -> str:
        """Its own name."""
        return self.spec.name

    @property
    def engine(self) -> Engine | None:
        """The engine while it is ready."""
        return self._supervisor.engine if self.state is ModelState.READY else None

    @property
    def is_open(self) -> bool:
        """Whether a request may use the engine at once."""
        return self.engine is not None and not self.draining

    @property
    def is_to_unload(self) -> bool:
        """Whether somebody wants it to go."""
        return bool(self.unload_requests)

    @property
    def not_before_s(self) -> float:
        """From when on its engine may be started."""
        return self._failures.not_before_s

    @property
    def log(self) -> tuple[LogLine, ...]:
        """What its engines wrote last, the oldest first, those before the present one, too."""
        return self._supervisor.log

    def resident(self) -> Resident | None:
        """Return what takes memory, None if nothing does."""
        if not self.takes_memory:
            return None
        keep_s = self.spec.keep_alive_s
        return Resident(
            self.name,
            self.size_bytes,
            ModelState.UNLOADING if self.is_going else self.state,
            open_requests=self.leases.n_used,
            pinned=self.spec.pinned,
            loads_at_start=self.spec.load == "start",
            draining=self.draining,
            to_unload=self.is_to_unload,
            loaded_at_s=self._loaded_at_s,
            last_used_s=self._last_used_s,
            keep_until_s=math.inf if keep_s is None else self._last_used_s + keep_s,
        )

    def loaded(self) -> LoadedModel | None:
        """Return what is in memory, None if nothing is."""
        engine = self._supervisor.engine
        return LoadedModel(self.spec, self.size_bytes, engine.pid if engine else None) if self.takes_memory else None

    def want(self) -> Want | None:
        """Return what is wanted of the model, None if nothing is."""
        if (most_urgent := self.leases.most_urgent) is not None:
            return Want(self.name, self.size_bytes, most_urgent.since_s, most_urgent.urgency)
        is_missing = self.loads_at_start and self.fits and not self.takes_memory
        return Want(self.name, self.size_bytes, 0.0, Urgency.STARTUP) if is_missing else None

    def status(self) -> ModelStatus:
        """Return where it stands."""
        now_s, supervisor = self._lifecycle.clock.now_s(), self._supervisor
        is_loading = self.state is ModelState.LOADING and self.spec.load == "start"
        quarantined = self.state is ModelState.QUARANTINED
        return ModelStatus(
            name=self.name,
            state=self.state,
            reason=self.reason,
            crashes=self._failures.n_crashes,
            load_s=self._load_s,
            open_requests=self.leases.n_requests,
            health=supervisor.health,
            info=self._info,
            is_starting=is_loading and not self._n_ready and not self._is_newcomer,
            restarts=max(0, self._n_ready - 1),
            waiting_requests=len(self.leases.waiting),
            pinned=self.spec.pinned,
            size_bytes=self.size_bytes,
            resident_bytes=self.size_bytes if self.takes_memory else 0,
            checked_ago_s=None if supervisor.checked_s is None else now_s - supervisor.checked_s,
            quarantined_s=max(0.0, self.not_before_s - now_s) if quarantined else 0.0,
            loading=supervisor.engine.loading if supervisor.engine is not None else None,
        )

    def unavailable(self) -> errors.EngineUnavailableError | None:
        """Return why nobody can even wait for this model now, None if it makes sense to wait."""
        not_due = self._lifecycle.clock.now_s() < self.not_before_s
        has_ended = self.state in (ModelState.STOPPED, ModelState.LOST)
        has_failed = self.state in (ModelState.FAILED, ModelState.QUARANTINED) and not_due
        return self.error(self.reason) if has_ended or has_failed else None

    def error(
        self, reason: str, kind: type[errors.EngineUnavailableError] = errors.EngineUnavailableError
    ) -> errors.EngineUnavailableError:
        """Return the error of a request that this model cannot answer for `reason`."""
        return kind(f"the model {self.name!r} is not available: {reason}", retry_after_s=2.0)

    def lend(self, n_requests: int, urgency: Urgency) -> Lease:
        """Return a lease, whose owner may have to wait.

        Raises:
            errors.QueueFullError: as many requests as may run and wait are open already.
        """
        lease = self.leases.take(n_requests, urgency, self._lifecycle.clock.now_s())
        if self.is_open:
            lease.let_in.set_result(True)
        return lease

    def give_back(self, lease: Lease) -> None:
        """Take note that a lease has ended."""
        if lease.is_used:
            self._last_used_s = self._lifecycle.clock.now_s()
        self.leases.give_back(lease)

    def admit(self) -> None:
        """Let in who waits, if it is open."""
        if self.is_open:
            self.leases.let_in()

    def drain(self) -> None:
        """Let new requests wait, so that it can go."""
        self.draining = True

    def reopen(self) -> None:
        """Let requests through again."""
        self.draining = False

    def request_unload(self) -> UnloadRequest:
        """Say that it is to go, pinned or not, or need not come; new requests wait until it is gone."""
        self.draining = True
        if self.state in _COMING:
            self.leases.turn_away(self.error("it was to be unloaded before it was loaded"))
        return self.unload_requests.add()

    def reset_failures(self) -> None:
        """Forget what went wrong, and who wants it to go, unless it goes already: it may be started at once."""
        self._failures.reset_failures()
        if self.state is not ModelState.UNLOADING:
            text = f"the model {self.name!r} stays, because somebody loads it again"
            self.unload_requests.end(errors.ModelBusyError(text))
        self.fits = True
        if self.state in (ModelState.FAILED, ModelState.QUARANTINED):
            self._become(ModelState.UNLOADED, _ON_DEMAND)

    def refuse(self, reason: str) -> None:
        """Take note that there is no room for it, however long it waits."""
        self.fits = False
        self.size_bytes = self._estimated_bytes
        self._become(ModelState.FAILED, reason)
        self.leases.turn_away(self.error(reason))

    def leave_out(self, reason: str) -> None:
        """Take note that there is no room for it now, and that nobody in particular asks for it."""
        self._become(ModelState.UNLOADED, f"{reason}; {_ON_DEMAND}")

    def estimate(self, size_bytes: int) -> None:
        """Take note of what it will take, as far as anybody knows."""
        self.size_bytes = self._estimated_bytes = size_bytes

    def resize(self, size_bytes: int) -> None:
        """Take note of what it really takes, or needs."""
        self.size_bytes = size_bytes

    def may_fit_again(self) -> None:
        """Take note that there may be room for it now."""
        self.fits = True

    def stay_away(self) -> None:
        """Take note that it is not to come back without being asked for."""
        self.loads_at_start = False
        if self.state in _COMING and not self.takes_memory and not self.leases.waiting:
            self._become(ModelState.UNLOADED, _ON_DEMAND)

    def fall_back_on(self, name: str | None) -> None:
        """Let the model `name` answer where this one cannot."""
        self.spec = replace(self.spec, fallback=name)

    def load(self) -> Callable[[], Awaitable[errors.ZoeError | None]]:
        """Begin to load it; the result goes on, and returns why that failed. Nothing of the engine is left then."""
        self.takes_memory, self.draining = True, False
        if self.state is not ModelState.RESTARTING:
            self._become(ModelState.LOADING, "it is being loaded")
        return self._load

    async def fail(self, error: errors.ZoeError) -> errors.ZoeError:
        """Give up a load because of `error`, which is returned once nothing of the engine is left."""
        self._cannot_start(error)
        await self._supervisor.stop()
        if self.is_going:  # there was no engine yet
            self.engine_released(lost=False)
        return error

    def unload(self) -> Callable[[str], Awaitable[None]]:
        """Begin to unload it; the result goes on, for a reason, until it takes no memory any more, or is lost."""
        self.draining = True
        self._become(ModelState.UNLOADING, "it is being unloaded")
        return self._unload

    async def stop(self) -> None:
        """Stop for good."""
        try:
            await self._supervisor.stop()
        finally:
            self.takes_memory = False
            self._become(ModelState.STOPPED, "the server is stopping")
            self.leases.turn_away(self.error(self.reason))
            self.unload_requests.end()

    async def _load(self) -> errors.ZoeError | None:
        begun_s = self._lifecycle.clock.now_s()
        try:
            engine = await self._supervisor.start(self.spec)
        except errors.ZoeError as error:
            return await self.fail(error)
        self._loaded_at_s = self._last_used_s = self._lifecycle.clock.now_s()
        self._load_s = self._loaded_at_s - begun_s
        self._info = engine.info
        self._n_ready += 1
        self.loads_at_start, self.fits = self.spec.load == "start", True
        self._become(ModelState.READY, "")
        return None

    async def _unload(self, reason: str) -> None:
        await self._supervisor.stop()
        self.draining = False
        if self.state is not ModelState.LOST:
            self.engine_released(lost=False)  # there may have been none yet
            self._become(ModelState.UNLOADED, reason)

    def _cannot_start(self, error: errors.ZoeError) -> None:
        lacks_memory = isinstance(error, kind := errors.OutOfMemoryError)
        self._failures.cannot_start(self._lifecycle.clock.now_s(), lacks_memory=lacks_memory)
        self.is_going = True
        self._become(ModelState.FAILED, error.message)
        _LOGGER.error("model %s cannot be started: %s", self.name, error.message)
        self.leases.turn_away(self.error(error.message, kind if lacks_memory else errors.EngineUnavailableError))

    def engine_gone(self, reason: str, *, unhealthy: bool) -> None:
        """Take note of the engine's end. See `Supervised`."""
        _LOGGER.error("the engine of model %s is gone: %s", self.name, reason)
        self.is_going = True
        self.loads_at_start = self.loads_at_start and not self.is_to_unload
        if self._failures.crashed(self._lifecycle.clock.now_s(), unhealthy=unhealthy):
            minutes = self._lifecycle.restart.quarantine_s / 60
            text = f"its engine crashed too often and is left alone for {minutes:g} min: {reason}"
            self._become(ModelState.QUARANTINED, text)
            _LOGGER.error("model %s: %s", self.name, text)
            self.leases.turn_away(self.error(text))
        elif self.loads_at_start or self.leases.waiting:
            self._become(ModelState.RESTARTING, f"its engine is being restarted: {reason}")
        else:
            self._become(ModelState.UNLOADED, f"its engine is gone: {reason}")

    def engine_released(self, *, lost: bool) -> None:
        """Take note that its memory is free, unless it is lost. See `Supervised`."""
        self.takes_memory, self.is_going = lost, False
        if lost:
            reason = "its process does not end, not even when it is killed; what it takes counts until it does"
            self._become(ModelState.LOST, reason)
            _LOGGER.error("model %s is lost: %s", self.name, reason)
            self.leases.turn_away(self.error(reason))
        elif self.state is ModelState.LOST:
            self._become(ModelState.UNLOADED, f"its process has ended at last; {_ON_DEMAND}")
            _LOGGER.warning("model %s: %s", self.name, self.reason)
        self.unload_requests.end(self.error(self.reason) if lost else None)

    def _become(self, state: ModelState, reason: str) -> None:
        self.state, self.reason = state, reason
