"""The server tells its network by multicast DNS where it is, so that Home Assistant finds it by itself.

    Zoe on jetson._zoe._tcp.local.   SRV zoe-1f0c9a2b7d34.local.:11434   TXT id=... version=0.1.0 path=/ key=1

`key` is 1 where requests need the API key. The text is public and proves nothing: whoever reads it asks `/health`.
Sources: RFC 6762 (multicast DNS), RFC 6763 (service discovery).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import ifaddr
import zeroconf
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from zoe_server import __version__

SERVICE_TYPE: Final = "_zoe._tcp.local."

_LOGGER: Final = logging.getLogger(__name__)
_LOOK_S: Final = 60.0
"""How often the addresses of the machine are looked at: networks come up after a server, and move."""

_NAME_BYTES: Final = 63 - len("Zoe on ") - len("-99")  # of a DNS label, with room for a number where a name is taken


@dataclass(frozen=True, slots=True)
class Announced:
    """What is announced; `hosts` are the addresses that are listened on."""

    server_id: str
    hosts: tuple[str, ...]
    port: int
    needs_key: bool


async def announce(told: Announced, look_s: float = _LOOK_S) -> NoReturn:
    """Announce the server until cancelled, and take leave then. No trouble with the network gets out of here.

    Args:
        told: what to announce.
        look_s: how often to look whether the machine has other addresses now.
    """
    trouble = ""
    while True:
        try:
            await _announce_until_moved(told, look_s)
        except (OSError, RuntimeError, zeroconf.Error) as error:
            if str(error) != trouble:
                trouble = str(error)
                _LOGGER.warning("the server cannot be announced on the network: %s", trouble or type(error).__name__)
            await asyncio.sleep(look_s)


async def _announce_until_moved(told: Announced, look_s: float) -> None:
    """Announce the server, and return when its addresses are others."""
    addresses = reachable_addresses(told.hosts)
    if not addresses:
        await asyncio.sleep(look_s)
        return
    async with AsyncZeroconf(interfaces=addresses) as responder:
        await asyncio.shield(responder.zeroconf.async_wait_for_start())  # interrupted here, it could not be closed
        await responder.async_register_service(service_info(told, addresses), allow_name_change=True)
        while reachable_addresses(told.hosts) == addresses:  # noqa: ASYNC110 - the system tells nobody of a change
            await asyncio.sleep(look_s)


def service_info(told: Announced, addresses: Sequence[str]) -> AsyncServiceInfo:
    """Return the records of the server."""
    name = _hostname().encode()[:_NAME_BYTES].decode(errors="ignore")
    return AsyncServiceInfo(
        SERVICE_TYPE,
        f"Zoe on {name}.{SERVICE_TYPE}",
        port=told.port,
        server=f"zoe-{told.server_id[:12]}.local.",
        parsed_addresses=list(addresses),
        properties={"id": told.server_id, "version": __version__, "path": "/", "key": "1" if told.needs_key else "0"},
    )


def reachable_addresses(hosts: Sequence[str]) -> list[str]:
    """Return the addresses of this machine that a server listening on `hosts` answers at.

    Those that only this machine reaches count where they are among `hosts`; link-local addresses of IPv6, which mean
    nothing without a network interface, do not count.
    """
    return list(dict.fromkeys(address for host in hosts for address in _behind(ipaddress.ip_address(host))))


def _behind(bound: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[str]:
    """Return the addresses that `bound` stands for: itself, or all of the machine's."""
    if not bound.is_unspecified:
        return [str(bound)]
    found = [ipaddress.ip_address(text) for text in _own_addresses()]
    return [str(address) for address in found if address.version <= bound.version and _is_reachable(address)]


def _own_addresses() -> Iterator[str]:
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            yield ip.ip if isinstance(ip.ip, str) else ip.ip[0]


def _is_reachable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not (address.is_loopback or (isinstance(address, ipaddress.IPv6Address) and address.is_link_local))


def _hostname() -> str:
    return socket.gethostname().partition(".")[0] or "this machine"
