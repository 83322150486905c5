"""`ManagedProcess`: an engine's process, which cannot outlive us: a group of its own, a stdin that ends with us.

It knows nothing of what the process does and how it is spoken to. A process leaves when its stdin ends, so that a
gateway that is killed leaves no orphan.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # it comes without type information

from zoe_server import errors
from zoe_server.engines.engine_log import EngineLog, LogLine

_LINE_LIMIT_BYTES: Final = 1 << 20
_LEAST_LOAD: Final = 0.01
"""Of one CPU: threads of a driver that only look whether there is something to do take less."""
_LEAST_READ_BYTES: Final = 1 << 20
_CPU_FAULTS: Final = frozenset({signal.SIGILL, signal.SIGSEGV, signal.SIGBUS})


@dataclass(frozen=True, slots=True)
class StopTimeouts:
    """How long a process that is to end is waited for, in seconds: until it leaves, after SIGTERM, after SIGKILL.

    What it wrote is read for another `last_words_s` at most: others may hold the end of its standard error.
    """

    leave_s: float = 5.0
    terminate_s: float = 2.0
    kill_s: float = 5.0
    last_words_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a process has done since its start."""

    cpu_s: float = 0.0
    read_bytes: int = 0

    def is_progress(self, before: Work, duration_s: float) -> bool:
        """Whether it did something worth the name since `before`, which was `duration_s` ago: computed, or read."""
        computed = self.cpu_s - before.cpu_s >= _LEAST_LOAD * duration_s
        return computed or self.read_bytes - before.read_bytes >= _LEAST_READ_BYTES


class ManagedProcess:
    """One running child process. Make it with `spawn`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        stderr: tuple[asyncio.ReadTransport, asyncio.StreamReader],
        log: EngineLog,
        logger: logging.Logger,
        stop_timeouts: StopTimeouts,
    ) -> None:
        self._process = process
        self._pipe, stream = stderr
        self._written = log
        self._log = logger
        self._stop_timeouts = stop_timeouts
        self._insisted = self._given_up = False
        self._stopping: asyncio.Task[int | None] | None = None
        self._stderr_task = asyncio.create_task(self._read_stderr(stream))

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        name: str,
        log: logging.Logger,
        stop_timeouts: StopTimeouts | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ManagedProcess:
        """Start `command`, the engine of `name`, in its own process group; its standard output is discarded.

        Its environment is ours and what `environment` adds.

        Raises:
            OSError: the program cannot be started.
        """
        pipe, stream, theirs = await _open_pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=theirs,
                env={**os.environ, **python_env(), **(environment or {})},
                process_group=0,
            )
        except BaseException:
            pipe.close()
            raise
        finally:
            os.close(theirs)
        return cls(process, (pipe, stream), EngineLog(name, log), log, stop_timeouts or StopTimeouts())

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    @property
    def lingers(self) -> bool:
        """Whether it is there although `stop` did all it can."""
        return self._given_up and self.running

    @property
    def lacked_memory(self) -> str | None:
        """What tells that it ended because memory ran out: the kernel's hand, which is not ours, or its last words."""
        code = self._process.returncode
        if code == -signal.SIGKILL and not self._insisted:
            return "SIGKILL"
        told = (line.text for line in reversed(self.log) if errors.OutOfMemoryError.is_told_by(line.text))
        return next(told, None) if code else None

    @property
    def log(self) -> tuple[LogLine, ...]:
        """The last lines that it wrote, the oldest first."""
        return self._written.lines

    def work(self) -> Work:
        """Return what it and those that it started have done so far; nothing once they have ended."""
        cpu_s, read_bytes = 0.0, 0
        for process in process_tree(self.pid):
            try:
                times = process.cpu_times()
                read_bytes += process.io_counters().read_bytes if hasattr(process, "io_counters") else 0
            except psutil.Error as error:
                self._log.debug("what process %d does is unknown: %s", process.pid, error)
                continue
            cpu_s += times.user + times.system
        return Work(cpu_s, read_bytes)

    def explain_end(self, *, loading_phase: str | None = None) -> str:
        """Say in plain words why it has ended, or that it does not; `loading_phase` as of `explain_exit`."""
        code = self._process.returncode
        if code is None:
            return "its process does not end, not even when it is killed"
        return explain_exit(code, [line.text for line in self.log], loading_phase=loading_phase)

    async def wait(self) -> int:
        """Return its exit code (negative: the signal that killed it) once it has ended and its last words are read."""
        code = await self._process.wait()
        # Unlike a plain await, this leaves the reader alone where the caller is cancelled.
        await asyncio.wait({self._stderr_task}, timeout=self._stop_timeouts.last_words_s)
        self._pipe.close()
        return code

    async def stop(self) -> int | None:
        """Close its stdin, then insist: SIGTERM, at last SIGKILL, to its whole group. Returns the exit code.

        None: not even that has ended it, since it waits for something within the kernel, a driver or a network disk.
        Whoever stops it besides waits for the same end.
        """
        self._stopping = self._stopping or asyncio.create_task(self._insist())
        return await asyncio.shield(self._stopping)

    async def _insist(self) -> int | None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        stop_timeouts = self._stop_timeouts
        insisting = ((stop_timeouts.leave_s, signal.SIGTERM), (stop_timeouts.terminate_s, signal.SIGKILL))
        for patience_s, insist in () if self._insisted else insisting:
            if (code := await self._ended_within(patience_s)) is not None:
                return code
            self._log.warning("engine process %d does not leave; sending %s", self.pid, insist.name)
            self.signal(insist)
        code = await self._ended_within(stop_timeouts.kill_s)
        if code is None:
            self._given_up = True
            self._log.error("engine process %d does not end, not even after SIGKILL", self.pid)
        return code

    async def _ended_within(self, patience_s: float) -> int | None:
        """Return the exit code, None if it has not ended after `patience_s`."""
        try:
            return await asyncio.wait_for(self.wait(), patience_s)
        except TimeoutError:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its whole process group, if it still exists."""
        if self.running:
            self._insisted = self._insisted or number is signal.SIGKILL
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                self._log.debug("process group %d is already gone", self.pid)

    async def _read_stderr(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line beyond the limit; the stream has dropped it and goes on
                continue
            if not line:
                return
            self._written.take(line)


async def _open_pipe() -> tuple[asyncio.ReadTransport, asyncio.StreamReader, int]:
    """Return what reads from a pipe, and the file descriptor that writes.

    One of our own: asyncio takes no process for ended as long as anybody holds the other end of its pipes.
    """
    ours, theirs = os.pipe()
    stream = asyncio.StreamReader(_LINE_LIMIT_BYTES)
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(ours, "rb"))
    return pipe, stream, theirs


def process_tree(pid: int) -> list[psutil.Process]:
    """Return the process and all that it started, as far as they are there."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


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
