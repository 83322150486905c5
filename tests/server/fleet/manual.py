"""A fleet under control: the time passes when a test says so, and models are as large as it says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from tests.fixtures.scripted_engine import Answer, Crash, Hold, ScriptedEngine
from zoe_server import errors, protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine, Health, Loading
from zoe_server.engines.engine_log import LogLine
from zoe_server.fleet.clock import Clock
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.model_state import ModelStatus
from zoe_server.fleet.sizing import LoadedModel

ANSWERS = [Answer((Crash(),), "crash"), Answer((Hold(),), "hold"), Answer((protocol.Text("Hi"),))]


class ManualClock(Clock):
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now_s(self) -> float:
        return self._now_s

    async def sleep_until(self, moment_s: float) -> None:
        if moment_s > self._now_s:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleepers.append((moment_s, woken))
            await woken

    def advance(self, duration_s: float) -> None:
        """Let time pass at once, and wake who has slept long enough."""
        self._now_s += duration_s
        for moment_s, woken in self._sleepers:
            if moment_s <= self._now_s and not woken.done():
                woken.set_result(None)
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].done()]


class GivenScales:
    """Models take the bytes in `sizes`; once loaded they take those in `measured`, if they are there."""

    def __init__(self, budget: int, sizes: Mapping[str, int], measured: Mapping[str, int] | None = None) -> None:
        self.budget = budget
        self.asked: list[tuple[LoadedModel, ...]] = []
        self._sizes = sizes
        self._measured = measured or {}

    async def budget_bytes(self, loaded: Sequence[LoadedModel] = ()) -> int:
        self.asked.append(tuple(loaded))
        return self.budget

    async def estimate(self, spec: ModelSpec) -> int:
        return self._sizes[spec.name]

    async def free_bytes(self) -> None:
        return None

    async def weigh(self, spec: ModelSpec, engine: Engine, free_before_bytes: int | None) -> int | None:
        del engine, free_before_bytes
        return self._measured.get(spec.name)


class Workshop:
    """Makes scripted engines. `gate` holds up the start of those in `slow`; those in `broken` fail with its error.

    The processes of those in `undying` do not end before their `ended` is set.
    """

    def __init__(self) -> None:
        self.made: list[tuple[str, ManualEngine]] = []
        self.broken: dict[str, errors.ZoeError] = {}
        self.slow: set[str] = set()
        self.undying: set[str] = set()
        self.gate = asyncio.Event()
        self.may_end = asyncio.Event()
        """Set, unless the test makes engines that are stopped wait for it."""
        self.may_end.set()

    def create(self, spec: ModelSpec) -> ManualEngine:
        engine = ManualEngine(spec, self)
        self.made.append((spec.name, engine))
        if spec.name in self.undying:
            engine.ended.clear()
        return engine

    @property
    def names(self) -> list[str]:
        """The models of the engines made so far."""
        return [name for name, _ in self.made]

    def last(self, name: str) -> ManualEngine:
        """The engine of the model that was made last."""
        return next(engine for made, engine in reversed(self.made) if made == name)


class ManualEngine(ScriptedEngine):
    """Reports its health as `pulse` says; without one, it does not."""

    def __init__(self, spec: ModelSpec, workshop: Workshop) -> None:
        super().__init__(spec, ANSWERS)
        self._workshop = workshop
        self._name = spec.name
        self.pulse: Health | None = None
        self.stopped = False
        self.ended = asyncio.Event()
        """Set, unless the test makes it an engine whose process does not end."""
        self.ended.set()

    @property
    def health(self) -> Health:
        return self.pulse or super().health

    async def start(self) -> None:
        if self._name in self._workshop.slow:
            await self._workshop.gate.wait()
        if self._name in self._workshop.broken:
            self.stopped = True
            raise self._workshop.broken[self._name]
        await super().start()

    async def stop(self) -> None:
        self.stopped = True
        await self._workshop.may_end.wait()
        await super().stop()

    @property
    def loading(self) -> Loading | None:
        return Loading("model", 0.5) if self._name in self._workshop.slow else None

    @property
    def log(self) -> tuple[LogLine, ...]:
        number = [engine for name, engine in self._workshop.made if name == self._name].index(self)
        return (LogLine(0.0, logging.INFO, f"engine {number} of {self._name}"),)

    @property
    def lingers(self) -> bool:
        return self.stopped and not self.ended.is_set()

    async def wait_ended(self) -> None:
        await self.ended.wait()


def request(text: str) -> protocol.ChatRequest:
    """Return a request that says `text`."""
    return protocol.ChatRequest("q", "m", ({"role": "user", "content": text},))


async def ask(fleet: Fleet, model: str, text: str = "hi", *, background: bool = False) -> protocol.ChatEvent:
    """Return the terminal event."""
    async with asyncio.timeout(20), fleet.lease(model, background=background) as engine:
        return [event async for event in engine.chat(request(text))][-1]


def status(fleet: Fleet, model: str) -> ModelStatus:
    """Return where the model stands."""
    return next(one for one in fleet.status() if one.name == model)


def states(fleet: Fleet) -> dict[str, str]:
    """Return where all models stand, in words."""
    return {one.name: one.state.value for one in fleet.status()}


async def until(fleet: Fleet, condition: Callable[[], bool]) -> None:
    """Return when the fleet has come to rest and `condition` holds."""
    async with asyncio.timeout(20):
        await fleet._reconciler.until(condition)
