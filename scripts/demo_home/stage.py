"""Sets the stage: both processes started, Home Assistant configured, every device exposed, Zoe asked by Assist."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from demo_home.config_folder import area_names, write_config_folder
from demo_home.errors import DemoError
from demo_home.home_assistant import (
    HomeAssistant,
    discovery_flow,
    expose_home,
    name_areas,
    prefer_pipeline,
    zoe_agent,
)
from demo_home.processes import Service, running

_POLL_S = 0.1
_START_TIMEOUT_S = 120.0
type Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """Where and with which model."""

    folder: Path
    port_ha: int
    port_zoe: int
    model: Path | None
    connected: bool = True  # else Home Assistant does not know the server yet
    api_key: str | None = None  # with one, the server listens and announces itself, and Home Assistant looks for it


@dataclass(frozen=True, slots=True)
class Stage:
    """A running demo."""

    options: Options
    home_assistant: HomeAssistant
    zoe_url: str
    services: tuple[Service, ...]

    async def discovery_flow(self) -> str:
        """Wait until Home Assistant has found this very server on the network; return the id of the flow that adds it.

        Raises:
            DemoError: it does not find it.
        """
        async with aiohttp.ClientSession() as session, session.get(f"{self.zoe_url}/health") as response:
            server_id: str = (await response.json())["id"]
        async with self.home_assistant.socket() as connection:
            return await discovery_flow(connection, server_id)

    async def while_alive[T](self, work: Coroutine[None, None, T]) -> T:
        """Return what `work` returns.

        Raises:
            DemoError: one of the processes ended before.
        """
        return await while_alive(self.services, work)


async def while_alive[T](services: tuple[Service, ...], work: Coroutine[None, None, T]) -> T:
    """Run `work`, but not longer than all services live."""
    task = asyncio.ensure_future(work)
    watchers = [asyncio.ensure_future(service.raise_when_ended()) for service in services]
    try:
        done, _ = await asyncio.wait([task, *watchers], return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        raise next(error for watcher in done if (error := watcher.exception()))
    finally:
        for unfinished in (task, *watchers):
            unfinished.cancel()
        await asyncio.gather(task, *watchers, return_exceptions=True)


@asynccontextmanager
async def stage(options: Options, progress: Progress) -> AsyncIterator[Stage]:
    """Start everything; on the way out everything is stopped.

    Raises:
        DemoError: a port is taken, a process ends, or it takes longer than two minutes.
    """
    check_port(options.port_ha, "--port-ha")
    check_port(options.port_zoe, "--port-zoe")
    write_config_folder(options.folder, options.port_ha, discovery=options.api_key is not None)
    async with AsyncExitStack() as stack:
        progress("Starting zoe serve and Home Assistant")
        zoe = await stack.enter_async_context(_run_zoe(options))
        core = await stack.enter_async_context(_run_home_assistant(options))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        home_assistant = HomeAssistant(session, f"http://127.0.0.1:{options.port_ha}")
        zoe_url = f"http://127.0.0.1:{options.port_zoe}"
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await while_alive((zoe, core), _furnish(session, home_assistant, zoe_url, progress))
                if options.connected:
                    await while_alive((zoe, core), _connect(home_assistant, zoe_url, progress))
        except TimeoutError:
            raise DemoError(f"the start took longer than {_START_TIMEOUT_S:.0f} s; logs: {options.folder}") from None
        yield Stage(options, home_assistant, zoe_url, (zoe, core))


def check_port(port: int, option: str) -> None:
    """Refuse a port that somebody else listens on.

    Raises:
        DemoError: naming the option that changes it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoError(f"port {port} cannot be used ({error.strerror}); choose another with {option}") from error


async def _furnish(
    session: aiohttp.ClientSession, home_assistant: HomeAssistant, zoe_url: str, progress: Progress
) -> None:
    """Wait for both processes, and do in Home Assistant what its owner did long ago."""
    await asyncio.gather(_enter(home_assistant, progress), _wait_until_ready(session, zoe_url, progress))
    async with home_assistant.socket() as connection:
        await name_areas(connection, area_names())
        count = await expose_home(connection)
    progress(f"{count} devices are exposed")


async def _connect(home_assistant: HomeAssistant, zoe_url: str, progress: Progress) -> None:
    """Do in Home Assistant what a person would do to use the server."""
    if complaint := await home_assistant.add_zoe(zoe_url):
        progress(complaint)
    async with home_assistant.socket() as connection:
        agent = await zoe_agent(connection)
        await prefer_pipeline(connection, agent)
    progress(f"{agent} answers")


async def _enter(home_assistant: HomeAssistant, progress: Progress) -> None:
    await home_assistant.wait_until_answering()
    await home_assistant.log_in()
    await home_assistant.wait_until_running()
    progress("Home Assistant is running")


async def _wait_until_ready(session: aiohttp.ClientSession, zoe_url: str, progress: Progress) -> None:
    """Wait for the model.

    Raises:
        DemoError: it cannot be loaded.
    """
    while True:
        try:
            async with session.get(f"{zoe_url}/health") as response:
                if response.ok:
                    progress("Zoe is ready")
                    return
                health = await response.json()
                if health["status"] == "failed":
                    reasons = [model["reason"] for model in health["models"].values() if "reason" in model]
                    raise DemoError(f"Zoe's model cannot be loaded: {'; '.join(reasons)}")
        except aiohttp.ClientConnectionError:
            pass  # not listening yet
        await asyncio.sleep(_POLL_S)


def _run_zoe(options: Options) -> AbstractAsyncContextManager[Service]:
    # An empty configuration of its own: the demo shows Zoe as she comes, whatever this user's zoe.toml says.
    config = options.folder / "zoe.toml"
    config.touch()
    command = [sys.executable, "-m", "zoe_server.cli", "serve"]
    command += ["--config", str(config), "--port", str(options.port_zoe)]
    if options.model is not None:
        command += ["--model", str(options.model.absolute())]
    environment = _environment()
    if options.api_key is not None:
        command += ["--host", "0.0.0.0"]  # noqa: S104 -- what is announced has to be reachable, and has a key
        environment["ZOE_API_KEY"] = options.api_key
        environment["XDG_DATA_HOME"] = str(options.folder / "data")  # this user's other servers have another id
    return running("zoe", command, options.folder, environment)


def _run_home_assistant(options: Options) -> AbstractAsyncContextManager[Service]:
    command = [sys.executable, "-m", "homeassistant", "--config", str(options.folder), "--skip-pip", "--log-no-color"]
    # The working folder matters: Home Assistant takes the first `custom_components` on Python's import path.
    return running("hass", command, options.folder, _environment())


def _environment() -> dict[str, str]:
    """This environment without settings of Zoe's, and without the import path of these scripts."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ZOE_", "PYTHONPATH"))}
