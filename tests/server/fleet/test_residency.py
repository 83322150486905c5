"""Which models are in memory: loaded on demand, evicted by bytes, drained, kept alive, pinned, refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.fleet.manual import (
    GivenScales,
    ManualClock,
    ManualEngine,
    Workshop,
    ask,
    request,
    states,
    status,
    until,
)
from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Loading
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.model_state import ModelState
from zoe_server.fleet.planner import FleetPolicy

SPEC = ModelSpec("m", Path("unused"), engine="scripted", queue_limit=4, options=LlamaOptions(n_slots=4))
TOOLS = replace(SPEC, name="tools", roles=("tools",))
CHAT = replace(SPEC, name="chat", roles=("chat",))
VISION = replace(SPEC, name="vision", roles=("vision",), load="demand")
SIZES = {"tools": 4, "chat": 2, "vision": 5, "m": 1}
PLANNING = FleetPolicy(min_residency_s=30.0, drain_after_s=10.0, background_patience_s=60.0, return_after_s=20.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


Make = Callable[..., Fleet]


@pytest.fixture
async def make(clock: ManualClock, workshop: Workshop) -> AsyncGenerator[Make, None]:
    made: list[Fleet] = []

    def fleet(
        *specs: ModelSpec,
        budget: int = 8,
        sizes: Mapping[str, int] = SIZES,
        measured: Mapping[str, int] | None = None,
        ready_wait_s: float = 20.0,
    ) -> Fleet:
        sizing = GivenScales(budget, sizes, measured)
        made.append(
            Fleet(specs, workshop.create, ready_wait_s=ready_wait_s, planning=PLANNING, sizing=sizing, clock=clock)
        )
        made[-1].start()
        return made[-1]

    yield fleet
    workshop.may_end.set()
    for one in made:
        await one.stop()
    assert all(engine.stopped for _, engine in workshop.made)


async def home(make: Make, clock: ManualClock, **fields: object) -> Fleet:
    """Return a fleet whose models at home are loaded, some time ago."""
    fleet = make(TOOLS, CHAT, VISION, **fields)
    await fleet.settled()
    clock.advance(100.0)
    return fleet


async def test_who_acts_and_who_talks_is_loaded_first(make: Make, workshop: Workshop) -> None:
    fleet = make(SPEC, CHAT, TOOLS, VISION)
    await fleet.settled()
    assert workshop.names == ["tools", "chat", "m"]
    assert states(fleet) == {"m": "ready", "chat": "ready", "tools": "ready", "vision": "unloaded"}


async def test_what_does_not_fit_at_the_start_is_loaded_when_asked_for(
    make: Make, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fleet = make(TOOLS, replace(CHAT, name="large"), sizes={"tools": 4, "large": 5})
        await fleet.settled()
    assert states(fleet) == {"tools": "ready", "large": "unloaded"}
    assert "large is not loaded now: it needs" in caplog.text
    assert "tools (0.0 GB, ready)" in status(fleet, "large").reason
    clock.advance(100.0)
    assert isinstance(await ask(fleet, "large"), protocol.Finish)
    assert states(fleet) == {"tools": "unloaded", "large": "ready"}


async def test_many_callers_of_one_missing_model_cause_one_load(
    make: Make, clock: ManualClock, workshop: Workshop
) -> None:
    fleet = await home(make, clock, budget=100)
    workshop.slow = {"vision"}
    waiting = [asyncio.create_task(ask(fleet, "vision")) for _ in range(3)]
    await until(fleet, lambda: status(fleet, "vision").waiting_requests == 3)
    assert status(fleet, "vision").state is ModelState.LOADING
    workshop.gate.set()
    assert all(isinstance(event, protocol.Finish) for event in await asyncio.gather(*waiting))
    assert workshop.names == ["tools", "chat", "vision"]


async def test_loads_happen_one_after_the_other(make: Make, workshop: Workshop) -> None:
    workshop.slow = {"tools"}
    fleet = make(TOOLS, CHAT, VISION, budget=100)
    asking = asyncio.create_task(ask(fleet, "vision"))
    await until(fleet, lambda: status(fleet, "vision").waiting_requests == 1)
    assert workshop.names == ["tools"]
    workshop.gate.set()
    await asking
    assert workshop.names[:2] == ["tools", "vision"]  # somebody waits for it; nobody for the other


async def test_vision_is_swapped_in_and_home_comes_back(make: Make, clock: ManualClock, workshop: Workshop) -> None:
    fleet = await home(make, clock)
    assert isinstance(await ask(fleet, "chat"), protocol.Finish)
    assert isinstance(await ask(fleet, "vision"), protocol.Finish)
    assert states(fleet) == {"tools": "unloaded", "chat": "ready", "vision": "ready"}
    assert workshop.last("tools").stopped
    assert "vision needed its memory" in status(fleet, "tools").reason
    clock.advance(31.0)
    await until(fleet, lambda: status(fleet, "tools").state is ModelState.READY)
    assert states(fleet) == {"tools": "ready", "chat": "ready", "vision": "unloaded"}
    assert workshop.names == ["tools", "chat", "vision", "tools"]


async def test_a_load_that_breaks_off_inside_stops_only_its_model(
    make: Make, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("can't start new thread")

    fleet = await home(make, clock)
    with monkeypatch.context() as patch:
        patch.setattr(GivenScales, "free_bytes", broken)
        with pytest.raises(errors.EngineUnavailableError, match="can't start new thread"):
            await ask(fleet, "vision")
    assert states(fleet)["vision"] == "failed"
    assert status(fleet, "vision").resident_bytes == 0
    assert isinstance(await ask(fleet, "chat"), protocol.Finish)
    clock.advance(1000.0)
    assert isinstance(await ask(fleet, "vision"), protocol.Finish)


async def test_an_engine_that_cannot_be_stopped_in_good_order_holds_nobody_up(
    make: Make, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(engine: ManualEngine) -> None:
        engine.stopped = True
        raise OSError("the socket is gone")

    fleet = await home(make, clock)
    with monkeypatch.context() as patch:
        patch.setattr(ManualEngine, "stop", broken)
        assert isinstance(await ask(fleet, "vision"), protocol.Finish)
    assert states(fleet)["vision"] == "ready"


async def test_a_busy_model_is_never_evicted_and_the_error_says_who_is_in_the_way(
    make: Make, clock: ManualClock
) -> None:
    fleet = await home(make, clock, ready_wait_s=0.05)
    async with fleet.lease("tools"), fleet.lease("chat"):
        with pytest.raises(errors.EngineUnavailableError, match=r"needs .* tools \(.*1 open request") as caught:
            await ask(fleet, "vision")
        assert caught.value.retry_after_s
    assert states(fleet)["vision"] == "unloaded"
    assert isinstance(await ask(fleet, "tools"), protocol.Finish)


async def test_a_question_about_tokens_holds_its_engine(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock, ready_wait_s=0.05)
    async with fleet.lease("tools", 0) as engine, fleet.lease("chat", 0):
        with pytest.raises(errors.EngineUnavailableError):
            await ask(fleet, "vision")
        assert await engine.tokenize("a") == [97]


async def test_who_waited_long_gets_its_turn_though_others_ask_all_the_time(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(fleet.lease("tools"))
        wanted = asyncio.create_task(ask(fleet, "vision"))
        await until(fleet, lambda: status(fleet, "vision").waiting_requests == 1)
        assert isinstance(await ask(fleet, "tools"), protocol.Finish)
        clock.advance(10.0)
        await until(fleet, lambda: fleet._models["tools"].draining)
        late = asyncio.create_task(ask(fleet, "tools"))
        await until(fleet, lambda: status(fleet, "tools").waiting_requests == 1)
        assert not wanted.done()
    assert isinstance(await wanted, protocol.Finish)
    assert not late.done()
    clock.advance(10.0)
    assert isinstance(await late, protocol.Finish)


async def test_a_model_that_was_drained_for_somebody_who_left_is_open_again(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock)
    async with fleet.lease("tools"):
        wanted = asyncio.create_task(ask(fleet, "vision"))
        await until(fleet, lambda: status(fleet, "vision").waiting_requests == 1)
        clock.advance(10.0)
        await until(fleet, lambda: fleet._models["tools"].draining)
        wanted.cancel()
        assert isinstance(await ask(fleet, "tools"), protocol.Finish)
    assert states(fleet)["vision"] == "unloaded"


async def test_interactive_requests_come_before_background_ones(
    make: Make, clock: ManualClock, workshop: Workshop
) -> None:
    other = replace(VISION, name="m")
    fleet = make(TOOLS, VISION, other, sizes={"tools": 4, "vision": 4, "m": 4}, budget=4)
    await fleet.settled()
    async with fleet.lease("tools"):
        quiet = asyncio.create_task(ask(fleet, "vision", background=True))
        await until(fleet, lambda: status(fleet, "vision").waiting_requests == 1)
        clock.advance(1.0)
        spoken = asyncio.create_task(ask(fleet, "m"))
        await until(fleet, lambda: status(fleet, "m").waiting_requests == 1)
    clock.advance(31.0)
    assert isinstance(await spoken, protocol.Finish)
    assert not quiet.done()
    clock.advance(61.0)
    assert isinstance(await quiet, protocol.Finish)
    assert workshop.names == ["tools", "m", "vision"]


async def test_a_model_leaves_after_its_keep_alive_and_stays_away_until_asked_for(
    make: Make, clock: ManualClock
) -> None:
    fleet = make(replace(TOOLS, keep_alive_s=50.0), replace(CHAT, keep_alive_s=50.0, pinned=True))
    await fleet.settled()
    clock.advance(40.0)
    async with fleet.lease("tools"):
        clock.advance(60.0)
    clock.advance(49.0)
    assert states(fleet) == {"tools": "ready", "chat": "ready"}
    clock.advance(1.0)
    await until(fleet, lambda: status(fleet, "tools").state is ModelState.UNLOADED)
    clock.advance(1000.0)
    await until(fleet, lambda: states(fleet) == {"tools": "unloaded", "chat": "ready"})
    assert isinstance(await ask(fleet, "tools"), protocol.Finish)


async def test_what_never_fits_is_refused_at_once_with_the_way_out(make: Make) -> None:
    fleet = make(replace(TOOLS, pinned=True), CHAT, VISION, sizes={"tools": 4, "chat": 9, "vision": 5})
    await fleet.settled()
    assert states(fleet) == {"tools": "ready", "chat": "failed", "vision": "unloaded"}
    for model in ("chat", "vision"):
        with pytest.raises(errors.EngineUnavailableError, match=r"pinned models \(tools\).*memory_budget_bytes"):
            await ask(fleet, model)
    assert status(fleet, "tools").state is ModelState.READY


async def test_what_a_model_really_takes_counts(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock, measured={"tools": 6}, budget=9)
    assert [(one.size_bytes, one.resident_bytes) for one in fleet.status()] == [(6, 6), (2, 2), (5, 0)]
    assert isinstance(await ask(fleet, "chat"), protocol.Finish)
    assert isinstance(await ask(fleet, "vision"), protocol.Finish)
    assert states(fleet) == {"tools": "unloaded", "chat": "ready", "vision": "ready"}


async def test_too_little_memory_is_remembered_and_tried_again_with_more_room(
    make: Make, clock: ManualClock, workshop: Workshop
) -> None:
    fleet = await home(make, clock, budget=20)
    workshop.broken["vision"] = errors.OutOfMemoryError("killed")
    with pytest.raises(errors.OutOfMemoryError, match="killed"):
        await ask(fleet, "vision")
    assert status(fleet, "vision").state is ModelState.FAILED
    with pytest.raises(errors.EngineUnavailableError, match="killed"):
        await ask(fleet, "vision")
    assert workshop.names.count("vision") == 1
    workshop.broken.clear()
    clock.advance(61.0)
    assert isinstance(await ask(fleet, "vision"), protocol.Finish)
    assert states(fleet) == {"tools": "ready", "chat": "unloaded", "vision": "ready"}


async def test_unloading_waits_for_requests_and_can_be_given_up(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock)
    async with fleet.lease("tools"):
        with pytest.raises(errors.ModelBusyError) as caught:
            await fleet.unload("tools")
        assert caught.value.status == 409
        assert isinstance(await ask(fleet, "tools"), protocol.Finish)
        leaving = asyncio.create_task(fleet.unload("tools", wait_s=20.0))
        await until(fleet, lambda: fleet._models["tools"].is_to_unload)
    await leaving
    await fleet.unload("tools")
    clock.advance(1000.0)
    await until(fleet, lambda: states(fleet)["tools"] == "unloaded")
    await fleet.load("tools")
    assert states(fleet)["tools"] == "ready"


async def test_who_gives_up_unloading_a_model_does_not_keep_it_for_another(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock)
    async with fleet.lease("tools"):
        patient = asyncio.create_task(fleet.unload("tools", wait_s=20.0))
        await until(fleet, lambda: fleet._models["tools"].is_to_unload)
        with pytest.raises(errors.ModelBusyError):
            await fleet.unload("tools")
        equal = asyncio.create_task(fleet.unload("tools", wait_s=20.0))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.gather(patient, equal)
    assert states(fleet)["tools"] == "unloaded"


async def test_a_load_ends_the_wait_of_who_unloads(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock)
    async with fleet.lease("tools"):
        leaving = asyncio.create_task(fleet.unload("tools", wait_s=20.0))
        await until(fleet, lambda: fleet._models["tools"].is_to_unload)
        async with asyncio.timeout(5):
            await fleet.load("tools")
            with pytest.raises(errors.ModelBusyError, match="loads it again"):
                await leaving
    assert states(fleet)["tools"] == "ready"


@pytest.mark.parametrize("arrives", ["while others still use it", "while its engine ends"])
async def test_a_request_waits_for_the_end_of_an_unload_and_loads_the_model_again(
    make: Make, clock: ManualClock, workshop: Workshop, arrives: str
) -> None:
    fleet = await home(make, clock)
    workshop.may_end.clear()
    async with fleet.lease("tools"):
        leaving = asyncio.create_task(fleet.unload("tools", wait_s=20.0))
        await until(fleet, lambda: fleet._models["tools"].is_to_unload)
        if arrives == "while others still use it":
            late = asyncio.create_task(ask(fleet, "tools"))
            await until(fleet, lambda: status(fleet, "tools").waiting_requests == 1)
    await until(fleet, lambda: status(fleet, "tools").state is ModelState.UNLOADING)
    if arrives == "while its engine ends":
        late = asyncio.create_task(ask(fleet, "tools"))
        await until(fleet, lambda: status(fleet, "tools").waiting_requests == 1)
    assert not leaving.done()
    workshop.may_end.set()
    await leaving
    assert isinstance(await late, protocol.Finish)
    assert workshop.names.count("tools") == 2


async def test_who_waits_for_the_end_of_an_unload_does_so_for_a_bounded_time(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock, ready_wait_s=0.05)
    async with fleet.lease("tools"):
        leaving = asyncio.create_task(fleet.unload("tools", wait_s=20.0))
        await until(fleet, lambda: fleet._models["tools"].is_to_unload)
        with pytest.raises(errors.EngineUnavailableError, match=r"after 0\.05 s it is still being unloaded"):
            await ask(fleet, "tools")
    await leaving


async def test_unloading_a_model_that_is_being_loaded_gives_the_load_up(
    make: Make, clock: ManualClock, workshop: Workshop
) -> None:
    fleet = await home(make, clock, budget=100)
    workshop.slow = {"vision"}
    early = asyncio.create_task(ask(fleet, "vision"))
    await until(fleet, lambda: status(fleet, "vision").state is ModelState.LOADING)
    async with asyncio.timeout(5):
        await fleet.unload("vision")
        with pytest.raises(errors.EngineUnavailableError, match="unloaded before it was loaded"):
            await early
    assert states(fleet)["vision"] == "unloaded"
    assert workshop.last("vision").stopped
    workshop.slow = set()
    assert isinstance(await ask(fleet, "vision"), protocol.Finish)
    assert workshop.names.count("vision") == 2


async def test_a_model_at_home_whose_load_was_given_up_stays_away_until_asked_for(
    make: Make, clock: ManualClock, workshop: Workshop
) -> None:
    workshop.slow = {"tools"}
    fleet = make(TOOLS, CHAT)
    await until(fleet, lambda: workshop.names == ["tools"])
    async with asyncio.timeout(5):
        await fleet.unload("tools")
    workshop.slow = set()
    await until(fleet, lambda: states(fleet) == {"tools": "unloaded", "chat": "ready"})
    clock.advance(1000.0)
    await until(fleet, lambda: states(fleet) == {"tools": "unloaded", "chat": "ready"})
    assert isinstance(await ask(fleet, "tools"), protocol.Finish)


async def test_a_load_that_has_not_begun_can_be_given_up(make: Make, workshop: Workshop) -> None:
    workshop.slow = {"tools"}
    fleet = make(TOOLS, CHAT)
    await until(fleet, lambda: workshop.names == ["tools"])
    await fleet.unload("chat")
    assert states(fleet) == {"tools": "loading", "chat": "unloaded"}
    workshop.gate.set()
    await fleet.settled()
    assert states(fleet) == {"tools": "ready", "chat": "unloaded"}
    assert isinstance(await ask(fleet, "chat"), protocol.Finish)


async def test_a_load_that_has_no_engine_yet_can_be_given_up(
    make: Make, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: GivenScales) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(GivenScales, "free_bytes", never)
        fleet = make(TOOLS)
        await until(fleet, lambda: fleet._models["tools"].takes_memory)
        async with asyncio.timeout(5):
            await fleet.unload("tools")
    assert (states(fleet), status(fleet, "tools").resident_bytes, workshop.names) == ({"tools": "unloaded"}, 0, [])
    assert isinstance(await ask(fleet, "tools"), protocol.Finish)


async def test_who_waited_before_an_unload_waits_on_and_gets_the_model_after_it(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock)
    async with fleet.lease("tools"):
        wanted = asyncio.create_task(ask(fleet, "vision"))
        await until(fleet, lambda: status(fleet, "vision").waiting_requests == 1)
        clock.advance(10.0)
        await until(fleet, lambda: fleet._models["tools"].draining)
        late = asyncio.create_task(ask(fleet, "tools"))
        await until(fleet, lambda: status(fleet, "tools").waiting_requests == 1)
        leaving = asyncio.create_task(fleet.unload("tools", wait_s=20.0))
    await leaving
    assert isinstance(await wanted, protocol.Finish)
    assert not late.done()
    clock.advance(1000.0)
    assert isinstance(await late, protocol.Finish)


async def test_a_pinned_model_stays_until_somebody_unloads_it(make: Make, clock: ManualClock) -> None:
    fleet = make(replace(TOOLS, pinned=True), CHAT, VISION)
    await fleet.settled()
    assert status(fleet, "tools").pinned
    with pytest.raises(errors.EngineUnavailableError, match="pinned"):
        await ask(fleet, "vision")
    await fleet.unload("tools")
    assert isinstance(await ask(fleet, "vision"), protocol.Finish)


async def test_a_request_that_leaves_while_it_waits_wants_nothing_any_more(make: Make, clock: ManualClock) -> None:
    fleet = await home(make, clock)
    async with fleet.lease("tools"), fleet.lease("chat"):
        waiting = asyncio.create_task(ask(fleet, "vision"))
        await until(fleet, lambda: status(fleet, "vision").waiting_requests == 1)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert (status(fleet, "vision").waiting_requests, status(fleet, "vision").open_requests) == (0, 0)
    clock.advance(100.0)
    await until(fleet, lambda: states(fleet) == {"tools": "ready", "chat": "ready", "vision": "unloaded"})


async def test_stopping_gives_up_a_load_and_fails_who_waits_for_it(
    make: Make, clock: ManualClock, workshop: Workshop
) -> None:
    fleet = await home(make, clock, budget=100)
    workshop.slow = {"vision"}
    waiting = asyncio.create_task(ask(fleet, "vision"))
    await until(fleet, lambda: status(fleet, "vision").state is ModelState.LOADING)
    await until(fleet, lambda: status(fleet, "vision").loading == Loading("model", 0.5))
    await fleet.stop()
    with pytest.raises(errors.EngineUnavailableError, match="stopping"):
        await waiting
    workshop.last("vision").stopped = True  # it never ran
    assert set(states(fleet).values()) == {"stopped"}


async def test_what_engines_wrote_is_kept_when_they_are_gone(
    make: Make, clock: ManualClock, workshop: Workshop
) -> None:
    fleet = await home(make, clock, budget=100)
    assert isinstance(await ask(fleet, "vision"), protocol.Finish)
    assert [line.text for line in fleet.log("vision")] == ["engine 0 of vision"]
    await fleet.unload("vision")
    workshop.broken["vision"] = errors.EngineUnavailableError("broken")
    with pytest.raises(errors.EngineUnavailableError):
        await ask(fleet, "vision")
    assert [line.text for line in fleet.log("vision")] == ["engine 0 of vision", "engine 1 of vision"]


async def test_a_guest_whose_engine_crashed_is_not_loaded_again_for_nobody(
    make: Make, clock: ManualClock, workshop: Workshop
) -> None:
    fleet = await home(make, clock)
    async with fleet.lease("vision") as engine:
        told = engine.chat(request("hold"))
        assert isinstance(await anext(told), protocol.Started)
        await workshop.last("vision").kill("gone")
        assert isinstance(await anext(told), protocol.Failure)
    await until(fleet, lambda: status(fleet, "vision").state is ModelState.UNLOADED)
    assert status(fleet, "vision").crashes == 1
    assert isinstance(await ask(fleet, "tools"), protocol.Finish)
