"""Real processes that are killed, stand still or cannot load: the fleet answers again, and no request is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest

from tests.soak.chaos import FAULTS, N_HELD, STUCK_S, Fault, suffer
from zoe_server import errors, protocol

BUSY_MACHINE_S = 60.0
"""Starting a process may take long where others compute."""
GATEWAY = """
import asyncio, sys
from tests.soak.chaos import House

async def main():
    house = House()
    house.fleet.start()
    await house.fleet.settled()
    print(house.engines[-1].pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_the_fleet_answers_again(fault: Fault) -> None:
    outcome = await suffer(fault)
    assert outcome.recovered_s < STUCK_S + BUSY_MACHINE_S
    assert outcome.starts == (3 if fault.at_load else 2)
    assert outcome.orphans == ()
    assert len(outcome.ends) == (N_HELD if fault.busy else 0)
    for end in outcome.ends:
        assert isinstance(end, protocol.Failure)
        assert isinstance(end.error, errors.EngineCrashedError)


def test_a_gateway_that_is_killed_leaves_no_orphan() -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'server'}{os.pathsep}{root}"}
    with subprocess.Popen(
        [sys.executable, "-c", GATEWAY], stdout=subprocess.PIPE, text=True, env=environment
    ) as gateway:
        assert gateway.stdout is not None
        engine = psutil.Process(int(gateway.stdout.readline()))
        assert engine.ppid() == gateway.pid
        assert os.getpgid(engine.pid) == engine.pid
        gateway.send_signal(signal.SIGKILL)
        gone, _ = psutil.wait_procs([engine], timeout=BUSY_MACHINE_S)
    assert gone == [engine]
