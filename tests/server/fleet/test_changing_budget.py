"""Other programs take memory and give it back while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.fleet.manual import GivenScales, ManualClock, Workshop, ask, states, status, until
from zoe_server import errors, protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.sizing import NoSizing

SPEC = ModelSpec("a", Path("unused"), engine="scripted")
BIG = replace(SPEC, name="big")
GUEST = replace(SPEC, name="guest", load="demand")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def scales() -> GivenScales:
    return GivenScales(6, {"a": 4, "big": 7, "guest": 3})


@pytest.fixture
async def fleet(clock: ManualClock, scales: GivenScales) -> AsyncGenerator[Fleet, None]:
    """`a` is loaded, `big` was refused, `guest` can be loaded in the place of `a`."""
    fleet = Fleet((SPEC, BIG, GUEST), Workshop().create, ready_wait_s=20.0, sizing=scales, clock=clock)
    fleet.start()
    await fleet.settled()
    assert states(fleet) == {"a": "ready", "big": "failed", "guest": "unloaded"}
    clock.advance(10.0)
    yield fleet
    await fleet.stop()


async def test_the_machine_is_asked_before_a_request_is_refused(fleet: Fleet, scales: GivenScales) -> None:
    scales.budget = 12
    assert isinstance(await ask(fleet, "big"), protocol.Finish)
    assert fleet.budget_bytes == 12
    assert [(held.spec.name, held.size_bytes) for held in scales.asked[-1]] == [("a", 4)]


async def test_what_is_still_too_large_is_refused_after_one_question(fleet: Fleet, scales: GivenScales) -> None:
    n_asked = len(scales.asked)
    with pytest.raises(errors.EngineUnavailableError, match="models may take"):
        await ask(fleet, "big")
    assert len(scales.asked) == n_asked + 1


async def test_what_others_give_back_while_nobody_asks_lets_in_who_was_refused(
    fleet: Fleet, scales: GivenScales, clock: ManualClock
) -> None:
    scales.budget = 12
    clock.advance(60.0)
    await until(fleet, lambda: states(fleet)["big"] == "ready")


async def test_what_others_take_counts_for_the_next_load(fleet: Fleet, scales: GivenScales, clock: ManualClock) -> None:
    scales.budget = 20
    clock.advance(60.0)
    await until(fleet, lambda: states(fleet)["big"] == "ready")
    scales.budget = 12
    clock.advance(60.0)
    await until(fleet, lambda: fleet.budget_bytes == 12)
    assert isinstance(await ask(fleet, "guest"), protocol.Finish)
    assert sum(one.resident_bytes for one in fleet.status()) <= 12


async def test_without_a_bound_nobody_is_told_of_a_number() -> None:
    workshop = Workshop()
    workshop.slow = {"a"}
    fleet = Fleet((SPEC, GUEST), workshop.create, ready_wait_s=0.05, sizing=NoSizing())
    fleet.start()
    await until(fleet, lambda: status(fleet, "a").loading is not None)
    with pytest.raises(errors.EngineUnavailableError) as caught:
        async with asyncio.timeout(5):
            await ask(fleet, "guest")
    assert "GB are free" not in caught.value.message
    assert "a (0.0 GB, loading)" in caught.value.message
    workshop.gate.set()
    await fleet.stop()
