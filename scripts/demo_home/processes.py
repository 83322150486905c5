"""Child processes in process groups of their own: started, watched, and stopped whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from demo_home.errors import DemoError

STOP_GRACE_S = 10.0
_LOG_TAIL_LINES = 25


@dataclass(frozen=True, slots=True)
class Service:
    """A running child; its output goes to `log`."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def describe_end(self) -> str:
        """Return what is known about an end that nobody asked for."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n  ".join([f"{self.name} ended with code {self.process.returncode}; its last words:", *lines])

    async def raise_when_ended(self) -> None:
        """Wait for the child's end, which is an error.

        Raises:
            DemoError: always, in the end.
        """
        await self.process.wait()
        raise DemoError(self.describe_end())


@asynccontextmanager
async def running(
    name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[Service]:
    """Run `command` in `folder`, in a session of its own, and stop its whole process group on the way out.

    A session of its own: Ctrl-C in the terminal reaches the demo alone, which then stops its children in order.
    """
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        yield Service(name, process, log)
    finally:
        await asyncio.shield(_stop(process))


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask politely, then kill what is left of the group, which may outlive its leader."""
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):  # one that needs longer is killed below
            await asyncio.wait_for(process.wait(), STOP_GRACE_S)
    _kill_group(process.pid)
    await process.wait()


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # the usual case: nobody is left
