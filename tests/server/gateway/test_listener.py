"""Connections that ask nothing, and too many of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from zoe_server.gateway.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.server.gateway.conftest import Gateway, Start

IDLE_S = 0.2
BEGUN = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def listening(gateway: Gateway) -> AsyncGenerator[str]:
    """Serve what the gateway serves on a port of its own, and lend its URL."""
    listener = Listener(gateway.state)
    try:
        yield await listener.open()
    finally:
        await listener.close()


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("sent", [b"", BEGUN], ids=["nothing", "half a head"])
async def test_who_asks_nothing_is_let_go(start: Start, sent: bytes) -> None:
    gateway = await start(port=0, idle_timeout_s=IDLE_S)
    async with listening(gateway) as url, connected(url) as (reader, writer), asyncio.timeout(10):
        writer.write(sent)
        assert await reader.read() == b""


async def test_who_sends_a_head_byte_by_byte_is_let_go(start: Start) -> None:
    gateway = await start(port=0, idle_timeout_s=IDLE_S)
    async with listening(gateway) as url, connected(url) as (reader, writer), asyncio.timeout(10):
        writer.write(BEGUN)
        ended = asyncio.create_task(reader.read())
        while not (await asyncio.wait({ended}, timeout=IDLE_S / 10))[0]:
            writer.write(b"X-More: 1\r\n")
        assert ended.result() == b""


async def test_a_connection_is_closed_after_its_last_answer(start: Start) -> None:
    gateway = await start(port=0, idle_timeout_s=IDLE_S)
    async with listening(gateway) as url, connected(url) as (reader, writer), asyncio.timeout(10):
        for _ in range(2):
            writer.write(BEGUN + b"\r\n")
            assert b" 200 " in await reader.readline()
            await reader.readuntil(b"\r\n\r\n")
        assert (await reader.read()).endswith(b"}")


async def test_who_waits_for_an_answer_is_not_idle(start: Start) -> None:
    gateway = await start(port=0, idle_timeout_s=IDLE_S, keep_alive_interval_s=2 * IDLE_S)
    body = {"messages": [{"role": "user", "content": "hold"}], "stream": True}
    async with listening(gateway) as url, aiohttp.ClientSession() as http, asyncio.timeout(10):
        response = await http.post(f"{url}/v1/chat/completions", json=body)
        assert (await response.content.readline()).startswith(b":")
        gateway.engines[0].release()
        assert '"late"' in await response.text()


async def test_of_too_many_connections_each_is_told_so(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    gateway = await start(port=0, max_connections=3)
    async with listening(gateway) as url, AsyncExitStack() as stack, asyncio.timeout(10):
        burst = await asyncio.gather(*(stack.enter_async_context(connected(url)) for _ in range(5)))
        told = [await reader.read() for reader, _ in burst[3:]]
        for answer in told:
            head, _, data = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert json.loads(data)["error"]["code"] == "too_many_connections"
        async with aiohttp.ClientSession() as http:
            refused = await http.post(f"{url}/v1/chat/completions", data=b"x" * 1_000_000)
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            burst[0][1].transport.abort()
            while (await http.get(f"{url}/v1/models")).status == 503:
                pass
    assert "at most that many may be" in caplog.text
