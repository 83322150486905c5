"""Newline-delimited JSON: one answer as a stream of records, of which the last says that it is done.

A failure after the first record comes as a record of its own, and ends the stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from zoe_server.gateway.late_response import LateResponse

_HEADERS: Final = {
    "Content-Type": "application/x-ndjson",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class RecordStream:
    """One response of records; it begins with the first of them."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._response = LateResponse(request, {**_HEADERS, **headers})

    @property
    def begun(self) -> bool:
        """Whether the client has got a status already."""
        return self._response.begun

    async def send(self, record: Mapping[str, Any]) -> None:
        """Write one record.

        Raises:
            ConnectionError: the client is gone.
        """
        await self._response.write(_line(record))

    async def end(self, record: Mapping[str, Any]) -> web.StreamResponse:
        """Write the last record, whether it completes the answer or says what failed."""
        return await self._response.end(_line(record))


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
