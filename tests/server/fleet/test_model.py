"""One model on its own: whatever happens in whatever order, its state changes as the table in `model.py` says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.server.fleet.manual import ManualClock, Workshop
from zoe_server import errors
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet import model as module
from zoe_server.fleet.health import HealthPolicy
from zoe_server.fleet.leases import Lease
from zoe_server.fleet.model import Model
from zoe_server.fleet.model_state import ModelState
from zoe_server.fleet.planner import Urgency
from zoe_server.fleet.restart import RestartPolicy
from zoe_server.fleet.supervisor import EngineLifecycle

STATES = {state.value for state in ModelState}


def table() -> set[tuple[ModelState, ModelState]]:
    """The transitions in the docstring of `model.py`."""
    found = set()
    for before, after in re.findall(r"^    (\S.*?) {2,}(\S+) {2,}\S", module.__doc__ or "", re.MULTILINE):
        if after in STATES:
            every = STATES if before == "any" else set(before.split(", "))
            found |= {(ModelState(one), ModelState(after)) for one in every}
    return found


ALLOWED = table()


def test_the_table_is_read() -> None:
    assert (ModelState.READY, ModelState.UNLOADING) in ALLOWED
    assert (ModelState.STOPPED, ModelState.LOST) not in ALLOWED
    assert (ModelState.UNLOADED, ModelState.READY) not in ALLOWED
    assert {state for pair in ALLOWED for state in pair} == set(ModelState)


class Life(RuleBasedStateMachine):
    """Does to a model what a reconciler may do, and what its engines may do, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.workshop = Workshop()
        self.leases: list[Lease] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.reasons: list[str] = []
        self.model = self.run(self.make())

    async def make(self) -> Model:
        lifecycle = EngineLifecycle(self.workshop.create, RestartPolicy(), HealthPolicy(), self.clock, lambda: None)
        model = Model(
            ModelSpec("m", Path("unused"), engine="scripted", queue_limit=2, options=LlamaOptions(n_slots=2)), lifecycle
        )
        model.estimate(7)
        become = model._become

        def recorded(state: ModelState, reason: str) -> None:
            assert state is model.state or (model.state, state) in ALLOWED, (model.state, state)
            become(state, reason)

        model._become = recorded  # type: ignore[method-assign]  # it is the one place where the state changes
        return model

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401
        """Do it, and whatever follows at once."""

        async def settle() -> Any:  # noqa: ANN401
            result = await asyncio.wait_for(work, 5)
            for _ in range(20):
                await asyncio.sleep(0)
            return result

        return self.runner.run(settle())

    def do(self, act: Callable[[], object]) -> None:
        async def work() -> None:
            act()

        self.run(work())

    @property
    def rests(self) -> bool:
        """Nothing takes memory, and it may be loaded."""
        return not self.model.takes_memory and self.model.state is not ModelState.STOPPED

    @property
    def due(self) -> bool:
        return self.rests and self.model.not_before_s <= self.clock.now_s()

    @property
    def ready(self) -> bool:
        return self.model.state is ModelState.READY

    @precondition(lambda self: self.due and self.model.state is not ModelState.QUARANTINED)
    @rule(outcome=st.sampled_from(["works", "broken", "no memory"]), ends=st.booleans())
    def load(self, outcome: str, ends: bool) -> None:
        self.workshop.undying = set() if ends else {"m"}
        kind = errors.OutOfMemoryError if outcome == "no memory" else errors.EngineUnavailableError
        self.workshop.broken = {} if outcome == "works" else {"m": kind("it cannot be loaded")}
        problem = self.run(self.model.load()())
        assert (problem is None) == (outcome == "works")
        if outcome == "works":
            self.model.admit()

    @precondition(lambda self: self.ready and self.model.leases.n_used == 0)
    @rule()
    def unload(self) -> None:
        self.run(self.model.unload()("nobody used it"))

    @precondition(lambda self: self.due and self.model.state is not ModelState.QUARANTINED)
    @rule(ends=st.booleans())
    def give_up_load(self, ends: bool) -> None:
        self.workshop.slow, self.workshop.undying = {"m"}, set() if ends else {"m"}

        async def work() -> None:
            load = asyncio.ensure_future(self.model.load()())
            await asyncio.sleep(0)
            unload_request = self.model.request_unload()
            assert not self.model.leases.waiting
            unload = self.model.unload()
            load.cancel()
            await asyncio.wait({load})
            await unload("it was unloaded")
            assert (await unload_request is None) == ends

        self.run(work())
        self.workshop.slow = set()

    @precondition(lambda self: self.ready)
    @rule()
    def crash(self) -> None:
        self.run(self.workshop.last("m").kill("it crashed"))

    @precondition(lambda self: self.model.state is ModelState.LOST)
    @rule()
    def end_at_last(self) -> None:
        self.do(self.workshop.last("m").ended.set)
        assert self.model.state is ModelState.UNLOADED

    @precondition(lambda self: self.rests and self.model.state is not ModelState.QUARANTINED)
    @rule()
    def refuse(self) -> None:
        self.do(lambda: self.model.refuse("there is no room"))

    @precondition(lambda self: self.rests and self.model.state in (ModelState.LOADING, ModelState.RESTARTING))
    @rule()
    def leave_out(self) -> None:
        self.do(lambda: self.model.leave_out("there is no room now"))

    @rule()
    def stay_away(self) -> None:
        self.do(self.model.stay_away)

    @precondition(lambda self: self.model.state is not ModelState.STOPPED)
    @rule()
    def reset_failures(self) -> None:
        self.do(self.model.reset_failures)

    @rule(duration_s=st.sampled_from([1.0, 61.0, 301.0]))
    def pass_time(self, duration_s: float) -> None:
        self.do(lambda: self.clock.advance(duration_s))

    @precondition(lambda self: self.model.state is not ModelState.STOPPED)
    @rule(n_requests=st.integers(0, 3))
    def lend(self, n_requests: int) -> None:
        def act() -> None:
            n_open = self.model.leases.n_requests
            try:
                lease = self.model.lend(n_requests, Urgency.INTERACTIVE)
            except errors.QueueFullError:
                assert n_open + n_requests > 4
            else:
                self.leases.append(lease)
                assert lease.is_used == self.model.is_open

        self.do(act)

    @precondition(lambda self: self.leases)
    @rule()
    def give_back(self) -> None:
        self.do(lambda: self.model.give_back(self.leases.pop()))

    @precondition(lambda self: self.ready)
    @rule(drained=st.booleans())
    def drain(self, drained: bool) -> None:
        self.do(self.model.drain if drained else self.model.reopen)

    @rule()
    def stop(self) -> None:
        self.run(self.model.stop())
        assert self.model.state is ModelState.STOPPED

    @invariant()
    def it_adds_up(self) -> None:
        model = self.model
        told = model.status()
        assert told.open_requests == sum(lease.n_requests for lease in self.leases) <= 4
        assert told.resident_bytes == (model.size_bytes if model.takes_memory else 0)
        assert (model.resident() is not None) == model.takes_memory == (model.loaded() is not None)
        assert (model.engine is not None) == self.ready
        assert model.takes_memory >= (model.state in (ModelState.READY, ModelState.LOST, ModelState.UNLOADING))
        assert not model.takes_memory or model.want() is None or model.leases.waiting
        nobody_may_wait = (ModelState.LOST, ModelState.STOPPED)
        assert model.state not in nobody_may_wait or model.unavailable() is not None
        assert model.state is not ModelState.READY or model.is_open == (not model.draining)

    def teardown(self) -> None:
        try:
            self.run(self.model.stop())
            assert all(engine.stopped for _, engine in self.workshop.made)
        finally:
            self.runner.close()


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLife = pytest.mark.timeout(120)(Life.TestCase)
