"""Web pages: none may use the server from a person's browser, but those whose origin is allowed by name.

A browser sends the `Origin` of the page with every request that could do something; programs send none and pass. But it
sends none with a GET to the page's own site, and whoever owns a public name can make it mean this server's address (DNS
rebinding): so a server without a key answers only to names that nobody outside of the local network can own. A server
with a key need not ask: a page does not know the key.
Sources: RFC 6454 (origins), Fetch Standard (CORS), RFC 6761 and 6762 (`localhost`, `local`), RFC 8375 (`home.arpa`).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from zoe_server import errors
from zoe_server.gateway.services import services
from zoe_server.settings import ServerSettings

_METHODS: Final = "GET, HEAD, POST"
_EXPOSED: Final = "Retry-After, X-Request-Id, X-Zoe-Route"
_PREFLIGHT_AGE_S: Final = 600
_HOST: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)(?:%[^\]\s]*)?\]|([^\s:/@\[\]\\]+))(?::\d*)?")
_LOCAL_ZONES: Final = (".localhost", ".local", ".internal", ".home.arpa")
"""What no public name ends in; Docker's and Kubernetes' own names for services do (`.internal`, `.cluster.local`)."""


@web.middleware
async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse whoever calls a server without a key by a name that somebody else may own.

    A request without a name comes from no browser.
    """
    state = services(request)
    for host in request.headers.getall("Host", []) if state.api_key is None else []:
        if host and not _is_ours(host, state.settings):
            raise errors.HostError(
                f"this server does not answer to the name {host[:200]!r}; if it is its own, add the name without a "
                "port to `allowed_hosts` in [server] of zoe.toml, or use its address"
            )
    return await handler(request)


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
    """Whether the owner allowed the page of `origin`, or this server served it under a name of its own."""
    settings = services(request).settings
    scheme, _, authority = origin.partition("://")
    is_own = scheme in ("http", "https") and authority == request.host and _is_ours(authority, settings)
    return is_own or origin in settings.allowed_origins


def _is_ours(host: str, settings: ServerSettings) -> bool:
    """Whether `host`, a name or address with or without a port, cannot be the site of somebody outside.

    Nobody can register a name without a dot: it is one of this machine or its network (`jetson`, `zoe`).
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = (found[1] or found[2]).lower().removesuffix(".")
    known = (socket.gethostname().lower(), *settings.hosts, *settings.allowed_hosts)
    return _is_address(name) or "." not in name or name.endswith(_LOCAL_ZONES) or name in known


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _preflight(request: web.Request) -> web.Response:
    headers = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
        "Access-Control-Max-Age": str(_PREFLIGHT_AGE_S),
    }
    return web.Response(status=204, headers=headers)
