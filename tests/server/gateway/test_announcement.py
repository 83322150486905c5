"""What the network hears of the server: real multicast, on the loopback interface only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import ifaddr
import pytest
from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from zoe_server import __version__
from zoe_server.gateway import announcement
from zoe_server.gateway.announcement import SERVICE_TYPE, Announced, announce, reachable_addresses, service_info

LOOPBACK = "127.0.0.1"
TOLD = Announced("0123456789abcdef" * 2, (LOOPBACK,), 11434, needs_key=True)

Heard = asyncio.Queue[tuple[ServiceStateChange, str]]


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[AsyncZeroconf, Heard]]:
    """Hear which of our servers come and go."""
    heard: Heard = asyncio.Queue()

    def note(name: str, state_change: ServiceStateChange, **_: object) -> None:
        heard.put_nowait((state_change, name))

    async with (
        asyncio.timeout(20),
        AsyncZeroconf(interfaces=[LOOPBACK]) as listener,
        AsyncServiceBrowser(listener.zeroconf, SERVICE_TYPE, handlers=[note]),
    ):
        yield listener, heard


async def test_the_server_is_found_and_takes_leave() -> None:
    async with listening() as (listener, heard):
        announcing = asyncio.create_task(announce(TOLD))
        change, name = await heard.get()
        assert change is ServiceStateChange.Added
        assert name.startswith("Zoe on ")
        info = AsyncServiceInfo(SERVICE_TYPE, name)
        assert await info.async_request(listener.zeroconf, 3000)
        assert info.parsed_addresses() == [LOOPBACK]
        assert info.port == 11434
        assert info.decoded_properties == {"id": TOLD.server_id, "version": __version__, "path": "/", "key": "1"}
        announcing.cancel()
        await asyncio.wait([announcing])
        assert announcing.cancelled()
        while (await heard.get()) != (ServiceStateChange.Removed, name):
            pass


async def test_two_servers_on_machines_of_the_same_name() -> None:
    async with listening() as (_, heard):
        other = Announced("f" * 32, (LOOPBACK,), 11435, needs_key=False)
        announcing, names = [], set()
        for told in (TOLD, other):  # one after the other: of two at once, on a busy machine, neither hears of the other
            announcing.append(asyncio.create_task(announce(told)))
            names.add((await heard.get())[1])
        assert len(names) == 2
        for task in announcing:
            task.cancel()
        await asyncio.wait(announcing)


async def test_a_machine_that_moves_is_announced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[str]] = [[], [LOOPBACK], ["127.0.0.2"]]
    monkeypatch.setattr(announcement, "reachable_addresses", lambda _: found[0] if len(found) == 1 else found.pop(0))
    announced: asyncio.Queue[list[str]] = asyncio.Queue()
    made = announcement.service_info

    def noted(told: Announced, addresses: Sequence[str]) -> AsyncServiceInfo:
        announced.put_nowait(list(addresses))
        return made(told, addresses)

    monkeypatch.setattr(announcement, "service_info", noted)
    announcing = asyncio.create_task(announce(TOLD, look_s=0.01))
    async with asyncio.timeout(20):
        assert [await announced.get() for _ in range(2)] == [[LOOPBACK], ["127.0.0.2"]]
    announcing.cancel()
    await asyncio.wait([announcing])


async def test_trouble_with_the_network_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: asyncio.Queue[None] = asyncio.Queue()

    def broken(**_: object) -> None:
        tries.put_nowait(None)
        raise OSError(19, "No such device")

    monkeypatch.setattr(announcement, "AsyncZeroconf", broken)
    with caplog.at_level(logging.WARNING):
        announcing = asyncio.create_task(announce(TOLD, look_s=0.01))
        async with asyncio.timeout(20):
            for _ in range(3):
                await tries.get()
        announcing.cancel()
        await asyncio.wait([announcing])
    assert len(caplog.records) == 1
    assert "No such device" in caplog.text


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.168.1.5", ["192.168.1.5"]),
        ("fd00::5", ["fd00::5"]),
        ("0.0.0.0", ["192.168.1.2", "169.254.3.4"]),  # noqa: S104 - nothing listens there
        ("::", ["192.168.1.2", "169.254.3.4", "fd00::2"]),
    ],
)
def test_only_addresses_that_others_reach(monkeypatch: pytest.MonkeyPatch, host: str, expected: list[str]) -> None:
    own = [LOOPBACK, "192.168.1.2", "169.254.3.4", ("::1", 0, 0), ("fe80::1", 0, 2), ("fd00::2", 0, 0)]
    adapter = SimpleNamespace(ips=[SimpleNamespace(ip=address) for address in own])
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: [adapter])
    assert reachable_addresses([host]) == expected


@pytest.mark.parametrize("name", ["jetson.home.example", "", "ü" * 40, "x" * 64])
def test_the_name_fits_whatever_the_machine_is_called(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: name)
    info = service_info(TOLD, [LOOPBACK])
    label = info.name.removesuffix(f".{SERVICE_TYPE}")
    assert label.startswith("Zoe on ")
    assert len(f"{label}-99".encode()) <= 63
    assert "." not in label
