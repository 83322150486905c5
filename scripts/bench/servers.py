"""The servers that benchmarks compare, as real processes on free ports: `zoe serve`, and llama.cpp's own llama-server.

Both get the same model file, the same number of threads, the same room and the same number of slots.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from bench.client import Client

START_S: Final = 120.0
STOP_S: Final = 30.0
PEER_PROGRAM: Final = Path(__file__).with_name("peer")


@dataclass(frozen=True, slots=True)
class Load:
    """What a server is to run. `n_ctx_tokens` is for all slots together."""

    model: Path
    n_ctx_tokens: int
    n_slots: int
    n_threads: int


@dataclass(frozen=True, slots=True)
class ZoeServer:
    """`zoe serve`; `options` are more lines of the model's table in its configuration."""

    load: Load
    options: str = ""

    def command(self, port: int, folder: Path) -> list[str]:
        """Return the command; its configuration is written into `folder`."""
        config = folder / "zoe.toml"
        load = self.load
        config.write_text(
            f"[server]\nport = {port}\nsaved_prefix_bytes = 0\n[models.bench]\npath = '{load.model}'\n"
            f"context_tokens = {load.n_ctx_tokens}\nslots = {load.n_slots}\nthreads = {load.n_threads}\n"
            f"sampling = {{ temperature = 0.0 }}\n{self.options}\n",
            encoding="utf-8",
        )
        return [sys.executable, "-m", "zoe_server.cli", "serve", "--config", str(config)]


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """llama-server as `./scripts/bench/peer` builds it."""

    load: Load
    program: Path

    def command(self, port: int, folder: Path) -> list[str]:
        """Return the command; `folder` is not needed."""
        del folder
        load = self.load
        options = {"--model": load.model, "--port": port, "--ctx-size": load.n_ctx_tokens, "--parallel": load.n_slots,
                   "--threads": load.n_threads, "--threads-batch": load.n_threads, "--temp": 0}  # fmt: skip
        flags = ("--host", "127.0.0.1", "--kv-unified", "--jinja")
        return [str(self.program), *(str(part) for pair in options.items() for part in pair), *flags]


class Server(Protocol):
    """A server that can be started."""

    def command(self, port: int, folder: Path) -> list[str]:
        """Return the command that serves on `port`; `folder` is there for its files."""


def build_peer() -> Path:
    """Return the program of the peer, which is built if this machine has none yet (its output goes to stderr)."""
    done = subprocess.run([str(PEER_PROGRAM)], stdout=subprocess.PIPE, text=True, check=True)
    *progress, program = done.stdout.splitlines()
    print("\n".join(progress), file=sys.stderr)
    return Path(program)


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Client]:
    """Run a server and talk to it; nothing of it is left afterwards.

    Raises:
        RuntimeError: it ended, or was not ready in time; the message ends with its last output.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="zoe-bench-") as name, (Path(name) / "log").open("w+") as log:
        command = server.command(port, Path(name))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=environment)
        try:
            # llama-server hangs up on idle connections, which a client notices only when it uses them again.
            fresh = aiohttp.TCPConnector(force_close=True)
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), connector=fresh) as http:
                client = Client(f"http://127.0.0.1:{port}", http)
                if not await _is_ready(client, process):
                    log.seek(0)
                    raise RuntimeError(f"the server did not become ready:\n{log.read()[-3000:]}")
                yield client
        finally:
            await _stop(process)


async def _is_ready(client: Client, process: asyncio.subprocess.Process) -> bool:
    """Return True as soon as the server is ready, False if it ends or takes too long."""
    try:
        async with asyncio.timeout(START_S):
            while process.returncode is None:
                if await client.is_ready():
                    return True
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
