"""Around every handler: the record of its request, who may ask, whether we still take requests, failures in the form
of the API.

A traceback never reaches a client; what we did not foresee is logged here and answered with a plain `server_error`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import BasicAuth, web
from aiohttp.typedefs import Handler

from zoe_server import errors
from zoe_server.gateway.services import Services, services
from zoe_server.gateway.tracking import LOOKING_PATHS, open_record, record_of

_LOGGER: Final = logging.getLogger(__name__)
OPEN_PATHS: Final = frozenset({"/", "/health"})
"""What needs no key."""

_OLLAMA_PATHS: Final = "/api/"
_NOT_SERVED: Final = ("/api/copy", "/api/create", "/api/delete", "/api/push")  # Ollama's clients know them
_MODELS_ARE_NAMED: Final = "models are named in zoe.toml, and `zoe models` brings and removes their files"
_CLIENT_CLOSED: Final = 499
_LOOKS_PER_LIMIT: Final = 4


def error_body(error: errors.ZoeError) -> dict[str, Any]:
    """Return `error` as OpenAI's body `{"error": {...}}`."""
    known = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return {"error": {**error.details, **known}}


def ollama_error_body(error: errors.ZoeError) -> dict[str, Any]:
    """Return `error` as Ollama's body `{"error": "..."}`, which has no other place for the path of a wrong value."""
    named = error.param is None or error.param in error.message
    return {"error": error.message if named else f"{error.param}: {error.message}"}


def is_ollama_path(path: str) -> bool:
    """Whether requests to `path` are made, and answered, in Ollama's form."""
    return path.startswith(_OLLAMA_PATHS)


def error_response(request: web.Request, error: errors.ZoeError, status: int | None = None) -> web.Response:
    """Return `error` as JSON with its own status or `status` and, where it says when to come back, `Retry-After`."""
    record_of(request).failed(error)
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == web.HTTPUnauthorized.status_code:
        headers["WWW-Authenticate"] = "Bearer"
    body = ollama_error_body(error) if is_ollama_path(request.path) else error_body(error)
    return web.json_response(body, status=status or error.status, headers=headers)


@web.middleware
async def track_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep a record of every request, to its end, whatever that is: to when its answer is written."""
    tracker = services(request).tracker
    request_record = open_record(request, tracker)
    status: int | None = None
    try:
        response = await handler(request)
        if response.status != _CLIENT_CLOSED:
            async with reading(request, all_of_it=True):
                await response.prepare(request)
                await response.write_eof()
            status = response.status
        return response
    except ConnectionError:
        return web.Response(status=_CLIENT_CLOSED)
    finally:
        tracker.end(request_record, status)


@web.middleware
async def report_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure in words that a client understands."""
    try:
        return await handler(request)
    except errors.ZoeError as error:
        if error.status >= web.HTTPInternalServerError.status_code:
            _LOGGER.warning("%s: %s", _logged(request), errors.in_one_line(error.message))
        return error_response(request, error)
    except web.HTTPException as error:
        return _from_http(request, error)
    except ConnectionError:  # the client is gone; this is for nobody to read, and ends the handler in good order
        _LOGGER.debug("%s: the client went away", _logged(request))
        return web.Response(status=_CLIENT_CLOSED)
    except Exception:
        _LOGGER.exception("%s failed", _logged(request))
        return error_response(request, errors.ZoeError(errors.INTERNAL))


