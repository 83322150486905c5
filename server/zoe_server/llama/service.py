"""The engine process seen from outside: one gateway on a unix socket, newline-delimited JSON, as `protocol` describes.

Beside the transcript there, the engine says, each as one line:

    <- {"event": "loading", "phase": "model", "progress": 0.25}, how much of the file is loaded, 0 to 1; then
       {"event": "loading", "phase": "warmup"}: a crash after that line and before "ready" means that the build of
       llama.cpp does not work on this processor
    <- {"event": "ready", "info": {...}}   or {"event": "fatal", "error": {...}}, after which the process ends
    -> {"op": "stats"}   <- {"event": "stats", ...}

Loading begins when the gateway has connected. The process ends when the gateway goes, and when its stdin ends. This
module knows sockets and threads; it knows no tokens.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from zoe_server import codec, errors, protocol
from zoe_server.catalogue.model_info import ModelInfo
from zoe_server.errors import EngineCrashedError, EngineError, EngineUnavailableError, OutOfMemoryError, ZoeError
from zoe_server.llama.byte_budget import ByteBudget
from zoe_server.llama.model_file import ModelLoadError
from zoe_server.llama.worker import open_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from zoe_server.llama.config import EngineConfig
    from zoe_server.llama.prompt.text_intake import TextIntake
    from zoe_server.llama.worker import SlowPart, Worker
    from zoe_server.protocol import Event

_LOG: Final = logging.getLogger(__name__)
_LONG_LINE_BYTES: Final = 256 << 10
"""Longer requests are prepared beside the others, which would wait for them: a megabyte of text takes a second. So are
those for an answer with a grammar: a regular expression of 16 bytes may take as long to compile."""
_HELD_BYTES: Final = 256 << 20
"""What requests may hold between their slow part and their end: the vectors of pictures, some 16 MB each."""
_STOP_WAIT_S: Final = 5.0
EXIT_LEFT: Final = 0
EXIT_NO_MODEL: Final = 3
EXIT_FATAL: Final = 70


class Service:
    """Serves one gateway until it leaves; `run` returns the exit code of the process."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._aio = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._aio.create_future()
        self._connected = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._slow_pool = ThreadPoolExecutor(1, thread_name_prefix="slow intake")
        # All that the library computes for answers is computed in one thread: OpenMP gives every thread that computes
        # a team of its own, and where there are more threads than cores, the teams sleep at each of their barriers.
        self._engine = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._running: Future[None] | None = None
        self._worker: Worker[Any] | None = None
        self._open: set[str] = set()
        self._preparing: set[str] = set()
        self._held = ByteBudget(_HELD_BYTES)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Listen, load, serve; return when the gateway has left, stdin has ended or nothing can go on."""
        path = str(self._config.socket_path)
        server = await asyncio.start_unix_server(self._converse, path, limit=codec.MAX_LINE_BYTES)
        os.chmod(path, 0o600)  # noqa: PTH101 -- a socket, and no wait
        for number in (signal.SIGTERM, signal.SIGINT):
            self._aio.add_signal_handler(number, self._leave, EXIT_LEFT)
        threading.Thread(target=self._watch_stdin, name="stdin", daemon=True).start()
        work = asyncio.create_task(self._load_and_start())
        try:
            return await self._exit
        finally:
            work.cancel()
            server.close()
            await self._stop_loop()
            self._config.socket_path.unlink(missing_ok=True)
            if self._writer is not None:
                self._writer.close()

    async def _load_and_start(self) -> None:
        await self._connected.wait()
        started_s = time.monotonic()
        try:
            self._send(_loading(0.0))
            worker = await self._aio.run_in_executor(self._pool, self._open_worker)
            self._send({"event": "loading", "phase": "warmup"})
            await self._flush()
            await self._aio.run_in_executor(self._engine, worker.warm_up)
            self._start(worker)
        except ModelLoadError as error:
            await self._fatal(_load_error(str(error)), EXIT_NO_MODEL)
        except ZoeError as error:
            await self._fatal(error, EXIT_NO_MODEL)
        except MemoryError:
            await self._fatal(OutOfMemoryError("Python found no memory for it"), EXIT_NO_MODEL)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the gateway has to be told
            _LOG.exception("the model could not be started")
            message = f"the model could not be started: {error}"
            await self._fatal(EngineUnavailableError(message), EXIT_NO_MODEL)
        else:
            facts = {"header": worker.header(), "load_s": round(time.monotonic() - started_s, 3)}
            info = ModelInfo.model_validate(worker.info() | facts)
            self._send({"event": "ready", "info": info.model_dump(mode="json", exclude_unset=True)})

    def _open_worker(self) -> Worker[Any]:
        return open_worker(
            self._config,
            emit=lambda request_id, events: self._from_thread(self._deliver, request_id, events),
            progress=lambda stats: self._from_thread(self._send, {"event": "progress", **stats}),
            loaded=lambda share: self._from_thread(self._send, _loading(share)),
        )

    def _start(self, worker: Worker[Any]) -> None:
        self._worker = worker
        self._running = self._engine.submit(self._run_worker, worker)

    def _run_worker(self, worker: Worker[Any]) -> None:
        """The engine thread."""
        try:
            worker.loop.run()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the gateway has to be told
            _LOG.exception("the engine loop failed")
            self._from_thread(self._loop_failed, f"the engine loop failed: {error}")

    def _loop_failed(self, message: str) -> None:
        self._spawn(self._fatal(EngineCrashedError(message), EXIT_FATAL))

    async def _stop_loop(self) -> None:
        if self._worker is not None and self._running is not None:
            self._worker.loop.stop()
            await asyncio.wait({asyncio.wrap_future(self._running)}, timeout=_STOP_WAIT_S)
            await asyncio.to_thread(self._worker.close)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one connection; only the first one counts."""
        if self._writer is not None:
            _LOG.warning("a second gateway was turned away")
            writer.close()
            return
        self._writer = writer
        self._connected.set()
        try:
            while line := await reader.readline():
                message = json.loads(line)
                self._handle(message, self._slow_pool if _is_slow(message, len(line)) else self._pool)
        except (ValueError, KeyError, TypeError):
            _LOG.exception("the gateway sent a line that is no message of this protocol")
        except ConnectionError:
            _LOG.debug("the gateway is gone", exc_info=True)
        self._leave(EXIT_LEFT)

    def _handle(self, message: dict[str, Any], pool: ThreadPoolExecutor) -> None:
        """Do what a message asks for; what takes long about it is done in `pool`."""
        if message["op"] in ("chat", "embed"):
            self._accept(message["id"], message["op"], message["request"], pool)
        elif message["op"] == "cancel":
            self._cancel(message["id"])
        elif message["op"] in ("tokenize", "detokenize"):
            self._spawn(self._answer_question(message, pool))
        elif message["op"] == "stats":
            self._send({"event": "stats", **(self._worker.loop.stats() if self._worker else {})})
        else:
            raise ValueError(f"unknown op {message['op']!r}")

    def _accept(self, request_id: str, op: str, data: dict[str, Any], pool: ThreadPoolExecutor) -> None:
        """Take note of the request at once, so that a cancellation in the next line finds it."""
        if request_id in self._open:
            _LOG.error("request id %s is in use; the second request is ignored", request_id)
            return
        self._open.add(request_id)
        self._preparing.add(request_id)
        self._spawn(self._begin(request_id, op, data, pool))

    async def _begin(self, request_id: str, op: str, data: dict[str, Any], pool: ThreadPoolExecutor) -> None:
        """Hand the request to the worker, or end it: whatever is raised on the way is its one terminal event."""
        try:
            end = await self._prepare_and_submit(request_id, op, data, pool)
        except ZoeError as error:
            end = protocol.Failure(error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, somebody waits for an answer
            _LOG.exception("a request could not be begun")
            end = protocol.Failure(EngineError(f"the engine could not begin the request: {type(error).__name__}"))
        if end is not None:
            self._deliver(request_id, [end])

    async def _prepare_and_submit(
        self, request_id: str, op: str, data: dict[str, Any], pool: ThreadPoolExecutor
    ) -> Event | None:
        """Return the end of a request that was cancelled meanwhile, else None: its end is the worker's to say."""
        worker = self._ready_worker()
        if op != worker.op:
            raise worker.refusal()
        job = await self._aio.run_in_executor(pool, self._prepare, worker, request_id, data, time.monotonic())
        if job is None:
            return protocol.Finish("cancelled", protocol.Usage(), protocol.Timings())
        try:
            if (slow_part := worker.slow_part(job)) is not None:
                await self._do_slow_part(request_id, slow_part)
            if request_id in self._preparing:
                self._preparing.discard(request_id)
                worker.loop.submit(job)
                return None
        except Exception:
            worker.give_up(job)
            raise
        return worker.give_up(job)

    def _prepare(self, worker: Worker[Any], request_id: str, data: dict[str, Any], arrived_s: float) -> object | None:
        """Return the job of a request, None if it was cancelled while others were prepared. In a thread of a pool."""
        return worker.prepare(data, arrived_s) if request_id in self._preparing else None

    async def _do_slow_part(self, request_id: str, part: SlowPart) -> None:
        """Do it when there is room for what the request holds then, unless it is cancelled before."""
        work, n_bytes = part
        if request_id in self._preparing and await self._held.take(request_id, n_bytes):
            await self._aio.run_in_executor(self._slow_pool, work)

    def _ready_worker(self) -> Worker[Any]:
        if self._worker is None:
            raise EngineUnavailableError("the model is still loading", retry_after_s=1.0)
        return self._worker

    async def _answer_question(self, message: dict[str, Any], pool: ThreadPoolExecutor) -> None:
        """Answer what needs the vocabulary only, beside the loop."""
        try:
            intake = self._ready_worker().intake
            answer = await self._aio.run_in_executor(pool, _vocabulary_answer, intake, message)
        except ZoeError as error:
            answer = codec.encode_event(protocol.Failure(error))
        except Exception as error:  # noqa: BLE001 -- whatever it is, somebody waits for an answer
            _LOG.exception("a question could not be answered")
            failure = EngineError(f"the engine could not answer: {type(error).__name__}")
            answer = codec.encode_event(protocol.Failure(failure))
        self._send({"id": message["id"], **answer})

    def _cancel(self, request_id: str) -> None:
        if request_id in self._preparing:
            self._preparing.discard(request_id)
            self._held.withdraw(request_id)
        elif self._worker is not None:
            self._worker.loop.cancel(request_id)

    def _deliver(self, request_id: str, events: Sequence[Event]) -> None:
        if isinstance(events[-1], protocol.TERMINAL_EVENTS):
            self._open.discard(request_id)
            self._preparing.discard(request_id)
            self._held.give_back(request_id)
        for event in events:
            self._send({"id": request_id, **codec.encode_event(event)})

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(_line(message))

    async def _flush(self) -> None:
        if self._writer is not None:
            try:
                await self._writer.drain()
            except ConnectionError:
                self._leave(EXIT_LEFT)

    async def _fatal(self, error: ZoeError, code: int) -> None:
        self._send({"event": "fatal", "error": errors.to_wire(error)})
        await self._flush()
        self._leave(code)

    def _leave(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)

    def _from_thread(self, call: Callable[..., object], *args: object) -> None:
        self._aio.call_soon_threadsafe(call, *args)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._aio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _watch_stdin(self) -> None:
        """Wait in a thread of its own: stdin may be anything, and its end means that the parent is gone."""
        try:
            while os.read(0, 4096):
                pass
        except OSError:
            _LOG.debug("stdin cannot be read", exc_info=True)
        self._from_thread(self._leave, EXIT_LEFT)


def _is_slow(message: Mapping[str, Any], n_bytes: int) -> bool:
    """Whether what a message asks for takes so long to prepare that others would wait for it."""
    return n_bytes > _LONG_LINE_BYTES or message.get("request", {}).get("answer_schema") is not None


def _line(message: Mapping[str, Any]) -> bytes:
    """Return the line of a message, or of the failure of its request if it is longer than the gateway reads."""
    try:
        return codec.to_line(message)
    except ZoeError as error:
        return codec.to_line({"id": message["id"], **codec.encode_event(protocol.Failure(error))})


def _loading(share: float) -> dict[str, Any]:
    return {"event": "loading", "phase": "model", "progress": share}


def _load_error(reason: str) -> EngineUnavailableError:
    """Return the error of a model that the library cannot load."""
    if OutOfMemoryError.is_told_by(reason):
        return OutOfMemoryError(reason)
    return EngineUnavailableError(reason, code="model_load_failed")


def _vocabulary_answer(intake: TextIntake, message: dict[str, Any]) -> dict[str, Any]:
    if message["op"] == "detokenize":
        return {"event": "detokenized", "text": intake.detokenize(message["tokens"])}
    tokens = intake.tokenize(
        message["text"], add_special=message["add_special"], parse_special=message["parse_special"]
    )
    return {"event": "tokens", "tokens": tokens}
