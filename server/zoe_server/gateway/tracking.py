"""`Tracker`: which requests are in work, and the last of those that ended; one line in the log for each.

Every answer carries `X-Request-Id`: the client's own, or a new one. What only looks at the server, and does so again
and again, gets an id and is not request_record otherwise.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from zoe_server.gateway.request_record import RequestRecord
from zoe_server.metrics.outcome import Outcome

REQUEST_ID: Final = "X-Request-Id"
REQUEST_LOG: Final = "zoe.requests"
"""The name of the logger: one line of JSON at the end of each request, with level INFO."""
KEPT_REQUESTS: Final = 200
_MAX_ID: Final = 128
_RECORD: Final = web.RequestKey("request_record", RequestRecord)
_UNKNOWN: Final = "unknown"
_LOGGER: Final = logging.getLogger(REQUEST_LOG)
LOOKING_PATHS: Final = frozenset(
    (
        *("/", "/health", "/metrics", "/metrics/prometheus", "/metrics/json", "/stats"),
        *("/admin/requests", "/admin/status", "/admin/catalogue"),
    )
)
"""The paths of those who only look."""

Observe = Callable[[Outcome], None]


class Tracker:
    """Owns what is known of requests; `observe` counts each at its end.

    Of prompts nothing is kept, unless `keeps_prompts` says so.
    """

    def __init__(self, observe: Observe, *, keeps_prompts: bool = False) -> None:
        self._observe = observe
        self._keeps_prompts = keeps_prompts
        self._open: set[RequestRecord] = set()
        self._ended: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)

    @property
    def running(self) -> list[RequestRecord]:
        """The requests in work, the oldest first."""
        return sorted(self._open, key=lambda request_record: request_record.begun)

    @property
    def ended(self) -> list[dict[str, Any]]:
        """The records of the last requests that asked for work and ended, the latest first."""
        return list(reversed(self._ended))

    def begin(self, request: web.Request) -> RequestRecord:
        """Return the record of a request that came."""
        request_record = RequestRecord(
            request_id(request.headers.get(REQUEST_ID, "")),
            request.method,
            request.path,
            _api(request),
            request.headers.get("User-Agent", ""),
            self._keeps_prompts,
        )
        if request.path not in LOOKING_PATHS:
            self._open.add(request_record)
        return request_record

    def end(self, request_record: RequestRecord, status: int | None) -> None:
        """Close the record: count the request, keep it and log it."""
        request_record.end(status)
        if request_record not in self._open:
            return
        self._open.remove(request_record)
        self._observe(request_record.outcome())
        record = request_record.record()
        if request_record.method == "POST":
            self._ended.append(record)
        if _LOGGER.isEnabledFor(logging.INFO):
            _LOGGER.info("%s", json.dumps(record))


def request_id(given: str) -> str:
    """Return the client's id if it is 1 to 128 printable ASCII characters, else a new one."""
    if 0 < len(given) <= _MAX_ID and given.isascii() and given.isprintable():
        return given
    return f"req_{uuid.uuid4().hex}"


def track(request: web.Request, asked: str | None) -> RequestRecord:
    """Return the record of `request`, which asks for the model `asked`."""
    request_record = record_of(request)
    request_record.asked = asked
    return request_record


def record_of(request: web.Request) -> RequestRecord:
    """Return the record of `request`."""
    return request[_RECORD]


def open_record(request: web.Request, tracker: Tracker) -> RequestRecord:
    """Begin the record of `request`, where `record_of` finds it."""
    request[_RECORD] = request_record = tracker.begin(request)
    return request_record


async def name_request(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the client the id of its request."""
    response.headers[REQUEST_ID] = record_of(request).id


def _api(request: web.Request) -> str:
    """Return the path as the routes write it; what has no route is one path for all."""
    resource = request.match_info.route.resource
    return _UNKNOWN if resource is None else resource.canonical