@web.middleware
async def require_key(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let only those with the key pass, except to the open paths."""
    if request.path not in OPEN_PATHS and not is_authorized(request):
        raise errors.AuthenticationError("missing or wrong API key; send it as `Authorization: Bearer KEY`")
    return await handler(request)


@web.middleware
async def count_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the requests in work, and take no new ones while the server is stopping; to look on is always allowed."""
    state = services(request)
    if request.path in LOOKING_PATHS:
        return await handler(request)
    if state.draining:
        raise errors.EngineUnavailableError("the server is stopping", code="stopping", retry_after_s=5.0)
    state.open_requests += 1
    try:
        return await handler(request)
    finally:
        await _leave(state)


@web.middleware
async def receive_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read what the client sends before anything is done for it."""
    limit_s = services(request).settings.client_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            await request.read()
    except TimeoutError as error:
        raise errors.SlowClientError(f"the request's body did not come within {limit_s:g} s") from error
    return await handler(request)


@asynccontextmanager
async def reading(request: web.Request, *, all_of_it: bool = False) -> AsyncIterator[None]:
    """Bound how long the client of `request` may take to read on, so that what is inside can be written.

    With `all_of_it`, nothing of it is left to be sent afterwards.

    Raises:
        ConnectionError: it read nothing for longer; the connection is closed.
    """
    limit_s = services(request).settings.client_timeout_s
    if all_of_it and request.transport is not None:
        request.transport.set_write_buffer_limits(0)
    try:
        async with asyncio.timeout(limit_s) as limit:
            extension = _Extension(limit, limit_s, request.transport)
            try:
                yield
            finally:
                extension.cancel()
    except TimeoutError as error:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError(f"the client read nothing for {limit_s:g} s") from error
    if all_of_it and request.transport is not None:
        request.transport.set_write_buffer_limits()


class _Extension:
    """Moves `limit` on whenever the client has read some of what waits: a long answer may take a slow one long."""

    def __init__(self, limit: asyncio.Timeout, limit_s: float, transport: asyncio.Transport | None) -> None:
        self._limit = limit
        self._limit_s = limit_s
        self._transport = transport
        self._waiting_bytes = 0
        self._timer = self._next_look()

    def cancel(self) -> None:
        """Leave the limit where it is."""
        self._timer.cancel()

    def _next_look(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._limit_s / _LOOKS_PER_LIMIT, self._look)

    def _look(self) -> None:
        before_bytes = self._waiting_bytes
        self._waiting_bytes = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if self._waiting_bytes < before_bytes:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._limit_s)
        self._timer = self._next_look()


def is_authorized(request: web.Request) -> bool:
    """Whether `request` carries the key, or none is needed. Takes the same time for every wrong key of one length."""
    key = services(request).api_key
    if key is None:
        return True
    by_token = hmac.compare_digest(_bytes(_token(request.headers.get("Authorization", ""))), _bytes(key))
    by_header = hmac.compare_digest(_bytes(request.headers.get("X-Api-Key", "")), _bytes(key))
    return by_token or by_header


def _logged(request: web.Request) -> str:
    return errors.in_one_line(f"{request.method} {request.path}")


def _token(authorization: str) -> str:
    """Return the key in the header: a bearer's token, or, as browsers ask people for it, the password of any user."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if scheme.lower() == "basic":
        try:
            return str(BasicAuth.decode(authorization, "utf-8").password)
        except ValueError:
            return ""
    return ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


async def _leave(state: Services) -> None:
    state.open_requests -= 1
    async with state.idle:
        state.idle.notify_all()


def _from_http(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return what aiohttp itself refuses (no such path, wrong method, too large) as an error object."""
    if error.status == web.HTTPRequestEntityTooLarge.status_code:
        limit = services(request).settings.max_body_bytes
        return error_response(request, errors.BodyTooLargeError(f"the request body is larger than {limit} bytes"))
    if request.path in _NOT_SERVED:
        return error_response(request, errors.NotServedError(f"{request.path} is not served: {_MODELS_ARE_NAMED}"))
    hint = _hint(request) if error.status == web.HTTPNotFound.status_code else ""
    refused = errors.InvalidRequestError(f"{request.method} {request.path}: {error.reason}{hint}")
    response = error_response(request, refused, error.status)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _hint(request: web.Request) -> str:
    """Return the path that was meant, where the client's base URL has a part too little or too many."""
    asked = request.path.rstrip("/")
    known = (resource.canonical for resource in request.app.router.resources())
    alike = [path for path in known if len(path) > 1 and asked and _end_alike(asked, path)]
    meant = min(alike, key=len, default=None)
    return "" if meant is None else f"; it is {meant} here, so the base URL of the client is wrong"


def _end_alike(asked: str, path: str) -> bool:
    return asked == path or asked.endswith(path) or path.endswith(asked)
