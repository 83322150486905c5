"""The connection to an engine process, with one at its other end that ends every request at once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from zoe_server import codec, errors, protocol
from zoe_server.engines.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

FINISH = protocol.Finish("stop", protocol.Usage(), protocol.Timings())


async def end_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        message = json.loads(line)
        if message["op"] == "chat":
            writer.write(codec.to_line({"id": message["id"], **codec.encode_event(FINISH)}))
    writer.close()


async def test_a_request_that_is_too_long_fails_alone(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(end_each, tmp_path / "socket", limit=codec.MAX_LINE_BYTES)
    wire = await Wire.connect(tmp_path / "socket")
    assert wire is not None
    listening = asyncio.create_task(wire.listen(lambda _: None, 10.0))
    try:
        picture = {"type": "image", "data": "x" * codec.MAX_LINE_BYTES}
        long = protocol.ChatRequest("a", "m", ({"role": "user", "content": [picture]},))
        with pytest.raises(errors.BodyTooLargeError, match="67 MB"):
            await anext(wire.events("chat", long))
        short = protocol.ChatRequest("a", "m", ({"role": "user", "content": "hi"},))
        assert [event async for event in wire.events("chat", short)] == [FINISH]
    finally:
        wire.close()
        await listening
        server.close()
        await server.wait_closed()
