"""The life of `zoe serve`: listen, load, answer until a signal comes, then leave in good order.

A first SIGTERM or SIGINT lets the requests in work finish (bounded) while new ones get 503; a second one ends them. No
engine process stays behind.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.health import HealthPolicy
from zoe_server.fleet.memory_measurements import MemoryMeasurements
from zoe_server.fleet.sizing import MachineSizing
from zoe_server.gateway.listener import Listener
from zoe_server.gateway.pull import Pulls
from zoe_server.gateway.services import Services
from zoe_server.routing.router import Router
from zoe_server.settings import Settings, check_bind, is_loopback

_LOGGER: Final = logging.getLogger(__name__)
_ID: Final = re.compile(r"[0-9a-f]{32}")

Announce = Callable[[str, Fleet], None]


async def serve(settings: Settings, listening: Announce, settled: Announce) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: the whole configuration.
        listening: called with the URL when the port is open.
        settled: called with the URL when every model is loaded or has failed.

    Raises:
        SettingsError: the address cannot be listened on, or is open to others without a key.
    """
    for host in settings.server.hosts:
        check_bind(host, settings.key)
    fleet = Fleet(
        settings.specs(),
        ready_wait_s=settings.server.ready_wait_s,
        health=HealthPolicy(stuck_s=settings.server.stuck_after_s),
        sizing=MachineSizing(MemoryMeasurements(settings.memory_measurements), settings.server.memory_budget_bytes),
    )
    for problem in (*settings.shortcomings(), *settings.left_out()):
        _LOGGER.warning("%s", problem)
    state = Services(
        settings.server,
        settings.key,
        fleet,
        Router(fleet.specs, settings.preferred_engine),
        server_id(settings.server_id_file),
    )
    if not settings.is_closed:
        state.pulls = Pulls(settings, fleet, state.enlist)
    signals = _Signals()
    listener = Listener(state)
    try:
        url = await listener.open()
        listening(url, fleet)
        fleet.start()
        beside = (_tell_settled(fleet, url, settled), fleet.watch(), _announced(state, listener))
        async with _in_background(*beside):
            await signals.next()
        await _drain(state, signals)
    finally:
        await fleet.stop()  # first, so that requests which are still open get their error and not a cut connection
        await listener.close()


class _Signals:
    """SIGTERM and SIGINT as a queue."""

    def __init__(self) -> None:
        self._received: asyncio.Queue[signal.Signals] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._received.put_nowait, number)

    async def next(self) -> signal.Signals:
        return await self._received.get()


@asynccontextmanager
async def _in_background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the block, and end it with it."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one) for one in work]
        yield
        for task in running:
            task.cancel()


async def _tell_settled(fleet: Fleet, url: str, settled: Announce) -> None:
    await fleet.settled()
    settled(url, fleet)


async def _announced(state: Services, listener: Listener) -> None:
    """Announce the server on the network, unless only this machine can reach it or nobody wants that."""
    hosts = tuple(address[0] for address in listener.addresses if not is_loopback(address[0]))
    if state.settings.announce and state.server_id is not None and hosts:
        from zoe_server.gateway import announcement  # noqa: PLC0415 -- zeroconf is slow to import

        port = listener.addresses[0][1]
        await announcement.announce(announcement.Announced(state.server_id, hosts, port, state.api_key is not None))


async def _drain(state: Services, signals: _Signals) -> None:
    """Let the requests in work finish: bounded by the grace time and by a second signal."""
    state.draining = True
    if state.pulls is not None:
        await state.pulls.stop()
    _LOGGER.info("stopping; %d requests in work", state.open_requests)
    waits = [asyncio.ensure_future(state.wait_idle()), asyncio.ensure_future(signals.next())]
    _, pending = await asyncio.wait(waits, timeout=state.settings.shutdown_grace_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in pending:
        wait.cancel()


def server_id(path: Path) -> str | None:
    """Return who this server is: the random id in the file at `path`, which is made if it is missing or damaged.

    By it clients know the server at another address; it is no secret and proves nothing. None where it cannot be kept:
    an id that changes with every start would be worse than none.
    """
    try:
        return _read_id(path) or _make_id(path)
    except OSError as error:
        _LOGGER.warning(
            "%s cannot be kept (%s), so clients know this server by its address only; make the folder writable",
            path,
            error.strerror or error,
        )
        return None


def _read_id(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return text if _ID.fullmatch(text) else None


def _make_id(path: Path) -> str:
    made = uuid.uuid4().hex
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{made}.part")
    part.write_text(f"{made}\n", encoding="ascii")
    part.replace(path)
    return made
