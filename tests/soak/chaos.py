"""What goes wrong with engine processes, one fault after the other, and how long the fleet takes to answer again.

`PYTHONPATH=server:. python -m tests.soak.chaos` prints a table. The processes are stand-ins without a model, so the
times are those of the fleet: to notice, to give up, to start anew. An engine that stands still for `STUCK_S` is stuck
here.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # it comes without type information

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.local import LocalEngine
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.health import HealthPolicy
from zoe_server.fleet.restart import RestartPolicy

STAND_IN: Final = Path(__file__).with_name("stand_in_engine.py")
STUCK_S: Final = 2.0
HEALTH: Final = HealthPolicy(stuck_s=STUCK_S, interval_s=0.5, busy_interval_s=0.5)
RESTART: Final = RestartPolicy(first_s=0.25, unhealthy_s=2.0, no_memory_s=1.0)
N_HELD: Final = 3
HANG_S: Final = 120.0
SPEC: Final = ModelSpec("m", Path("unused"), queue_limit=4, options=LlamaOptions(n_slots=4))


@dataclass(frozen=True, slots=True)
class Fault:
    """`sent` to an engine that is ready, while it works if it is `busy`; `at_load` is how its successor fails."""

    name: str
    sent: signal.Signals = signal.SIGKILL
    busy: bool = False
    at_load: str = ""


FAULTS: Final = (
    Fault("killed while it works", busy=True),
    Fault("killed while it is idle"),
    Fault("stands still while it works", signal.SIGSTOP, busy=True),
    Fault("stands still while it is idle", signal.SIGSTOP),
    Fault("killed, exits while it loads", at_load="exit"),
    Fault("killed, killed while it loads", at_load="kill"),
    Fault("killed, aborts for want of memory", at_load="abort"),
    Fault("killed, cannot allocate memory", at_load="allocate"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: how long until an answer, how the requests ended that were open, and what was left over."""

    recovered_s: float
    ends: tuple[protocol.ChatEvent, ...]
    starts: int
    orphans: tuple[psutil.Process, ...]


class House:
    """A fleet of one model whose engines are stand-ins; `faults` are those of the next ones to load."""

    def __init__(self) -> None:
        self.faults: deque[str] = deque()
        self.engines: list[LocalEngine] = []
        self.fleet = Fleet((SPEC,), self._create, ready_wait_s=HANG_S, policy=RESTART, health=HEALTH)

    def _create(self, spec: ModelSpec) -> LocalEngine:
        self.engines.append(LocalEngine(spec, self._command))
        return self.engines[-1]

    def _command(self, config: Mapping[str, Any]) -> list[str]:
        fault = self.faults.popleft() if self.faults else ""
        return [sys.executable, str(STAND_IN), json.dumps({"socket_path": config["socket_path"], "fault": fault})]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the engine that runs."""
        psutil.Process(self.engines[-1].pid).send_signal(number)

    async def ask(self, text: str, begun: asyncio.Event | None = None) -> list[protocol.ChatEvent]:
        """Return all events of a request; a refusal is a `Failure`, too."""
        request = protocol.ChatRequest("q", "m", ({"role": "user", "content": text},))
        events: list[protocol.ChatEvent] = []
        try:
            async with self.fleet.lease("m") as engine:
                async for event in engine.chat(request):
                    events.append(event)
                    if begun is not None:
                        begun.set()
        except errors.EngineUnavailableError as error:
            events.append(protocol.Failure(error))
        return events


async def suffer(fault: Fault) -> Outcome:
    """Let one fault happen and return how it ended."""
    others = set(psutil.Process().children(recursive=True))
    house, loop = House(), asyncio.get_running_loop()
    house.fleet.start()
    try:
        async with asyncio.timeout(HANG_S):
            await house.fleet.settled()
            begun = [asyncio.Event() for _ in range(N_HELD if fault.busy else 0)]
            held = [asyncio.create_task(house.ask("hold", one)) for one in begun]
            for one in begun:
                await one.wait()
            house.faults.extend([fault.at_load] if fault.at_load else [])
            began_s = loop.time()
            house.send(fault.sent)
            while house.fleet.status()[0].restarts == 0:  # noqa: ASYNC110 - nobody is told of it
                await asyncio.sleep(0.005)
            assert isinstance((await house.ask("hello"))[-1], protocol.Finish)
            recovered_s = loop.time() - began_s
            ends = [await task for task in held]
    finally:
        await house.fleet.stop()
    terminal = [event for events in ends for event in events if isinstance(event, protocol.TERMINAL_EVENTS)]
    orphans = tuple(child for child in psutil.Process().children(recursive=True) if child not in others)
    return Outcome(recovered_s, tuple(terminal), len(house.engines), orphans)


async def main() -> None:
    """Print the table."""
    print(f"{'fault':<36} {'answers again after':>20} {'requests failed':>16}  orphans")  # noqa: T201
    for fault in FAULTS:
        outcome = await suffer(fault)
        took = f"{outcome.recovered_s:.2f} s"
        print(f"{fault.name:<36} {took:>20} {len(outcome.ends):>16}  {len(outcome.orphans)}")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
