"""The fleet with scripted engines: order, waiting, restart, limits, end. No processes, no clocks."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.scripted import Answer, Crash, Hold, ScriptedEngine
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.model_state import ModelState
from zoe_server.fleet.restart import RestartPolicy
from zoe_server.fleet.sizing import NoSizing

ANSWERS = [Answer((Crash(),), "crash"), Answer((Hold(),), "hold"), Answer((protocol.Text("Hi"),))]
AT_ONCE = RestartPolicy(first_s=0.0)
SPEC = ModelSpec("a", Path("unused"), engine="scripted", queue_limit=1, options=LlamaOptions(n_slots=2))


class Workshop:
    """Makes scripted engines. `gate` holds up the start of those in `slow`; those in `broken` cannot start."""

    def __init__(self) -> None:
        self.made: list[tuple[str, ScriptedEngine]] = []
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.broken: set[str] = set()
        self.slow: set[str] = set()
        self.gate = asyncio.Event()

    def create(self, spec: ModelSpec) -> ScriptedEngine:
        workshop = self

        class Engine(ScriptedEngine):
            async def start(self) -> None:
                if spec.name in workshop.slow:
                    await workshop.gate.wait()
                if spec.name in workshop.broken:
                    raise errors.EngineUnavailableError("its file is missing")
                await super().start()
                workshop.started.put_nowait(spec.name)

        engine = Engine(spec, ANSWERS)
        self.made.append((spec.name, engine))
        return engine


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


Make = Callable[..., Fleet]


@pytest.fixture
async def make(workshop: Workshop) -> AsyncGenerator[Make, None]:
    made: list[Fleet] = []

    def fleet(*names: str, ready_wait_s: float = 30.0, policy: RestartPolicy = AT_ONCE) -> Fleet:
        specs = [replace(SPEC, name=name) for name in names or ("a",)]
        made.append(Fleet(specs, workshop.create, ready_wait_s=ready_wait_s, policy=policy))
        made[-1].start()
        return made[-1]

    yield fleet
    for one in made:
        await one.stop()


def request(text: str) -> protocol.ChatRequest:
    return protocol.ChatRequest("q", "a", ({"role": "user", "content": text},))


async def ask(fleet: Fleet, text: str, model: str = "a") -> protocol.ChatEvent:
    """Return the terminal event."""
    async with asyncio.timeout(10), fleet.lease(model) as engine:
        return [event async for event in engine.chat(request(text))][-1]


async def test_models_are_loaded_in_order_one_after_the_other(make: Make, workshop: Workshop) -> None:
    workshop.slow = {"b"}
    fleet = make("a", "b", "c")
    assert await workshop.started.get() == "a"
    assert [status.state for status in fleet.status()] == [ModelState.READY, ModelState.LOADING, ModelState.LOADING]
    assert [name for name, _ in workshop.made] in (["a"], ["a", "b"])
    workshop.gate.set()
    await fleet.settled()
    assert [await workshop.started.get(), await workshop.started.get()] == ["b", "c"]


async def test_a_request_waits_for_an_engine_that_is_being_loaded(make: Make, workshop: Workshop) -> None:
    workshop.slow = {"a"}
    fleet = make()
    waiting = [asyncio.create_task(ask(fleet, "hi")) for _ in range(3)]
    await asyncio.sleep(0)
    workshop.gate.set()
    assert all(isinstance(event, protocol.Finish) for event in await asyncio.gather(*waiting))
    assert len(workshop.made) == 1


async def test_nobody_waits_longer_than_allowed(make: Make, workshop: Workshop) -> None:
    workshop.slow = {"a"}
    fleet = make(ready_wait_s=0.05)
    with pytest.raises(errors.EngineUnavailableError, match="still loading"):
        await ask(fleet, "hi")
    assert fleet.status()[0].open_requests == 0


async def test_a_model_that_cannot_start_says_why_and_the_others_work(make: Make, workshop: Workshop) -> None:
    workshop.broken = {"a"}
    fleet = make("a", "b", policy=RestartPolicy(first_s=60.0))
    await fleet.settled()
    with pytest.raises(errors.EngineUnavailableError, match="its file is missing"):
        await ask(fleet, "hi", "a")
    assert isinstance(await ask(fleet, "hi", "b"), protocol.Finish)
    assert [(status.state, status.reason) for status in fleet.status()] == [
        (ModelState.FAILED, "its file is missing"),
        (ModelState.READY, ""),
    ]


async def test_a_model_that_could_not_start_is_tried_again(make: Make, workshop: Workshop) -> None:
    workshop.broken = {"a"}
    fleet = make(policy=RestartPolicy(first_s=0.01, longest_s=0.01))
    await fleet.settled()
    workshop.broken = set()
    async with asyncio.timeout(10):
        await workshop.started.get()
    assert isinstance(await ask(fleet, "hi"), protocol.Finish)


async def test_a_crashed_engine_is_replaced(make: Make, workshop: Workshop) -> None:
    fleet = make()
    failed = await ask(fleet, "crash")
    assert isinstance(failed, protocol.Failure)
    assert isinstance(failed.error, errors.EngineCrashedError)
    async with asyncio.timeout(10):
        assert [await workshop.started.get(), await workshop.started.get()] == ["a", "a"]
    assert isinstance(await ask(fleet, "hi"), protocol.Finish)
    assert (fleet.status()[0].crashes, fleet.status()[0].state) == (1, ModelState.READY)


async def test_more_requests_than_may_be_open_are_refused_at_once(make: Make) -> None:
    fleet = make()
    await fleet.settled()
    async with fleet.lease("a", 2), fleet.lease("a"):
        with pytest.raises(errors.QueueFullError) as caught:
            await ask(fleet, "hi")
        assert caught.value.retry_after_s
    assert isinstance(await ask(fleet, "hi"), protocol.Finish)
    with pytest.raises(errors.InvalidRequestError, match="at most 3"):
        async with fleet.lease("a", 4):
            pytest.fail("more than there is room for")


async def test_stopping_ends_open_requests_and_refuses_new_ones(make: Make) -> None:
    fleet = make("a", "b")
    await fleet.settled()
    async with fleet.lease("a") as engine:
        held = engine.chat(request("hold"))
        assert isinstance(await anext(held), protocol.Started)
        await fleet.stop()
        assert isinstance(await anext(held), protocol.Failure)
    assert {status.state for status in fleet.status()} == {ModelState.STOPPED}
    with pytest.raises(errors.EngineUnavailableError, match="stopping"):
        await ask(fleet, "hi")


class BrokenScales(NoSizing):
    """Something nobody has thought of."""

    async def estimate(self, spec: ModelSpec) -> int:
        raise RuntimeError(spec.name)


async def test_nobody_waits_for_a_conductor_that_is_gone(workshop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    fleet = Fleet([SPEC], workshop.create, sizing=BrokenScales(), ready_wait_s=600)
    fleet.start()
    with pytest.raises(RuntimeError, match="a"):
        await fleet.watch()
    with pytest.raises(errors.EngineUnavailableError, match="out of order"):
        async with fleet.lease("a"):
            pass
    assert "the fleet is out of order" in caplog.text
    await fleet.stop()
