"""The edge that is played: a server that speaks OpenAI's API and says what a test wants, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}}


def delta(reason: str | None = None, **fields: object) -> dict[str, Any]:
    """Return a chunk of a stream."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


HELLO = (delta(role="assistant", content=""), delta(content="Hel"), delta(content="lo"), delta("stop"))


class OpenAIServer:
    """`answer` answers chats; `models` are listed, None has no list. `bodies` are what came.

    If it `hangs_up`, a connection is good for one chat, and gone with the next one.
    """

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] | None = [{"id": "far", "max_model_len": 2048}]
        self.n_missing_vectors = 0
        self.hangs_up = False
        self.n_hung_up = 0
        self._used: set[int] = set()
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Answer = lambda request, _: stream(request, *HELLO)
        self.app = web.Application()
        self.app.router.add_get("/v1/models", self._list)
        self.app.router.add_post("/v1/chat/completions", self._chat)
        self.app.router.add_post("/v1/completions", self._chat)
        self.app.router.add_post("/v1/embeddings", self._embed)

    async def _list(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization"))
        if self.models is None:
            raise web.HTTPNotFound
        return web.json_response({"object": "list", "data": self.models})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        transport = request.transport
        if self.hangs_up and transport is not None and id(transport) in self._used:
            self.n_hung_up += 1
            self._used.clear()
            transport.abort()
        self._used.add(id(transport))
        self.bodies.append(body)
        return await self.answer(request, body)

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        data = [
            {"index": index, "embedding": [3.0, 4.0 * index]}
            for index in range(len(body["input"]) - self.n_missing_vectors)
        ]
        return web.json_response({"data": data[::-1], "usage": {"prompt_tokens": 5}})


async def stream(request: web.Request, *chunks: dict[str, Any], done: bool = True) -> web.StreamResponse:
    """Answer with the chunks, and usage behind them."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for chunk in chunks:
        await response.write(f": a comment\n\ndata: {json.dumps(chunk)}\n\n".encode())
    if done:
        await response.write(f"data: {json.dumps({'choices': [], 'usage': USAGE})}\n\ndata: [DONE]\n\n".encode())
    return response


def refused(status: int, message: str, **fields: object) -> Answer:
    """Return who refuses every request."""

    async def answer(_request: web.Request, _body: dict[str, Any]) -> web.Response:
        headers = {"Retry-After": "7"} if status == 429 else {}
        return web.json_response({"error": {"message": message, **fields}}, status=status, headers=headers)

    return answer
