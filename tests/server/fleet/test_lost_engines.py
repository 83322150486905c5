"""An engine whose process no signal ends: it counts, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.fleet.manual import GivenScales, ManualClock, Workshop, ask, states, status, until
from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.fleet import Fleet

SPEC = ModelSpec("a", Path("unused"), engine="scripted", queue_limit=4, options=LlamaOptions(n_slots=4))
OTHER = replace(SPEC, name="b", load="demand")
SIZES = {"a": 4, "b": 5, "c": 3}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
async def fleet(clock: ManualClock, workshop: Workshop) -> AsyncGenerator[Fleet, None]:
    """`a` is loaded, and its process will not end; beside it there is room for `c`, not for `b`."""
    workshop.undying = {"a"}
    specs = (SPEC, OTHER, replace(OTHER, name="c"))
    fleet = Fleet(specs, workshop.create, ready_wait_s=20.0, sizing=GivenScales(8, SIZES), clock=clock)
    fleet.start()
    await fleet.settled()
    clock.advance(100.0)
    yield fleet
    async with asyncio.timeout(5):
        await fleet.stop()


async def lose(fleet: Fleet) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(errors.EngineUnavailableError, match="does not end"):
            await fleet.unload("a")


async def test_the_others_go_on_beside_what_it_takes(fleet: Fleet) -> None:
    await lose(fleet)
    assert (status(fleet, "a").state.value, status(fleet, "a").resident_bytes) == ("lost", 4)
    with pytest.raises(errors.EngineUnavailableError, match=r"cannot be ended \(a\)"):
        await ask(fleet, "b")
    assert isinstance(await ask(fleet, "c"), protocol.Finish)
    with pytest.raises(errors.EngineUnavailableError, match="does not end"):
        await ask(fleet, "a")
    await lose(fleet)


async def test_its_bytes_are_given_back_when_it_ends_at_last(fleet: Fleet, workshop: Workshop) -> None:
    await lose(fleet)
    workshop.last("a").ended.set()
    await until(fleet, lambda: status(fleet, "a").resident_bytes == 0)
    workshop.undying = set()
    assert isinstance(await ask(fleet, "b"), protocol.Finish)
    assert isinstance(await ask(fleet, "c"), protocol.Finish)


async def test_who_waits_for_its_room_gets_an_answer(fleet: Fleet) -> None:
    with pytest.raises(errors.EngineUnavailableError, match=r"cannot be ended \(a\)"):
        await ask(fleet, "b")
    assert states(fleet)["a"] == "lost"


async def test_an_engine_that_crashed_and_one_that_cannot_start_are_lost_alike(
    fleet: Fleet, workshop: Workshop, clock: ManualClock
) -> None:
    await workshop.last("a").kill("it crashed")
    await until(fleet, lambda: states(fleet)["a"] == "lost")
    workshop.undying = {"c"}
    workshop.broken["c"] = errors.EngineUnavailableError("its file is missing")
    with pytest.raises(errors.EngineUnavailableError, match="file is missing"):
        await ask(fleet, "c")
    await until(fleet, lambda: states(fleet)["c"] == "lost")
    workshop.undying, workshop.broken = set(), {}
    for name in ("a", "c"):
        workshop.last(name).ended.set()
    await until(fleet, lambda: "lost" not in states(fleet).values())
    clock.advance(100.0)
    assert isinstance(await ask(fleet, "a"), protocol.Finish)
