"""A hub on loopback: it speaks the part of the protocol that a download needs, and misbehaves where a test wants it to.

HEAD /OWNER/NAME/resolve/REVISION/FILE -> X-Repo-Commit, X-Linked-Etag (the sha256), X-Linked-Size
GET  the same, with Range              -> 200 or 206
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MISSING = 404


@dataclass
class Request:
    method: str
    path: str
    begin: int
    token: str | None
    user_agent: str


@dataclass
class LocalHub:
    """`files` by `OWNER/NAME/FILE`. The next transfers end after `cuts` bytes each; `refusals` are (status, code).

    With `resets` a cut connection is reset and not closed. It sends `surplus` beyond the file where that has an end.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    resets: bool = False
    surplus: bytes = b""
    corrupt: bool = False
    ignores_ranges: bool = False
    tells_sums: bool = True
    claimed_size: int | None = None
    cdn: str | None = None
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def gets(self) -> list[int]:
        """Where each transfer began."""
        return [request.begin for request in self.requests if request.method == "GET"]

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{owner}/{name}/resolve/{revision}/{file:.+}", self._answer)
        app.router.add_route("*", "/cdn/{owner}/{name}/{file:.+}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        key = "{owner}/{name}/{file}".format(**request.match_info)
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        agent = request.headers.get("User-Agent", "")
        token = request.headers.get("Authorization")
        self.requests.append(Request(request.method, request.path, begin, token, agent))
        if (refusal := self.refusals.get(request.method)) is not None:
            return web.Response(status=refusal[0], headers={"X-Error-Code": refusal[1]})
        if key not in self.files:
            return web.Response(status=MISSING, headers={"X-Error-Code": "EntryNotFound"})
        if self.cdn is not None and not request.path.startswith("/cdn/"):
            return web.Response(status=302, headers={**self._facts(key), "Location": f"{self.cdn}/cdn/{key}"})
        return await self._send(request, key, begin)

    def _facts(self, key: str) -> dict[str, str]:
        content = self.files[key]
        size = len(content) if self.claimed_size is None else self.claimed_size
        digest = hashlib.sha256(content).hexdigest() if self.tells_sums else hashlib.md5(content).hexdigest()  # noqa: S324
        return {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(size)}

    async def _send(self, request: web.Request, key: str, begin: int) -> web.StreamResponse:
        content = self.files[key]
        if self.ignores_ranges:
            begin = 0
        headers = {**self._facts(key), "Content-Length": str(len(content) + len(self.surplus) - begin)}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        response = web.StreamResponse(status=206 if begin else 200, headers=headers)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        body = bytes(255 - byte for byte in content) if self.corrupt else content
        if self.cuts:
            await response.write(body[begin : begin + self.cuts.pop(0)])
            assert request.transport is not None
            if self.resets:
                connection = request.transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.close()
            return response
        await response.write(body[begin:] + self.surplus)
        await response.write_eof()
        return response
