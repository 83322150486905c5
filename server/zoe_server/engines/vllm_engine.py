"""`VllmEngine`: a model that vLLM runs in a process of this machine, spoken to as to any server of OpenAI's API.

Its server listens on the loopback, on a port and with a key that nobody else knows. The process is held on a leash
(`leash`), so that all of its workers end when it is unloaded, and when we are gone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import signal
import socket
import time
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from zoe_server import errors
from zoe_server.catalogue.engine_options import OpenAIOptions, VllmOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines import vllm_command
from zoe_server.engines.base import Health, Loading
from zoe_server.engines.engine_log import LogLine
from zoe_server.engines.load_watch import LoadWatch
from zoe_server.engines.openai_engine import OpenAIEngine
from zoe_server.engines.process import ManagedProcess, StopTimeouts, python_command
from zoe_server.engines.remote_connection import RemoteConnection

_LOGGER: Final = logging.getLogger(__name__)
_LOOK_S: Final = 5.0
_LOAD_LOOK_S: Final = 1.0
_STALL_S: Final = 300.0
_STOP_TIMEOUTS: Final = StopTimeouts(leave_s=12.0)
"""The leash ends the workers first."""
_LOOPBACK: Final = "127.0.0.1"
_RUNNING: Final = "vllm:num_requests_running"
_WAITING: Final = "vllm:num_requests_waiting"


class VllmEngine(OpenAIEngine):
    """One `vllm serve`, and the model in it; `look_s` is the pause between two looks whether it is there."""

    def __init__(self, spec: ModelSpec, look_s: float = _LOOK_S) -> None:
        if not isinstance(spec.options, VllmOptions):
            raise TypeError(f"vLLM does not run {spec.name}")
        self._vllm = spec.options
        self._port = _free_port()
        self._key = secrets.token_urlsafe()
        self._config = vllm_command.read_config(spec.path)
        root = f"http://{_LOOPBACK}:{self._port}"
        theirs = OpenAIOptions(
            urls=(root,),
            api_key=SecretStr(self._key),
            model=spec.name,
            tools=vllm_command.tool_parser(spec, spec.options, self._config) is not None,
            schemas=True,
            pictures=spec.options.pictures,
            priming=spec.options.prefix_cache,
            silence_s=spec.options.silence_s,
        )
        super().__init__(spec, root, look_s, theirs)
        self._process: ManagedProcess | None = None
        self._loading: Loading | None = None
        self._queues = Health(alive=False)
        self._ending: asyncio.Task[None] | None = None

    @property
    def health(self) -> Health:
        """Whether it answers, and what it says of its queue."""
        there, queues = super().health, self._queues
        return Health(there.alive, running=queues.running, waiting=queues.waiting, reported_at=there.reported_at)

    @property
    def loading(self) -> Loading | None:
        """What it last wrote of its load."""
        return self._loading

    @property
    def log(self) -> tuple[LogLine, ...]:
        """What it wrote last."""
        return self._process.log if self._process else ()

    @property
    def pid(self) -> int | None:
        """The process that has all the others, None before it started."""
        return self._process.pid if self._process else None

    @property
    def lingers(self) -> bool:
        """Whether the process is there although it was killed."""
        return self._process is not None and self._process.lingers

    async def start(self) -> None:
        """Start vLLM and return when the model has written a token. See `base.Engine.start`."""
        try:
            process = await self._spawn()
            await self._await_server(process)
            self._loading = Loading("first token")
            await super().start()
        except BaseException:
            await self.stop()
            raise
        finally:
            self._loading = None
        self._ending = asyncio.create_task(self._await_end(process), name=f"vllm {self.spec.name}")

    async def kill(self, reason: str) -> None:
        """End the process at once. See `base.Engine.kill`."""
        await super().kill(reason)
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End the process and all that it started. See `base.Engine.stop`."""
        if self._ending is not None:
            self._ending.cancel()
        await super().stop()
        if self._process is not None:
            await self._process.stop()

    async def wait_ended(self) -> None:
        """Return once the process has ended. See `base.Engine.wait_ended`."""
        if self._process is not None:
            await self._process.wait()

    async def _look(self, connection: RemoteConnection) -> None:
        """See how many requests run and wait there; see `RemoteEngine`."""
        text = await connection.text_at_root("metrics")
        counts = {_RUNNING: 0, _WAITING: 0}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in counts:
                    counts[sample.name] += int(sample.value)
        self._queues = Health(alive=True, running=counts[_RUNNING], waiting=counts[_WAITING])

    async def _spawn(self) -> ManagedProcess:
        """Start the process.

        Raises:
            errors.EngineUnavailableError: vLLM is not here.
        """
        program = shutil.which(self._vllm.program)
        if program is None:
            raise self._unavailable(
                f"there is no program {self._vllm.program!r}: install vLLM in an environment of its own, and say where "
                "its `vllm` is with `program` in the model's table"
            )
        command = [program, *vllm_command.command(self.spec, self._vllm, self._port, self._config)[1:]]
        log = _LOGGER.getChild(self.spec.name)
        self._process = await ManagedProcess.spawn(
            python_command("zoe_server.engines.leash", *command),
            self.spec.name,
            log,
            _STOP_TIMEOUTS,
            vllm_command.environment(self._vllm, self._key),
        )
        return self._process

    async def _await_server(self, process: ManagedProcess) -> None:
        """Return when its server answers, however long that takes, as long as the load gets on."""
        watch = LoadWatch(self.spec, process.work, _STALL_S, time.monotonic)
        ended = asyncio.ensure_future(process.wait())
        last: tuple[LogLine, ...] = ()
        try:
            while not ended.done():
                if await _listens(self._port):
                    return
                await asyncio.wait({ended}, timeout=_LOAD_LOOK_S)
                if (lines := process.log) != last:
                    last = lines
                    watch.heard()
                    self._loading = Loading("model", _last_progress(lines))
                if (objection := watch.objection()) is not None:
                    raise self._unavailable(objection)
        finally:
            ended.cancel()
        raise self._load_error(process)

    async def _await_end(self, process: ManagedProcess) -> None:
        await process.wait()
        await self._end(process.explain_end())

    def _load_error(self, process: ManagedProcess) -> errors.EngineUnavailableError:
        """The process ended before the model was ready: return what that means."""
        lines = [line.text for line in process.log]
        told = next((line for line in reversed(lines) if vllm_command.lacks_memory(line)), process.lacked_memory)
        if told is not None:
            text = f"the engine of model {self.spec.name!r} has too little memory: {told}"
            return errors.OutOfMemoryError(text)
        return self._unavailable(vllm_command.cause(lines) or process.explain_end())

    def _unavailable(self, reason: str) -> errors.EngineUnavailableError:
        return errors.EngineUnavailableError(f"the engine of model {self.spec.name!r} is not available: {reason}")


def _last_progress(lines: tuple[LogLine, ...]) -> float | None:
    return next((found for line in reversed(lines) if (found := vllm_command.progress(line.text)) is not None), None)


def _free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.create_server((_LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(_LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
