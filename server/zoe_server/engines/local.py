"""`LocalEngine`: a llama.cpp model in a process of this machine (`process`), spoken to over its `wire`.

If the process ends, or says something that cannot be understood, every open request gets exactly one `Failure`.

Loading may take any time as long as it gets on (`load_watch`). A process that neither reports, computes nor reads for
`stall_s`, or whose loop does not report that long, is killed. This module never loads llama_cpp.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from zoe_server import errors, protocol
from zoe_server.catalogue.model_info import ModelInfo
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Health, Loading
from zoe_server.engines.engine_log import LogLine
from zoe_server.engines.load_watch import LoadWatch
from zoe_server.engines.process import ManagedProcess, StopTimeouts, python_command
from zoe_server.engines.wire import Wire

_CONNECT_RETRY_S: Final = 0.02
_LOOK_S: Final = 1.0
_STALL_S: Final = 300.0
_TELL_PROGRESS_S: Final = 5.0
_BAR_WIDTH: Final = 20
_LOGGER: Final = logging.getLogger(__name__)
LOADING_LOG: Final = "zoe_server.loading"
"""Where loads that take long tell how far they are."""

EngineCommand = Callable[[Mapping[str, Any]], list[str]]


def llama_command(config: Mapping[str, Any]) -> list[str]:
    """Return the command that runs a llama.cpp engine process with `config`."""
    return python_command("zoe_server.llama", "--config", json.dumps(config))


class LocalEngine:
    """One engine process and its connection. See `base.Engine` for the promises."""

    def __init__(
        self,
        spec: ModelSpec,
        command: EngineCommand = llama_command,
        stall_s: float = _STALL_S,
        stop_timeouts: StopTimeouts | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._command = command
        self._stall_s = stall_s
        self._stop_timeouts = stop_timeouts or StopTimeouts()
        self._now_s = now_s
        self._log = _LOGGER.getChild(spec.name)
        self._folder: Path | None = None
        self._process: ManagedProcess | None = None
        self._wire: Wire | None = None
        self._listening: asyncio.Task[None] | None = None
        self._info = ModelInfo()
        self._loading: Loading | None = None
        self._told_progress_s = 0.0
        self._health = Health(alive=False)
        self._closed: asyncio.Future[str] | None = None

    @property
    def info(self) -> ModelInfo:
        """What the process told about its model when it became ready."""
        return self._info

    @property
    def health(self) -> Health:
        """What the engine loop last reported."""
        return self._health

    @property
    def loading(self) -> Loading | None:
        """What the process last said of its load."""
        return self._loading

    @property
    def log(self) -> tuple[LogLine, ...]:
        """What the process wrote last."""
        return self._process.log if self._process else ()

    @property
    def pid(self) -> int | None:
        """The process id of the engine, None before it started."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process and return when its model is warm. See `base.Engine.start`."""
        self._closed = asyncio.get_running_loop().create_future()
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="zoe-engine-"))
            process = await self._spawn(self._folder / "engine.sock")
            watch = LoadWatch(self._spec, process.work, self._stall_s, self._now_s)
            self._wire = wire = await self._connect(process, self._folder / "engine.sock", watch)
            self._info = await self._await_ready(process, wire, watch)
        except OSError as error:
            await self.stop()
            raise self._unavailable(f"there is no socket to its process: {error}") from error
        except BaseException:
            await self.stop()
            raise
        finally:
            self._loading = None
        self._health = Health(alive=True, reports=0, reported_at=time.time())
        self._listening = asyncio.create_task(self._listen(process, wire), name=f"engine {self._spec.name}")

    async def chat(self, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Answer `request`. See `base.Engine.chat`."""
        if self._wire is None or not self._health.alive:
            yield protocol.Failure(self._unavailable("it is not running"))
            return
        async with aclosing(self._wire.events("chat", request)) as events:
            async for event in events:
                if not isinstance(event, protocol.Embedding):
                    yield event

    async def embed(self, request: protocol.EmbedRequest) -> protocol.Embeddings:
        """Return the vectors of the inputs. See `base.Engine.embed`."""
        vectors: list[tuple[float, ...]] = [()] * len(request.inputs)
        async with aclosing(self._running_wire().events("embed", request)) as events:
            async for event in events:
                if isinstance(event, protocol.Failure):
                    raise event.error
                if isinstance(event, protocol.Embedding):
                    vectors[event.index] = event.vector
                if isinstance(event, protocol.Finish) and event.reason == "stop":
                    return protocol.Embeddings(tuple(vectors), event.usage, event.timings)
        raise self._unavailable("it gave the request up without being asked to")

    async def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
        """Return the tokens of `text`. See `base.Engine.tokenize`."""
        question = {"op": "tokenize", "text": text, "add_special": add_special, "parse_special": parse_special}
        tokens: list[int] = (await self._running_wire().ask(question))["tokens"]
        return tokens

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`. See `base.Engine.detokenize`."""
        return str((await self._running_wire().ask({"op": "detokenize", "tokens": list(tokens)}))["text"])

    async def wait_closed(self) -> str:
        """Return why the process is gone, once it is. See `base.Engine.wait_closed`."""
        if self._closed is None:
            return "it was never started"
        return await asyncio.shield(self._closed)

    async def kill(self, reason: str) -> None:
        """End the process at once. See `base.Engine.kill`."""
        self._close(reason, self._crashed(reason))
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End the process and remove its socket. See `base.Engine.stop`."""
        self._close("the server stops it", self._unavailable("the server is stopping"))
        if self._wire is not None:
            self._wire.close()
        if self._process is not None:
            await self._process.stop()
        if self._listening is not None:
            await asyncio.wait({self._listening})
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)  # the child may have removed its socket at the same moment

    @property
    def lingers(self) -> bool:
        """Whether the process is there although it was killed."""
        return self._process is not None and self._process.lingers

    async def wait_ended(self) -> None:
        """Return once the process has ended. See `base.Engine.wait_ended`."""
        if self._process is not None:
            await self._process.wait()

    async def _spawn(self, socket_path: Path) -> ManagedProcess:
        try:
            command = self._command(engine_config(self._spec, socket_path))
            self._process = await ManagedProcess.spawn(command, self._spec.name, self._log, self._stop_timeouts)
        except OSError as error:
            raise self._unavailable(f"its process cannot be started: {error}") from error
        return self._process

    async def _connect(self, process: ManagedProcess, socket_path: Path, watch: LoadWatch) -> Wire:
        """Return the connection to the process, as soon as it listens; ends early if the process does."""
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                if (wire := await Wire.connect(socket_path)) is not None:
                    return wire
                await asyncio.wait({ended}, timeout=_CONNECT_RETRY_S)
                self._check(watch)
        finally:
            ended.cancel()
        raise await self._load_error(process, "")

    async def _await_ready(self, process: ManagedProcess, wire: Wire, watch: LoadWatch) -> ModelInfo:
        """Follow the loading reports to their end and return the engine's `info`."""
        phase, self._told_progress_s = "", time.monotonic()
        while True:
            try:
                message = await self._next_report(wire, watch)
            except ValueError as error:
                raise self._unavailable(f"its process stopped making sense while it loaded: {error}") from error
            if message is None:
                raise await self._load_error(process, phase)
            match message.get("event"):
                case "ready":
                    return ModelInfo.model_validate(message.get("info", {}))
                case "fatal":
                    told = errors.from_wire(message.get("error") or {})
                    lacks_memory = isinstance(told, errors.OutOfMemoryError)
                    raise self._out_of_memory(told.message) if lacks_memory else self._unavailable(told.message)
                case "loading":
                    phase = str(message.get("phase", ""))
                    self._take_loading(Loading(phase, message.get("progress")))
                case other:
                    self._log.debug("unexpected while loading: %r", other)

    async def _next_report(self, wire: Wire, watch: LoadWatch) -> Mapping[str, Any] | None:
        """Return what is said next, however long that takes, as long as the load gets on."""
        said = asyncio.ensure_future(wire.next_message())
        try:
            while not (await asyncio.wait({said}, timeout=_LOOK_S))[0]:
                self._check(watch)
            watch.heard()
            return said.result()
        finally:
            said.cancel()

    def _check(self, watch: LoadWatch) -> None:
        if (objection := watch.objection()) is not None:
            raise self._unavailable(objection)

    def _take_loading(self, loading: Loading) -> None:
        """Keep how far the load is, and write it to the log now and then."""
        self._loading, now_s = loading, time.monotonic()
        if loading.progress is not None and now_s - self._told_progress_s >= _TELL_PROGRESS_S:
            self._told_progress_s = now_s
            bar = ("#" * round(loading.progress * _BAR_WIDTH)).ljust(_BAR_WIDTH, ".")
            logging.getLogger(LOADING_LOG).info("%s [%s] %.0f %%", self._spec.name, bar, 100 * loading.progress)

    async def _listen(self, process: ManagedProcess, wire: Wire) -> None:
        """Take what the process says until the connection ends, then fail what is open."""
        try:
            await wire.listen(self._take_report, self._stall_s)
            await process.stop()
            reason = process.explain_end()
        except (TimeoutError, ValueError, KeyError, TypeError) as error:
            reason = f"it stopped making sense: {error}"
            self._log.error("engine of %s: %s", self._spec.name, reason)
        self._close(reason, self._crashed(reason))

    def _take_report(self, message: Mapping[str, Any]) -> None:
        if message.get("event") == "progress":
            self._health = Health(
                alive=True,
                step=int(message.get("step", 0)),
                running=int(message.get("running", 0)),
                waiting=int(message.get("waiting", 0)),
                reported_at=time.time(),
                reports=(self._health.reports or 0) + 1,
            )

    def _running_wire(self) -> Wire:
        if self._wire is None or not self._health.alive:
            raise self._unavailable("it is not running")
        return self._wire

    def _close(self, reason: str, error: errors.ZoeError) -> None:
        """Take note that the engine is gone; every open request fails once, with `error`."""
        self._health = Health(alive=False)
        if self._wire is not None:
            self._wire.cut(error)
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(reason)

    async def _load_error(self, process: ManagedProcess, phase: str) -> errors.EngineUnavailableError:
        """The connection ended before the model was ready: return what that means."""
        await process.stop()
        if (sign := process.lacked_memory) is None:
            return self._unavailable(process.explain_end(loading_phase=phase))
        reason = process.explain_end()
        return self._out_of_memory(reason if sign in reason else f"{reason}: {sign}")

    def _out_of_memory(self, reason: str) -> errors.OutOfMemoryError:
        return errors.OutOfMemoryError(f"the engine of model {self._spec.name!r} has too little memory: {reason}")

    def _unavailable(self, reason: str) -> errors.EngineUnavailableError:
        return errors.EngineUnavailableError(f"the engine of model {self._spec.name!r} is not available: {reason}")

    def _crashed(self, reason: str) -> errors.EngineCrashedError:
        return errors.EngineCrashedError(
            f"the engine of model {self._spec.name!r} ended while it worked on this request ({reason}); "
            "it is being restarted, please try again",
            retry_after_s=2.0,
        )


def engine_config(spec: ModelSpec, socket_path: Path) -> dict[str, Any]:
    """Return the engine process's configuration: the model's options as they are, and the server's limits.

    The process counts every request that no step has taken yet as waiting, even while slots are free, so its bound is
    wider by the slots: a burst that fits is never refused.
    """
    limits = {
        "model_path": str(spec.path),
        "socket_path": str(socket_path),
        "prefix_folder": None if spec.prefix_folder is None else str(spec.prefix_folder),
        "prefix_limit_bytes": spec.prefix_limit_bytes,
        "queue_limit": spec.queue_limit + spec.n_slots,
    }
    return {**spec.llama.model_dump(mode="json", exclude_unset=True), **limits}
