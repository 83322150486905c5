"""`Listener`: the port, open at one address or several, and the connections that come in there.

A connection that brings no whole head of a request for `idle_timeout_s` is closed, whatever it sends meanwhile, and
there are at most `max_connections`: whoever comes beyond that is told so. So no client can take all descriptors of
files, which engines need, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any, Final, cast

from aiohttp import web

from zoe_server import errors
from zoe_server.gateway.app import create_app
from zoe_server.gateway.middleware import error_body
from zoe_server.gateway.services import Services
from zoe_server.settings import SettingsError

_LOGGER: Final = logging.getLogger(__name__)
_CLOSE_S: Final = 1.0
_ANY_IPV4: Final = "0.0.0.0"  # noqa: S104 -- compared with, and listened on only with a key
_ANY_IPV6: Final = "::"


class Listener:
    """Lets clients ask `state`, from `open` to `close`."""

    def __init__(self, state: Services) -> None:
        self._settings = state.settings
        self._runner = web.AppRunner(
            create_app(state),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=_CLOSE_S,
            keepalive_timeout=self._settings.idle_timeout_s,  # of the first request, too
        )
        self._ports: list[asyncio.Server] = []

    @property
    def addresses(self) -> list[Any]:
        """Where it listens, in the order of the settings, as the system writes addresses."""
        return [one.getsockname() for port in self._ports for one in port.sockets]

    async def open(self) -> str:
        """Open the port at every address and return the URL of the first; port 0 lets the system choose.

        Raises:
            SettingsError: an address cannot be listened on.
        """
        await self._runner.setup()
        hosts, port = self._settings.hosts, self._settings.port
        for host in hosts:
            try:
                self._ports.append(await self._listen(host, port, alone=_ANY_IPV4 not in hosts))
            except OSError as error:
                raise SettingsError(
                    f"cannot listen on {host}:{port}: {error.strerror or error}. "
                    "Is another server running there (Ollama uses 11434, too)? Choose another port with --port."
                ) from error
            port = port or self.addresses[0][1]
        address = self.addresses[0]
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"http://{shown}:{address[1]}"

    async def close(self) -> None:
        """Take no more connections, and end those that are open."""
        for port in self._ports:
            port.close()
        await self._runner.cleanup()

    async def _listen(self, host: str, port: int, *, alone: bool) -> asyncio.Server:
        """Listen at `host`; at every address of IPv6, for IPv4, too, if it is `alone`."""
        loop = asyncio.get_running_loop()
        if host == _ANY_IPV6 and alone and socket.has_dualstack_ipv6():
            both = socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
            return await loop.create_server(self._entrance, sock=both)
        return await loop.create_server(self._entrance, host, port)

    def _entrance(self) -> _Entrance:
        return _Entrance(cast(web.Server, self._runner.server), self._settings.max_connections)


class _Entrance(asyncio.Protocol):
    """Hands a connection to `server` as soon as it is made, or turns it away where there are `limit` others."""

    def __init__(self, server: web.Server, limit: int) -> None:
        self._server = server
        self._limit = limit
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Decide who speaks with the client."""
        if len(self._server.connections) < self._limit:
            protocol = self._server()
            cast(asyncio.Transport, transport).set_protocol(protocol)
            protocol.connection_made(transport)
        else:
            self._turn_away(cast(asyncio.Transport, transport))

    def connection_lost(self, _: Exception | None) -> None:
        """Forget the client, who was turned away."""
        if self._end is not None:
            self._end.cancel()

    def _turn_away(self, transport: asyncio.Transport) -> None:
        """Say why, and read on until the client has heard it: what it sends to a closed socket costs it the answer."""
        _LOGGER.warning("a connection is turned away: %d are open, at most that many may be", self._limit)
        transport.write(_full(self._limit))
        transport.write_eof()
        self._end = asyncio.get_running_loop().call_later(_CLOSE_S, transport.abort)


def _full(limit: int) -> bytes:
    """Return the answer to whoever comes when `limit` connections are open."""
    text = f"{limit} connections to this server are open, and it takes no more; close some, or raise max_connections"
    error = errors.EngineUnavailableError(text, code="too_many_connections")
    body = json.dumps(error_body(error)).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Retry-After: 1",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body
