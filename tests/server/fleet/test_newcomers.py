"""Models that arrive while the fleet runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.scripted_engine import Answer, ScriptedEngine
from zoe_server import errors, protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.model_state import ModelState
from zoe_server.fleet.planner import FleetPolicy
from zoe_server.fleet.sizing import LoadedModel, NoSizing

OLD = ModelSpec("old", Path("unused"), engine="scripted", roles=("tools",))
NEW = ModelSpec("new", Path("unused"), engine="scripted", roles=("chat",))


class Sizing(NoSizing):
    """Every model takes 6 of 10 bytes; `huge` takes more than there are."""

    async def budget_bytes(self, loaded: Sequence[LoadedModel] = ()) -> int:
        del loaded
        return 10

    async def estimate(self, spec: ModelSpec) -> int:
        return 11 if spec.name == "huge" else 6


class Workshop:
    """Makes engines; those of models called `slow` start when the gate opens, those called `broken` never."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running: set[str] = set()
        self.stopping = asyncio.Event()
        self.may_end = asyncio.Event()
        """Set, unless the test lets the process of `broken` take its time to end."""
        self.may_end.set()

    def create(self, spec: ModelSpec) -> Engine:
        workshop = self

        class _Engine(ScriptedEngine):
            async def start(self) -> None:
                if spec.name == "broken":
                    raise errors.EngineUnavailableError("its file is no model")
                if spec.name == "slow":
                    await workshop.gate.wait()
                await super().start()
                workshop.running.add(spec.name)

            async def stop(self) -> None:
                if spec.name == "broken":
                    workshop.stopping.set()
                    await workshop.may_end.wait()
                workshop.running.discard(spec.name)
                await super().stop()

        return _Engine(spec, [Answer((protocol.Text("Hi"),))])


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
async def fleet(workshop: Workshop) -> AsyncGenerator[Fleet, None]:
    fleet = Fleet([OLD], workshop.create)
    fleet.start()
    await fleet.settled()
    yield fleet
    await fleet.stop()
    assert workshop.running == set()


def states(fleet: Fleet) -> dict[str, ModelState]:
    return {status.name: status.state for status in fleet.status()}


async def test_it_is_loaded_and_lent(fleet: Fleet) -> None:
    await fleet.enlist("new", [NEW, OLD])
    assert [spec.name for spec in fleet.specs] == ["new", "old"]
    assert states(fleet) == {"new": ModelState.READY, "old": ModelState.READY}
    async with fleet.lease("new") as engine:
        assert engine.health.alive


async def test_nobody_sees_it_before_it_is_ready(fleet: Fleet, workshop: Workshop) -> None:
    slow = replace(NEW, name="slow")
    enlisting = asyncio.create_task(fleet.enlist("slow", [replace(OLD, fallback="slow"), slow]))
    async with asyncio.timeout(10), fleet.lease("old"):
        assert list(states(fleet)) == ["old"]
        assert fleet.specs == (OLD,)
    workshop.gate.set()
    await enlisting
    assert fleet.specs == (replace(OLD, fallback="slow"), slow)


async def test_one_that_cannot_be_loaded_changes_nothing(fleet: Fleet) -> None:
    with pytest.raises(errors.EngineUnavailableError, match="its file is no model"):
        await fleet.enlist("broken", [replace(OLD, fallback="broken"), replace(NEW, name="broken")])
    assert fleet.specs == (OLD,)
    assert states(fleet) == {"old": ModelState.READY}
    await fleet.enlist("new", [OLD, NEW])
    assert states(fleet) == {"old": ModelState.READY, "new": ModelState.READY}


async def test_one_that_cannot_be_loaded_is_known_until_its_process_has_ended(fleet: Fleet, workshop: Workshop) -> None:
    workshop.may_end.clear()
    enlisting = asyncio.create_task(fleet.enlist("broken", [OLD, replace(NEW, name="broken")]))
    async with asyncio.timeout(10):
        await workshop.stopping.wait()
        async with fleet.lease("old"):  # the fleet comes to rest meanwhile
            await fleet._reconciler.until(lambda: True)
    assert not enlisting.done()
    assert [model.name for model in fleet._reconciler.models] == ["old", "broken"]
    workshop.may_end.set()
    with pytest.raises(errors.EngineUnavailableError, match="its file is no model"):
        await enlisting
    assert [model.name for model in fleet._reconciler.models] == ["old"]


async def test_one_that_waits_to_be_asked_for_is_not_loaded(fleet: Fleet) -> None:
    await fleet.enlist("new", [OLD, replace(NEW, load="demand")])
    assert states(fleet) == {"old": ModelState.READY, "new": ModelState.UNLOADED}
    async with asyncio.timeout(10), fleet.lease("new"):
        assert states(fleet)["new"] is ModelState.READY


async def test_a_model_that_the_order_lacks_stays(fleet: Fleet) -> None:
    await fleet.enlist("new", [NEW])
    assert [spec.name for spec in fleet.specs] == ["new", "old"]


async def test_a_fleet_that_stops_leaves_nothing_of_one_that_arrives(fleet: Fleet, workshop: Workshop) -> None:
    enlisting = asyncio.create_task(fleet.enlist("slow", [OLD, replace(NEW, name="slow")]))
    await asyncio.sleep(0)
    enlisting.cancel()
    workshop.gate.set()
    await asyncio.wait({enlisting})
    await fleet.stop()
    assert workshop.running == set()


async def test_room(workshop: Workshop) -> None:
    fleet = Fleet([OLD], workshop.create, sizing=Sizing())
    fleet.start()
    await fleet.settled()
    with pytest.raises(errors.EngineUnavailableError, match="models may take"):
        await fleet.enlist("huge", [OLD, replace(NEW, name="huge")])
    await fleet.enlist("new", [OLD, NEW])
    assert states(fleet) == {"old": ModelState.READY, "new": ModelState.UNLOADED}
    await fleet.stop()


async def test_the_server_does_not_start_again_with_the_first_load_of_one_that_had_no_room(workshop: Workshop) -> None:
    fleet = Fleet([OLD], workshop.create, sizing=Sizing(), planning=FleetPolicy(min_residency_s=0.0))
    fleet.start()
    await fleet.settled()
    await fleet.enlist("slow", [OLD, replace(NEW, name="slow")])
    loading = asyncio.create_task(fleet.load("slow"))
    async with asyncio.timeout(10):
        while states(fleet)["slow"] is not ModelState.LOADING:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)
    assert [status.is_starting for status in fleet.status()] == [False, False]
    workshop.gate.set()
    await loading
    await fleet.stop()
