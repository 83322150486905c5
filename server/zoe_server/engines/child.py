"""A child process that cannot outlive us: its own process group, a stdin that ends with us, the last lines it wrote.

It knows nothing of what the child does. A child leaves when its stdin ends: a gateway that is killed leaves no orphan.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from zoe_server import errors

_TAIL_LINES: Final = 40
_LINE_LIMIT_BYTES: Final = 1 << 20
_LEAVE_S: Final = 5.0
_TERMINATE_S: Final = 2.0
_CPU_FAULTS: Final = frozenset({signal.SIGILL, signal.SIGSEGV, signal.SIGBUS})


class Child:
    """One running child process. Make it with `spawn`."""

    def __init__(self, process: asyncio.subprocess.Process, log: logging.Logger) -> None:
        self._process = process
        self._log = log
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._insisted = False
        self._stderr_task = asyncio.create_task(self._read_stderr())

    @classmethod
    async def spawn(cls, command: Sequence[str], log: logging.Logger, extra_env: Mapping[str, str]) -> Child:
        """Start `command` in its own process group; its standard output is discarded.

        Raises:
            OSError: the program cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **extra_env},
            process_group=0,
            limit=_LINE_LIMIT_BYTES,
        )
        return cls(process, log)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    @property
    def lacked_memory(self) -> str | None:
        """What tells that it ended because memory ran out: the kernel's hand, which is not ours, or its last words."""
        code = self._process.returncode
        if code == -signal.SIGKILL and not self._insisted:
            return "SIGKILL"
        told = (line for line in reversed(self._tail) if errors.OutOfMemoryError.is_told_by(line))
        return next(told, None) if code else None

    @property
    def tail(self) -> list[str]:
        """The last lines of its standard error."""
        return list(self._tail)

    async def wait(self) -> int:
        """Return its exit code (negative: the signal that killed it) once it has ended and its last words are read."""
        code = await self._process.wait()
        await asyncio.wait({self._stderr_task})  # unlike a plain await, a cancelled caller does not cancel the reader
        return code

    async def stop(self) -> int:
        """Close its stdin, then insist: SIGTERM, at last SIGKILL, to its whole group. Returns the exit code."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        for patience_s, insist in ((_LEAVE_S, signal.SIGTERM), (_TERMINATE_S, signal.SIGKILL)):
            try:
                return await asyncio.wait_for(self.wait(), patience_s)
            except TimeoutError:
                self._log.warning("engine process %d does not leave; sending %s", self.pid, insist.name)
                self.signal(insist)
        return await self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its whole process group, if it still exists."""
        if self.running:
            self._insisted = self._insisted or number is signal.SIGKILL
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                self._log.debug("process group %d is already gone", self.pid)

    async def _read_stderr(self) -> None:
        stream = self._process.stderr
        if stream is None:
            return
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line beyond the limit; the stream has dropped it and goes on
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            self._tail.append(text)
            self._log.debug("%s", text)


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `module` with this very Python."""
    return [sys.executable, "-m", module, *arguments]


def python_env() -> dict[str, str]:
    """Return the environment in which a child imports the same `zoe_server` as we did."""
    ours = str(Path(__file__).resolve().parents[2])
    theirs = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{ours}{os.pathsep}{theirs}" if theirs else ours, "PYTHONUNBUFFERED": "1"}


def explain_exit(code: int, tail: Sequence[str], *, loading_phase: str | None = None) -> str:
    """Say in plain words why a child ended and, where known, what to do about it.

    Args:
        code: the exit code; negative is the signal that killed it.
        tail: the last lines it wrote.
        loading_phase: what it did last if it never became ready ("model" is reading the model's file, "" unknown), else
            None. A CPU fault before it ever worked means that the build does not fit this CPU.
    """
    if code < 0:
        number = -code
        name = signal.Signals(number).name if number in signal.Signals.__members__.values() else f"signal {number}"
        if loading_phase == "model" and number != signal.SIGILL and number in _CPU_FAULTS:
            return f"it crashed while it read the model's file ({name}): the file may be damaged, get it again"
        if loading_phase is not None and number in _CPU_FAULTS:
            return (
                f"the llama.cpp build crashes on this CPU ({name}). Build it again with ./scripts/setup, which leaves "
                "out the instructions that fail here (such as AMX, which virtual machines offer but do not run)"
            )
        if number == signal.SIGKILL:
            return "it was killed (SIGKILL), which the system does when memory runs out: use a smaller model or context"
        return f"it was ended by {name}"
    last = next((line for line in reversed(tail) if line.strip()), "it said nothing")
    return f"it ended with exit code {code}: {last}"
