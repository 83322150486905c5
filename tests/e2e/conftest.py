"""Real runs of the scripts, each in processes that can be told from all others by a mark in their environment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'server'}:{ROOT}"}
_MARK = "DEMO_TEST_MARK"
_TIMEOUT_S = 120.0


class Demo:
    """One run of `./scripts/demo` on ports of its own."""

    def __init__(self, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        self.port_ha, self.port_zoe = free_port(), free_port()
        ports = ["--port-ha", str(self.port_ha), "--port-zoe", str(self.port_zoe)]
        self._process = subprocess.Popen(
            [ROOT / "scripts" / "demo", *ports, *arguments],
            env={**os.environ, _MARK: self.mark, "ZOE_SERVER__SAVED_PREFIX_BYTES": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_line(self, text: str, stream: str) -> None:
        """Read lines of `stdout` or `stderr` until one contains `text`; the output before it is dropped."""
        pipe = getattr(self._process, stream)
        lines = []
        for line in pipe:
            if text in line:
                return
            lines.append(line)
        pytest.fail(f"the demo ended without saying {text!r} on {stream}:\n{''.join(lines)}")

    def interrupt(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def finish(self) -> tuple[int, str, str]:
        """Wait for the end and return exit code, stdout and stderr."""
        out, err = self._process.communicate(timeout=_TIMEOUT_S)
        return self._process.returncode, out, err

    def processes(self) -> list[str]:
        """Return the command lines of the processes that belong to this run."""
        return [
            path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            for path in Path("/proc").glob("[0-9]*/environ")
            if _environment(path).find(f"{_MARK}={self.mark}".encode()) >= 0
        ]

    def close(self) -> None:
        """End the run whatever state a failed test left it in."""
        if self._process.poll() is None:
            self._process.terminate()
        self.finish()


def _environment(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError, PermissionError, ProcessLookupError:
        return b""  # it ended meanwhile, or is somebody else's


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def start_demo() -> Iterator[Callable[..., Demo]]:
    """Starts demos and ends those that a failed test left running."""
    demos: list[Demo] = []

    def start(*arguments: str) -> Demo:
        demos.append(Demo(*arguments))
        return demos[-1]

    yield start
    for demo in demos:
        demo.close()


@contextmanager
def running_server(*arguments: str) -> Iterator[str]:
    """Run a server that knows no prompts from earlier runs; yields its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "zoe_server.cli", "serve", "--port", str(port), *arguments],
        env={**ENVIRONMENT, "ZOE_SERVER__SAVED_PREFIX_BYTES": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "ready" in line.lower():
                break
        else:
            pytest.fail(f"the server ended: {''.join(lines)}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """The address of a server with zoe-nano."""
    with running_server() as url:
        yield url
