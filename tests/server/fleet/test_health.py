"""Is an engine well? The judge alone, then engines that stand still, and those that crash too often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.fleet.manual import ManualClock, Workshop, ask, request, status, until
from zoe_server import errors, protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Health
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.health import HealthPolicy, Judge, Verdict
from zoe_server.fleet.model_state import ModelState
from zoe_server.fleet.restart import RestartPolicy

POLICY = HealthPolicy(stuck_s=20.0, interval_s=10.0, busy_interval_s=5.0, n_silent=3)
RESTART = RestartPolicy(first_s=0.5, window_s=300.0, quarantine_after=3, quarantine_s=300.0, unhealthy_s=2.0)
SPEC = ModelSpec("m", Path("unused"), engine="scripted")


def verdicts(seen: Iterable[Health], *, open_requests: int = 0, every_s: float = 5.0) -> list[Verdict]:
    judge = Judge(POLICY)
    return [judge.check(one, open_requests=open_requests, now_s=n * every_s) for n, one in enumerate(seen)]


def test_a_quiet_engine_that_reports_is_well() -> None:
    quiet = [Health(alive=True, step=3, reports=n) for n in range(50)]
    assert set(verdicts(quiet)) == {Verdict.WELL}
    assert set(verdicts(quiet, open_requests=1)) == {Verdict.WELL}  # a request that is still being read


def test_a_quiet_engine_that_is_silent_three_times_is_not() -> None:
    silent = [Health(alive=True, step=3, reports=7)] * 4
    assert verdicts(silent) == [Verdict.WELL, Verdict.UNSURE, Verdict.UNSURE, Verdict.SILENT]


def test_a_report_in_between_starts_the_count_anew() -> None:
    silent = Health(alive=True, reports=7)
    assert Verdict.SILENT not in verdicts([silent] * 3 + [replace(silent, reports=8)] * 3)


def test_steps_are_progress() -> None:
    working = [Health(alive=True, step=n, running=1, waiting=2, reports=n) for n in range(50)]
    assert set(verdicts(working, open_requests=3)) == {Verdict.WELL}
    long_steps = [Health(alive=True, step=n // 4, running=1, reports=n // 4) for n in range(50)]
    assert Verdict.STUCK not in verdicts(long_steps, open_requests=1)


@pytest.mark.parametrize(
    "stuck",
    [
        pytest.param([Health(alive=True, step=3, running=1, reports=7)] * 5, id="stopped"),
        pytest.param([Health(alive=True, step=3, running=1, reports=n) for n in range(5)], id="spins"),
        pytest.param([Health(alive=True, step=3, waiting=1, reports=n) for n in range(5)], id="schedules nothing"),
        pytest.param([Health(alive=True, step=3, reports=7)] * 5, id="stopped before it knew of the work"),
    ],
)
def test_work_without_progress_is_stuck(stuck: list[Health]) -> None:
    found = verdicts(stuck, open_requests=1)
    assert found == [Verdict.WELL, Verdict.UNSURE, Verdict.UNSURE, Verdict.UNSURE, Verdict.STUCK]


def test_time_in_which_nobody_looked_does_not_count() -> None:
    stopped = [Health(alive=True, step=3, running=1, reports=7)] * 2
    assert verdicts(stopped, open_requests=1, every_s=3600.0) == [Verdict.WELL, Verdict.UNSURE]


def test_an_engine_that_never_reports_cannot_be_judged() -> None:
    assert set(verdicts([Health(alive=True, running=1)] * 50, open_requests=1)) == {Verdict.WELL}


def test_the_defaults_look_at_least_every_minute() -> None:
    default = HealthPolicy()
    assert default.next_check_s(busy=True) <= default.next_check_s(busy=False) <= 60.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
async def fleet(clock: ManualClock, workshop: Workshop) -> AsyncGenerator[Fleet, None]:
    one = Fleet((SPEC,), workshop.create, policy=RESTART, health=POLICY, clock=clock)
    one.start()
    await one.settled()
    yield one
    await one.stop()
    assert all(engine.stopped for _, engine in workshop.made)


async def until_given_up(fleet: Fleet, clock: ManualClock, every_s: float) -> None:
    """Let time pass, check after check, until the engine is not ready any more."""
    for _ in range(1000):
        if status(fleet, "m").state is not ModelState.READY:
            return
        clock.advance(every_s)
        await asyncio.sleep(0)
    pytest.fail("nobody sees that it is not well")


async def test_a_stuck_engine_is_killed_and_its_requests_fail_once(
    fleet: Fleet, clock: ManualClock, workshop: Workshop
) -> None:
    async with fleet.lease("m") as engine:
        told = engine.chat(request("hold"))
        assert isinstance(await anext(told), protocol.Started)
        workshop.last("m").pulse = Health(alive=True, step=1, running=1, reports=1)
        await until_given_up(fleet, clock, 5.0)
        failed = [event async for event in told]
    assert [type(event) for event in failed] == [protocol.Failure]
    assert isinstance(failed[0].error, errors.EngineCrashedError)
    assert "no progress for 20 s" in status(fleet, "m").reason
    await until(fleet, lambda: not fleet._models["m"].takes_memory)
    assert workshop.names == ["m"]
    clock.advance(2.0)
    assert isinstance(await ask(fleet, "m"), protocol.Finish)
    assert (status(fleet, "m").crashes, status(fleet, "m").restarts) == (1, 1)


async def test_a_silent_engine_is_restarted(fleet: Fleet, clock: ManualClock, workshop: Workshop) -> None:
    workshop.last("m").pulse = Health(alive=True, reports=1)
    await until_given_up(fleet, clock, 10.0)
    assert "silent in 3 checks" in status(fleet, "m").reason
    clock.advance(2.0)
    assert isinstance(await ask(fleet, "m"), protocol.Finish)


async def crash(fleet: Fleet, clock: ManualClock, times: int) -> None:
    for n in range(times):
        assert isinstance(await ask(fleet, "m", "crash"), protocol.Failure)
        await until(fleet, lambda: not fleet._models["m"].takes_memory)
        if n < times - 1:
            clock.advance(5.0)
            await until(fleet, lambda: status(fleet, "m").state is ModelState.READY)


async def test_three_crashes_are_quarantine_which_time_ends(fleet: Fleet, clock: ManualClock) -> None:
    await crash(fleet, clock, 3)
    assert status(fleet, "m").state is ModelState.QUARANTINED
    assert status(fleet, "m").quarantined_s == 300.0
    with pytest.raises(errors.EngineUnavailableError, match="crashed too often and is left alone for 5 min"):
        await ask(fleet, "m")
    clock.advance(299.0)
    with pytest.raises(errors.EngineUnavailableError, match="crashed too often"):
        await ask(fleet, "m")
    clock.advance(1.0)
    await until(fleet, lambda: status(fleet, "m").state is ModelState.READY)
    assert isinstance(await ask(fleet, "m"), protocol.Finish)
    await crash(fleet, clock, 2)
    assert status(fleet, "m").state is ModelState.RESTARTING


async def test_an_explicit_load_ends_quarantine(fleet: Fleet, clock: ManualClock) -> None:
    await crash(fleet, clock, 3)
    await fleet.load("m")
    assert status(fleet, "m").state is ModelState.READY


async def test_crashes_that_lie_far_apart_are_none(fleet: Fleet, clock: ManualClock) -> None:
    for _ in range(4):
        await crash(fleet, clock, 1)
        clock.advance(200.0)
        await until(fleet, lambda: status(fleet, "m").state is ModelState.READY)
    assert status(fleet, "m").crashes == 4
