"""Server-sent events: one answer as a stream.

If the first event takes longer than the keep-alive interval, the stream begins with a comment; failures after that come
as one event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from zoe_server.gateway.late_response import LateResponse

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class EventStream:
    """One response of events; it begins with the first of them."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._response = LateResponse(request, {**_HEADERS, **headers})

    @property
    def begun(self) -> bool:
        """Whether the client has got a status already."""
        return self._response.begun

    async def send(self, data: Mapping[str, Any], *, name: str | None = None) -> None:
        """Write one event; its `name` stands in a line of its own.

        Raises:
            ConnectionError: the client is gone.
        """
        head = f"event: {name}\n" if name else ""
        await self._response.write(f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n")

    async def comment(self) -> None:
        """Write a line that clients ignore and that keeps an idle connection alive."""
        await self._response.write(": keep-alive\n\n")

    async def done(self) -> web.StreamResponse:
        """Write the end of a complete answer."""
        return await self._response.end("data: [DONE]\n\n")

    async def end(self) -> web.StreamResponse:
        """End a stream whose last event says by itself how the answer ended."""
        return await self._response.end("")

    async def fail(self, error: Mapping[str, Any]) -> web.StreamResponse:
        """Write the error as the last event, without `[DONE]`: the answer cannot be taken for complete."""
        return await self._response.end(f"data: {json.dumps(error)}\n\n")
