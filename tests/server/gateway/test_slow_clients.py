"""A client that does not read its answer, or does not send its request, is let go after a while."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from zoe_server import protocol
from zoe_server.engines.scripted import Answer, Hold
from zoe_server.gateway.openai import models

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tests.server.gateway.conftest import Gateway, Start

PATIENCE_S = 0.3
ENDLESS = Answer((*(protocol.Text("x" * 100_000) for _ in range(400)), Hold()))
CHAT = {"messages": [{"role": "user", "content": "endless"}], "stream": True}
STREAMS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/responses": {"input": "endless", "stream": True},
    "/v1/completions": {"prompt": "endless", "stream": True, "max_tokens": 1000},
    "/api/chat": {**CHAT, "model": "m"},
    "/api/generate": {"prompt": "endless", "model": "m"},
}


@asynccontextmanager
async def connected(gateway: Gateway) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Lend a connection that takes little before it has to be read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", gateway.client.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


def head(path: str, n_bytes: int) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {n_bytes}")
    return "\r\n".join((*lines, "", "")).encode()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - it is the state behind the HTTP border that counts
            await asyncio.sleep(0.005)


async def until_idle(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        await gateway.state.wait_idle()


@pytest.mark.parametrize("path", STREAMS)
async def test_who_reads_nothing_of_a_stream_frees_the_engine(start: Start, path: str) -> None:
    gateway = await start(client_timeout_s=PATIENCE_S, answers=(ENDLESS,))
    body = json.dumps(STREAMS[path]).encode()
    async with connected(gateway) as (_, writer):
        writer.write(head(path, len(body)) + body)
        engine = await gateway.engine_until(lambda engine: engine.health.running == 1)
        await gateway.engine_until(lambda engine: engine.health.running == 0)
        await until_idle(gateway)
        assert [one.id for one in engine.requests] == engine.cancelled
        assert gateway.state.tracker.ended[0]["error"] == "cancelled"


async def test_who_reads_slowly_but_reads_gets_all_of_it(start: Start) -> None:
    gateway = await start(client_timeout_s=PATIENCE_S, answers=(Answer(ENDLESS.steps[:40]),))
    response = await gateway.client.post("/v1/chat/completions", json=CHAT)
    n_read = 0
    while piece := await response.content.read(1 << 20):
        n_read += len(piece)
        await asyncio.sleep(PATIENCE_S / 10)  # it is the pace that is tested
    assert n_read > 40 * 100_000
    assert gateway.engines[0].cancelled == []


async def test_who_reads_a_whole_answer_slowly_gets_all_of_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_all", lambda _: [{"id": "m", "filler": "x" * 20_000_000}])
    gateway = await start(client_timeout_s=PATIENCE_S)
    began_s = time.monotonic()
    response = await gateway.client.get("/v1/models")
    n_read = 0
    while piece := await response.content.read(1 << 19):
        n_read += len(piece)
        await asyncio.sleep(PATIENCE_S / 10)  # it is the pace that is tested
    assert n_read > 20_000_000
    assert time.monotonic() - began_s > 2 * PATIENCE_S


async def test_who_reads_nothing_of_a_whole_answer_is_let_go(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(models, "_all", lambda _: [{"id": "m", "filler": "x" * 20_000_000}])
    gateway = await start(client_timeout_s=PATIENCE_S)
    async with connected(gateway) as (reader, writer):
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: bool(gateway.state.tracker.running))
        await until(lambda: not gateway.state.tracker.running)
        n_read = 0
        with suppress(ConnectionResetError):
            while piece := await reader.read(1 << 16):
                n_read += len(piece)
        assert n_read < 20_000_000
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("path", [*STREAMS, "/v1/embeddings", "/tokenize", "/admin/route", "/api/show"])
async def test_who_does_not_send_its_body_is_refused_after_a_while(start: Start, path: str) -> None:
    gateway = await start(client_timeout_s=PATIENCE_S)
    async with connected(gateway) as (reader, writer):
        writer.write(head(path, 1000) + b'{"messages": [')
        async with asyncio.timeout(10):
            assert b" 408 " in await reader.readline()
            assert b"did not come within" in await reader.readuntil(b"}")
        await until_idle(gateway)
