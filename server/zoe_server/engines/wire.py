"""`Wire`: the connection to an engine process, NDJSON over a unix socket; `zoe_server.protocol` has the transcript.

One connection carries all requests; each has its own queue of events here. It knows no process: who owns the wire says
when it is `cut`, and every open request then gets exactly one `Failure`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

from zoe_server import codec, errors, protocol


class Wire:
    """One open connection. Make it with `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._open: dict[str, asyncio.Queue[protocol.Event]] = {}
        self._questions: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._serial = 0

    @classmethod
    async def connect(cls, socket_path: Path) -> Wire | None:
        """Return the connection, None while nobody listens there.

        Raises:
            OSError: there can be no such socket.
        """
        try:
            return cls(*await asyncio.open_unix_connection(str(socket_path), limit=codec.MAX_LINE_BYTES))
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    async def events(
        self, op: str, request: protocol.ChatRequest | protocol.EmbedRequest
    ) -> AsyncGenerator[protocol.Event, None]:
        """Send the request and return its events; closing this before the terminal one cancels it.

        Raises:
            errors.BodyTooLargeError: the request is too long to be sent.
        """
        wire_id = self._next_id("r")
        request = dataclasses.replace(request, id=wire_id)  # ours is unique on this connection, the caller's is not
        self.send({"op": op, "id": wire_id, "request": codec.encode_request(request)})
        queue: asyncio.Queue[protocol.Event] = asyncio.Queue()
        self._open[wire_id] = queue
        try:
            terminal = False
            while not terminal:
                event = await queue.get()
                terminal = isinstance(event, protocol.TERMINAL_EVENTS)
                if terminal:
                    self._open.pop(wire_id, None)
                yield event
        finally:
            if self._open.pop(wire_id, None) is not None:
                self.send({"op": "cancel", "id": wire_id})

    async def ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the process's answer to what is no request for events.

        Raises:
            errors.ZoeError: it cannot be answered.
        """
        wire_id = self._next_id("q")
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._questions[wire_id] = answer
        try:
            self.send({**question, "id": wire_id})
            return await answer
        finally:
            del self._questions[wire_id]

    async def next_message(self) -> dict[str, Any] | None:
        """Return the next line's object, None at the end of the connection, which may be in the middle of a line.

        Raises:
            ValueError: what was said is no JSON object.
        """
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        if not line.endswith(b"\n"):
            return None
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"not an object: {line[:80]!r}")
        return message

    async def listen(self, told: Callable[[Mapping[str, Any]], None], silence_s: float) -> None:
        """Hand every message to its request, and to `told` those that belong to none, until the connection ends.

        Raises:
            TimeoutError: nothing was said for `silence_s`.
            ValueError, KeyError, TypeError: what was said makes no sense.
        """
        while True:
            try:
                message = await asyncio.wait_for(self.next_message(), silence_s)
            except TimeoutError as error:
                raise TimeoutError(f"no report for {silence_s:.0f} s") from error
            if message is None:
                return
            request_id = message.get("id")
            if isinstance(request_id, str):
                self._deliver(request_id, message)
            else:
                told(message)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line; if the connection is gone, whoever listens notices.

        Raises:
            errors.BodyTooLargeError: the line is too long to be read.
        """
        if not self._writer.is_closing():
            self._writer.write(codec.to_line(message))

    def cut(self, error: errors.ZoeError) -> None:
        """Let everything that is open fail once, with `error`; the connection stays."""
        waiting, self._open = self._open, {}
        for queue in waiting.values():
            queue.put_nowait(protocol.Failure(error))
        for question in self._questions.values():
            if not question.done():
                question.set_exception(error)

    def close(self) -> None:
        """End the connection."""
        self._writer.close()

    def _next_id(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}{self._serial}"

    def _deliver(self, request_id: str, message: Mapping[str, Any]) -> None:
        if (question := self._questions.get(request_id)) is not None:
            _answer(question, message)
        elif (queue := self._open.get(request_id)) is not None:  # a cancelled request has no reader any more
            queue.put_nowait(codec.decode_event(message))


def _answer(question: asyncio.Future[Mapping[str, Any]], message: Mapping[str, Any]) -> None:
    if question.done():
        return
    if message["event"] == "failure":
        question.set_exception(errors.from_wire(message["error"]))
    else:
        question.set_result(message)
