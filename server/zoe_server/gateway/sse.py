"""Server-sent events: one chat answer as a stream.

The status line waits for the first event that the client can see, so that an early failure is an ordinary error answer.
If that takes longer than the keep-alive interval, the stream begins with a comment; later failures come as one event.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class EventStream:
    """One response that is begun when its first line is written."""

    def __init__(self, request: web.Request, headers: dict[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._response: web.StreamResponse | None = None

    @property
    def begun(self) -> bool:
        """Whether the client has got a status already."""
        return self._response is not None

    async def send(self, data: dict[str, Any]) -> None:
        """Write one event.

        Raises:
            ConnectionError: the client is gone.
        """
        await self._write(f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n")

    async def comment(self) -> None:
        """Write a line that clients ignore and that keeps an idle connection alive."""
        await self._write(": keep-alive\n\n")

    async def done(self) -> web.StreamResponse:
        """Write the end of a complete answer."""
        response = await self._write("data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def fail(self, error: dict[str, Any]) -> web.StreamResponse:
        """Write the error as the last event, without `[DONE]`: the answer cannot be taken for complete."""
        response = await self._write(f"data: {json.dumps(error)}\n\n")
        await response.write_eof()
        return response

    async def _write(self, text: str) -> web.StreamResponse:
        if self._response is None:
            self._response = web.StreamResponse(headers={**_HEADERS, **self._headers})
            # The connection closes with the stream, announced from the start, so that no client sends its next request
            # into a closing one; and the body ends as it should, so that no client drops the error with the connection.
            self._response.force_close()
            await self._response.prepare(self._request)
        await self._response.write(text.encode())
        return self._response
