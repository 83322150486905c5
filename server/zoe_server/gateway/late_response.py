"""A response that is begun when its first piece is written.

The status line waits for the first thing that the client can see, so that an early failure is an ordinary error answer.
A client that does not read what is written for it is let go after `client_timeout_s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from zoe_server.gateway.services import services
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
            ConnectionError: the client is gone, or reads nothing.
        """
        async with reading(self._request):
            response = await self._begin()
            await response.write(text.encode())
        return response

    async def end(self, text: str) -> web.StreamResponse:
        """Write the last piece and end the body, in one go; from then on a client that leaves has got all of it.

        Raises:
            ConnectionError: the client is gone, or reads nothing.
        """
        async with reading(self._request):
            response = await self._begin()
            await response.write_eof(text.encode())
        account(self._request).delivered(response.status)
        if (transport := self._request.transport) is not None:  # it closes when the client has read the rest
            asyncio.get_running_loop().call_later(services(self._request).settings.client_timeout_s, transport.abort)
        return response

    async def _begin(self) -> web.StreamResponse:
        if self._response is None:
            self._response = web.StreamResponse(headers=self._headers)
            # The connection closes with the stream, announced from the start, so that no client sends its next request
            # into a closing one; and the body ends as it should, so that no client drops the error with the connection.
            self._response.force_close()
            await self._response.prepare(self._request)
        return self._response


@asynccontextmanager
async def reading(request: web.Request) -> AsyncIterator[None]:
    """Bound how long the client of `request` may take to read on, so that what is inside can be written.

    Raises:
        ConnectionError: it took longer; the connection is closed.
    """
    limit_s = services(request).settings.client_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError(f"the client read nothing for {limit_s:g} s") from error
