"""Programs of others, real ones, that end with us and with all that they started."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable

import psutil
import pytest

from zoe_server.engines.leash import with_priority
from zoe_server.engines.process import ManagedProcess, StopTimeouts, python_command

Spawn = Callable[..., Awaitable[ManagedProcess]]
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("INFO 12-01 10:00:00 ready", child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FAMILY


@pytest.fixture
async def spawn() -> AsyncGenerator[Spawn]:
    spawned: list[ManagedProcess] = []

    async def start(program: str) -> ManagedProcess:
        command = python_command("zoe_server.engines.leash", sys.executable, "-c", program)
        timeouts = StopTimeouts(leave_s=20.0)
        spawned.append(await ManagedProcess.spawn(command, "m", logging.getLogger("test"), timeouts))
        return spawned[-1]

    yield start
    for process in spawned:
        await process.stop()


async def family(process: ManagedProcess) -> list[psutil.Process]:
    """Return the program and its child, once both are there."""
    async with asyncio.timeout(20):
        while not any("ready" in line.text for line in process.log):  # noqa: ASYNC110 -- it is the state of another process that counts
            await asyncio.sleep(0.02)
    return psutil.Process(process.pid).children(recursive=True)


async def all_gone(processes: list[psutil.Process]) -> bool:
    _, there = await asyncio.to_thread(psutil.wait_procs, processes, 20)
    return not there


@pytest.mark.parametrize("program", [FAMILY, STUBBORN])
async def test_everybody_ends_with_our_end_of_its_input(spawn: Spawn, program: str) -> None:
    process = await spawn(program)
    started = await family(process)
    assert len(started) == 2
    assert await process.stop() is not None
    assert await all_gone(started)


async def test_everybody_ends_when_it_is_killed(spawn: Spawn) -> None:
    process = await spawn(FAMILY)
    started = await family(process)
    process.signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert await all_gone(started)


async def test_children_end_with_the_program(spawn: Spawn) -> None:
    process = await spawn(FAMILY)
    program, child = sorted(await family(process), key=lambda one: one.create_time())
    program.kill()
    assert await process.wait() == -signal.SIGKILL
    assert await all_gone([child])
    assert process.lacked_memory == "SIGKILL"


@pytest.mark.parametrize("code", [0, 3])
async def test_it_ends_as_the_program_does(spawn: Spawn, code: int) -> None:
    process = await spawn(f"import sys; print('ERROR no such model'); sys.exit({code})")
    assert await process.wait() == code
    assert [(line.level, line.text) for line in process.log] == [(logging.ERROR, "ERROR no such model")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"INFO 12-01 10:00:00 [api.py:1] on\n", b"<6>INFO 12-01 10:00:00 [api.py:1] on\n"),
        (b"(EngineCore pid=7) WARNING 12-01 x\n", b"<4>(EngineCore pid=7) WARNING 12-01 x\n"),
        (b"(APIServer pid=7) ERROR y\n", b"<3>(APIServer pid=7) ERROR y\n"),
        (b"Traceback (most recent call last):\n", b"Traceback (most recent call last):\n"),
        (b"INFORMATION\n", b"INFORMATION\n"),
    ],
)
def test_levels(line: bytes, expected: bytes) -> None:
    assert with_priority(line) == expected
