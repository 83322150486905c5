"""`LocalEngine`: a llama.cpp model in a child process of this machine, spoken to in NDJSON over one unix socket.

The transcript is in `zoe_server.protocol`. One connection carries all requests; each has its own queue of events here.
If the child ends, or says something that cannot be understood, every open request gets exactly one `Failure`.

Nothing waits for a clock: loading may take any time as long as the child keeps reporting, and a child whose loop stops
reporting for `stall_s` is killed. This module never loads llama_cpp.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from zoe_server import errors, protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Health
from zoe_server.engines.child import Child, Patience, explain_exit, python_env
from zoe_server.engines.command import EngineCommand, engine_config, llama_command

_LINE_LIMIT_BYTES: Final = 64 << 20
_CONNECT_RETRY_S: Final = 0.02
_STALL_S: Final = 300.0
_LOGGER: Final = logging.getLogger(__name__)


class LocalEngine:
    """One engine process and its connection. See `base.Engine` for the promises."""

    def __init__(
        self,
        spec: ModelSpec,
        command: EngineCommand = llama_command,
        stall_s: float = _STALL_S,
        patience: Patience | None = None,
    ) -> None:
        self._spec = spec
        self._command = command
        self._stall_s = stall_s
        self._patience = patience or Patience()
        self._log = _LOGGER.getChild(spec.name)
        self._folder: Path | None = None
        self._child: Child | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._open: dict[str, asyncio.Queue[protocol.Event]] = {}
        self._questions: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._info: Mapping[str, Any] = {}
        self._health = Health(alive=False)
        self._closed: asyncio.Future[str] | None = None
        self._serial = 0

    @property
    def info(self) -> Mapping[str, Any]:
        """What the process told about its model when it became ready."""
        return self._info

    @property
    def health(self) -> Health:
        """What the engine loop last reported."""
        return self._health

    @property
    def pid(self) -> int | None:
        """The process id of the engine, None before it started."""
        return self._child.pid if self._child else None

    async def start(self) -> None:
        """Start the process and return when its model is warm. See `base.Engine.start`."""
        self._closed = asyncio.get_running_loop().create_future()
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="zoe-engine-"))
            reader = await self._connect(self._folder / "engine.sock")
            self._info = await self._await_ready(reader)
        except OSError as error:
            await self.stop()
            raise self._unavailable(f"there is no socket to its process: {error}") from error
        except BaseException:
            await self.stop()
            raise
        self._health = Health(alive=True, reports=0, reported_at=time.time())
        self._reading = asyncio.create_task(self._read(reader), name=f"engine {self._spec.name}")

    async def chat(self, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Answer `request`. See `base.Engine.chat`."""
        async with aclosing(self._events("chat", request)) as events:
            async for event in events:
                if not isinstance(event, protocol.Embedding):
                    yield event

    async def embed(self, request: protocol.EmbedRequest) -> protocol.Embeddings:
        """Return the vectors of the inputs. See `base.Engine.embed`."""
        vectors: list[tuple[float, ...]] = [()] * len(request.inputs)
        async with aclosing(self._events("embed", request)) as events:
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
        tokens: list[int] = (await self._ask(question))["tokens"]
        return tokens

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`. See `base.Engine.detokenize`."""
        return str((await self._ask({"op": "detokenize", "tokens": list(tokens)}))["text"])

    async def wait_closed(self) -> str:
        """Return why the process is gone, once it is. See `base.Engine.wait_closed`."""
        if self._closed is None:
            return "it was never started"
        return await asyncio.shield(self._closed)

    async def kill(self, reason: str) -> None:
        """End the process at once. See `base.Engine.kill`."""
        self._close(reason, self._crashed(reason))
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End the process and remove its socket. See `base.Engine.stop`."""
        self._close("the server stops it", self._unavailable("the server is stopping"))
        if self._writer is not None:
            self._writer.close()
        if self._child is not None:
            await self._child.stop()
        if self._reading is not None:
            await asyncio.wait({self._reading})
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)  # the child may have removed its socket at the same moment

    @property
    def lingers(self) -> bool:
        """Whether the process is there although it was killed."""
        return self._child is not None and self._child.lingers

    async def wait_ended(self) -> None:
        """Return once the process has ended. See `base.Engine.wait_ended`."""
        if self._child is not None:
            await self._child.wait()

    async def _events(
        self, op: str, request: protocol.ChatRequest | protocol.EmbedRequest
    ) -> AsyncGenerator[protocol.Event, None]:
        """Send the request and return its events; closing this before the terminal one cancels it."""
        if self._writer is None or not self._health.alive:
            yield protocol.Failure(self._unavailable("it is not running"))
            return
        self._serial += 1
        wire_id = f"r{self._serial}"
        queue: asyncio.Queue[protocol.Event] = asyncio.Queue()
        self._open[wire_id] = queue
        try:
            request = dataclasses.replace(request, id=wire_id)  # ours is unique on this connection, the caller's is not
            self._send({"op": op, "id": wire_id, "request": protocol.encode_request(request)})
            terminal = False
            while not terminal:
                event = await queue.get()
                terminal = isinstance(event, protocol.TERMINAL_EVENTS)
                if terminal:
                    self._open.pop(wire_id, None)
                yield event
        finally:
            if self._open.pop(wire_id, None) is not None:
                self._send({"op": "cancel", "id": wire_id})

    async def _ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the process's answer to what is no chat."""
        if self._writer is None or not self._health.alive:
            raise self._unavailable("it is not running")
        self._serial += 1
        wire_id = f"q{self._serial}"
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._questions[wire_id] = answer
        try:
            self._send({**question, "id": wire_id})
            return await answer
        finally:
            del self._questions[wire_id]

    async def _connect(self, socket_path: Path) -> asyncio.StreamReader:
        """Start the child and return the connection to it, as soon as it listens; ends early if the child does."""
        try:
            command = self._command(engine_config(self._spec, socket_path))
            self._child = child = await Child.spawn(command, self._log, python_env(), self._patience)
        except OSError as error:
            raise self._unavailable(f"its process cannot be started: {error}") from error
        ended = asyncio.ensure_future(child.wait())
        try:
            async with asyncio.timeout(self._stall_s):
                while not ended.done():
                    if (reader := await self._try_connect(socket_path)) is not None:
                        return reader
                    await asyncio.wait({ended}, timeout=_CONNECT_RETRY_S)
        except TimeoutError as error:
            raise self._unavailable(f"its process did not listen within {self._stall_s:.0f} s") from error
        finally:
            ended.cancel()
        raise await self._load_error("")

    async def _try_connect(self, socket_path: Path) -> asyncio.StreamReader | None:
        """Return the connection's reader, None while nobody listens there."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(str(socket_path), limit=_LINE_LIMIT_BYTES)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        return reader

    async def _await_ready(self, reader: asyncio.StreamReader) -> Mapping[str, Any]:
        """Follow the loading reports to their end and return the engine's `info`."""
        phase = ""
        while True:
            try:
                message = await self._next_message(reader)
            except (TimeoutError, ValueError) as error:
                raise self._unavailable(f"its process stopped reporting while it loaded: {error}") from error
            if message is None:
                raise await self._load_error(phase)
            match message.get("event"):
                case "ready":
                    info: Mapping[str, Any] = message.get("info", {})
                    return info
                case "fatal":
                    told = errors.from_wire(message.get("error") or {})
                    lacks_memory = isinstance(told, errors.OutOfMemoryError)
                    raise self._out_of_memory(told.message) if lacks_memory else self._unavailable(told.message)
                case "loading":
                    phase = str(message.get("phase", ""))
                case other:
                    self._log.debug("unexpected while loading: %r", other)

    async def _next_message(self, reader: asyncio.StreamReader) -> dict[str, Any] | None:
        """Return the next line's object, None at the end of the connection, which may be in the middle of a line.

        Raises:
            TimeoutError: nothing was said for `stall_s`.
            ValueError: what was said is no JSON object.
        """
        try:
            line = await asyncio.wait_for(reader.readline(), self._stall_s)
        except ConnectionError:
            return None
        except TimeoutError as error:
            raise TimeoutError(f"no report for {self._stall_s:.0f} s") from error
        if not line.endswith(b"\n"):
            return None
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"not an object: {line[:80]!r}")
        return message

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Hand every message to its request until the connection ends, then fail what is open."""
        try:
            while (message := await self._next_message(reader)) is not None:
                self._dispatch(message)
            reason = await self._last_words()
        except (TimeoutError, ValueError, KeyError, TypeError) as error:
            reason = f"it stopped making sense: {error}"
            self._log.error("engine of %s: %s", self._spec.name, reason)
        self._close(reason, self._crashed(reason))

    def _dispatch(self, message: Mapping[str, Any]) -> None:
        request_id = message.get("id")
        if isinstance(request_id, str):
            if request_id in self._questions:
                self._answer(self._questions[request_id], message)
                return
            queue = self._open.get(request_id)
            if queue is not None:  # the tail of a cancelled request has no reader any more
                queue.put_nowait(protocol.decode_event(message))
        elif message.get("event") == "progress":
            self._health = Health(
                alive=True,
                step=int(message.get("step", 0)),
                running=int(message.get("running", 0)),
                waiting=int(message.get("waiting", 0)),
                reported_at=time.time(),
                reports=(self._health.reports or 0) + 1,
            )

    def _answer(self, question: asyncio.Future[Mapping[str, Any]], message: Mapping[str, Any]) -> None:
        if question.done():
            return
        if message["event"] == "failure":
            question.set_exception(errors.from_wire(message["error"]))
        else:
            question.set_result(message)

    def _close(self, reason: str, error: errors.ZoeError) -> None:
        """Take note that the engine is gone; every open request fails once, with `error`."""
        self._health = Health(alive=False)
        waiting, self._open = self._open, {}
        for queue in waiting.values():
            queue.put_nowait(protocol.Failure(error))
        for question in self._questions.values():
            if not question.done():
                question.set_exception(error)
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(reason)

    def _send(self, message: Mapping[str, Any]) -> None:
        """Write one line; if the connection is gone, the reader notices and fails the request."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _last_words(self, loading_phase: str | None = None) -> str:
        """The connection ended: make sure that the process does, too, and say why it did."""
        if self._child is None:
            return "it never started"
        code = await self._child.stop()
        if code is None:
            return "its process does not end, not even when it is killed"
        return explain_exit(code, self._child.tail, loading_phase=loading_phase)

    async def _load_error(self, phase: str) -> errors.EngineUnavailableError:
        """The connection ended before the model was ready: return what that means."""
        reason = await self._last_words(phase)
        sign = self._child.lacked_memory if self._child is not None else None
        if sign is None:
            return self._unavailable(reason)
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
