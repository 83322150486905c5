"""Web pages: none may use the server from a person's browser, but those whose origin is allowed by name.

A browser sends the `Origin` of the page with every request that could do something; programs send none and pass. The
server's own origin passes where it is an address or localhost: another site cannot make its name mean those, while it
can make a name of its own mean this server's address (DNS rebinding).
Sources: RFC 6454 (origins), Fetch Standard (CORS).
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from zoe_server import errors
from zoe_server.gateway.services import services

_METHODS: Final = "GET, HEAD, POST"
_EXPOSED: Final = "Retry-After, X-Request-Id, X-Zoe-Route"
_PREFLIGHT_AGE_S: Final = 600
_LOCAL: Final = "localhost"


@web.middleware
async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse the pages that are not allowed, and answer the question that browsers ask before a request."""
    for origin in request.headers.getall("Origin", []):
        if not _is_allowed(request, origin):
            raise errors.OriginError(
                f"web pages of {origin[:200]!r} may not use this server; "
                "its owner can allow them with `allowed_origins` in [server] of zoe.toml"
            )
    if request.method == "OPTIONS" and "Origin" in request.headers:
        return _preflight(request)
    return await handler(request)


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the browser that a page which is allowed by name may read the answer, an error, too."""
    origin = request.headers.get("Origin")
    if origin in services(request).settings.allowed_origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        response.headers["Vary"] = "Origin"


def _is_allowed(request: web.Request, origin: str) -> bool:
    return origin in services(request).settings.allowed_origins or _is_own(origin, request.host)


def _is_own(origin: str, host: str) -> bool:
    """Whether a page of `origin` was served by `host`, and `host` cannot be somebody else's name."""
    scheme, _, authority = origin.partition("://")
    if scheme not in ("http", "https") or authority != host:
        return False
    try:
        name = urlsplit(origin).hostname or ""
        return name == _LOCAL or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _preflight(request: web.Request) -> web.Response:
    headers = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
        "Access-Control-Max-Age": str(_PREFLIGHT_AGE_S),
    }
    return web.Response(status=204, headers=headers)
