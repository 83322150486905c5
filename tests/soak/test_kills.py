"""Whenever an engine process dies, every request ends exactly once, and those that come after it are answered."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.local import LocalEngine
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.restart import RestartPolicy

N_KILLS = 200
N_WORKERS = 6
N_EVENTS_BEFORE_KILL = 200
KILLED_AT_START = 0.1
HANG_S = 600.0
NAMES = ("Kitchen Light", "Bed Lamp", "Fan")
TURN_ON = protocol.Tool("TurnOn", "Turns it on.", {"type": "object", "properties": {"name": {"type": "string"}}})


class Engine(LocalEngine):
    """A real engine process; `ready` tells whether one answers."""

    def __init__(self, spec: ModelSpec, ready: asyncio.Event) -> None:
        super().__init__(spec)
        self._ready = ready

    async def start(self) -> None:
        await super().start()
        self._ready.set()

    async def kill(self) -> None:
        """End it as the system does when memory runs out, as soon as there is a process."""
        while self.pid is None:  # noqa: ASYNC110 - it is being started by somebody else
            await asyncio.sleep(0.001)
        self._ready.clear()
        os.kill(self.pid, signal.SIGKILL)


class House:
    """A fleet of one model, workers that ask it all the time, and one who kills its engine again and again."""

    def __init__(self, model: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._ready = asyncio.Event()
        self._made: asyncio.Queue[Engine] = asyncio.Queue()
        self._happened = asyncio.Condition()
        self._n_events = 0
        self._over = False
        self.endings: Counter[str] = Counter()
        spec = ModelSpec(
            "m", model, options=LlamaOptions(n_ctx_tokens=1024, n_slots=3, n_batch_tokens=128, n_threads=1)
        )
        at_once = RestartPolicy(first_s=0.0, quarantine_after=1_000_000, no_memory_s=0.0)
        self.fleet = Fleet([spec], self._create, ready_wait_s=HANG_S, policy=at_once)

    async def endure(self, n_kills: int) -> None:
        """Return after so many kills, when all that was asked has ended."""
        self.fleet.start()
        async with asyncio.TaskGroup() as tasks:
            for seed in range(N_WORKERS):
                tasks.create_task(self._work(seed))
            for _ in range(n_kills):
                await self._kill_next()
            await self._ready.wait()
            self._over = True  # what is asked already has to end by itself

    async def ask(self, request: protocol.ChatRequest, n_events: int | None = None) -> list[protocol.ChatEvent]:
        """Return the events of `request`, or the first `n_events` of them; a refusal is a `Failure` too."""
        seen: list[protocol.ChatEvent] = []
        try:
            async with asyncio.timeout(HANG_S), self.fleet.lease("m") as engine, aclosing(engine.chat(request)) as told:
                async for event in told:
                    seen.append(event)
                    await self._count()
                    if len(seen) == n_events:
                        break
        except errors.EngineUnavailableError as error:
            seen.append(protocol.Failure(error))
        return seen

    def _create(self, spec: ModelSpec) -> Engine:
        self._ready.clear()
        engine = Engine(spec, self._ready)
        self._made.put_nowait(engine)
        return engine

    async def _kill_next(self) -> None:
        engine = await self._made.get()
        if self._random.random() < KILLED_AT_START:
            await asyncio.sleep(self._random.random() * self.fleet.status()[0].load_s)
        else:
            await self._ready.wait()
            n_events = self._n_events + self._random.randrange(N_EVENTS_BEFORE_KILL)
            async with self._happened:
                await self._happened.wait_for(lambda: self._n_events >= n_events)
        await engine.kill()

    async def _work(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._over:
            request, n_events = make_request(chance)
            seen = await self.ask(request, n_events)
            ends = [event for event in seen if isinstance(event, protocol.TERMINAL_EVENTS)]
            if not ends:
                assert len(seen) == n_events
                self.endings["left"] += 1
                continue
            assert ends == [seen[-1]], seen
            self._judge(seen[-1])
            await self._ready.wait()

    def _judge(self, end: protocol.ChatEvent) -> None:
        if isinstance(end, protocol.Failure):
            assert isinstance(end.error, errors.EngineCrashedError | errors.EngineUnavailableError), end.error
            assert end.error.retry_after_s
            self.endings[end.error.code] += 1
        elif isinstance(end, protocol.Finish):
            self.endings[end.reason] += 1

    async def _count(self) -> None:
        self._n_events += 1
        async with self._happened:
            self._happened.notify_all()


def make_request(chance: random.Random) -> tuple[protocol.ChatRequest, int | None]:
    """Return any request, and after how many events it is given up, None for never."""
    text = " ".join(chance.choices(("lamp", "kitchen", "on", "please", "window"), k=chance.choice((3, 30, 300))))
    fields = {"max_tokens": chance.choice((1, 10, 200, None))}
    if chance.random() < 0.4:
        fields |= {
            "tools": (TURN_ON,),
            "tool_choice": protocol.ToolChoice("required"),
            "argument_values": {"name": NAMES},
        }
    request = protocol.ChatRequest("q", "m", ({"role": "user", "content": text},), **fields)  # type: ignore[arg-type]
    return request, chance.choice((None, None, None, 1, 5))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where engines put their sockets; its path is short, as those of sockets have to be."""
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


async def test_an_engine_may_be_killed_at_any_moment(
    random_model: Path, folder: Path, sized: Callable[..., int]
) -> None:
    n_kills = sized(N_KILLS)
    n_files, others = psutil.Process().num_fds(), psutil.Process().children()  # other tests may share a server
    house = House(random_model, seed=1)
    try:
        await house.endure(n_kills)
        hello = protocol.ChatRequest("q", "m", ({"role": "user", "content": "Hello"},), max_tokens=8)
        answered = await house.ask(hello)
        (status,) = house.fleet.status()
    finally:
        await house.fleet.stop()
    print(f"{n_kills} kills, {status.crashes} of them of engines that were ready, {dict(house.endings)}")  # noqa: T201
    assert isinstance(answered[-1], protocol.Finish)
    assert answered[-1].reason == "length"
    assert (status.open_requests, house.endings["engine_crashed"] > 0) == (0, True)
    assert 0 < status.crashes <= n_kills
    assert psutil.Process().children() == others
    assert [*folder.iterdir()] == []  # noqa: ASYNC240 - nothing else runs any more
    assert psutil.Process().num_fds() <= n_files + 2
