"""A response that is begun when its first piece is written.

The status line waits for the first thing that the client can see, so that an early failure is an ordinary error answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from zoe_server.gateway.tracking import account


class LateResponse:
    """The answer to one request, in pieces, with status 200."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._response: web.StreamResponse | None = None

    @property
    def begun(self) -> bool:
        """Whether the client has got a status already."""
        return self._response is not None

    async def write(self, text: str) -> web.StreamResponse:
        """Write the next piece.

        Raises:
            ConnectionError: the client is gone.
        """
        response = await self._begin()
        await response.write(text.encode())
        return response

    async def end(self, text: str) -> web.StreamResponse:
        """Write the last piece and end the body, in one go; from then on a client that leaves has got all of it.

        Raises:
            ConnectionError: the client is gone.
        """
        response = await self._begin()
        await response.write_eof(text.encode())
        account(self._request).delivered(response.status)
        return response

    async def _begin(self) -> web.StreamResponse:
        if self._response is None:
            self._response = web.StreamResponse(headers=self._headers)
            # The connection closes with the stream, announced from the start, so that no client sends its next request
            # into a closing one; and the body ends as it should, so that no client drops the error with the connection.
            self._response.force_close()
            await self._response.prepare(self._request)
        return self._response
