"""Real `zoe serve` processes with a random model on the real llama.cpp, and a client for each test.

With `--base-url` the tests ask that server instead, which may be any. Those that need one of their own are skipped
then: they ask for `serve`, `zoe` or `own`, or are marked `zoe_only` because they look at what only Zoe has.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import aiohttp
import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest

import zoe_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

START_S = 300
N_CTX_TOKENS = 2048
_MOST_BYTES = 1 << 24
_SHORT = {"max_tokens": 8, "temperature": 0}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--base-url", help="ask this server, instead of starting Zoe")
    group.addoption("--model", help="the model's name there")
    group.addoption("--api-key", help="the key it wants")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "zoe_only(reason): it looks at what only Zoe has")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if (mark := item.get_closest_marker("zoe_only")) and base_url(item.config):
        pytest.skip(f"only Zoe has it: {mark.args[0]}")


def base_url(config: pytest.Config) -> str | None:
    """Return the server that is to be asked, None to start one."""
    url: str | None = config.getoption("base_url", None)  # the option is not there when all the tests are run
    return url and url.rstrip("/").removesuffix("/v1")


@dataclass(slots=True)
class ZoeProcess:
    """One running server: where it listens, its process, and what that writes to stderr."""

    url: str
    process: subprocess.Popen[str]
    stderr: IO[str]

    def engines(self) -> list[psutil.Process]:
        """The engine processes below it."""
        return [child for child in psutil.Process(self.process.pid).children() if child.is_running()]

    def log(self) -> str:
        """Return what it has written to stderr."""
        return os.pread(self.stderr.fileno(), _MOST_BYTES, 0).decode()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@dataclass(slots=True)
class Client:
    """Talks to one server; `model` is the name that requests use which do not say, None for none."""

    url: str
    http: aiohttp.ClientSession
    model: str | None = None

    async def post(self, body: object, path: str = "/v1/chat/completions") -> aiohttp.ClientResponse:
        if isinstance(body, dict) and self.model is not None:
            body = {"model": self.model, **body}
        return await self.http.post(self.url + path, json=body)

    async def get(self, path: str) -> aiohttp.ClientResponse:
        return await self.http.get(self.url + path)

    async def chat(self, text: str = "Hello", **fields: object) -> dict[str, Any]:
        """Return a whole answer, which must be one."""
        response = await self.post({**_SHORT, "messages": [{"role": "user", "content": text}], **fields})
        answer: dict[str, Any] = await response.json()
        assert response.status == 200, answer
        return answer

    async def refusal(self, body: object) -> tuple[int, dict[str, Any]]:
        """Return status and error of an answer that must be one, in the right form."""
        response = await self.post(body)
        assert response.content_type == "application/json"
        error = (await response.json())["error"]
        assert {"message", "type", "param", "code"} <= set(error)
        return response.status, error

    async def health(self) -> tuple[int, dict[str, Any]]:
        """Return status and body of /health."""
        async with self.http.get(f"{self.url}/health") as response:
            return response.status, await response.json()

    async def until(self, condition: Callable[[int, dict[str, Any]], bool]) -> None:
        """Return when status and body of /health meet `condition`; an engine reports about once a second."""
        async with asyncio.timeout(60):
            while not condition(*await self.health()):  # noqa: ASYNC110 - the state of another process
                await asyncio.sleep(0.02)

    async def until_busy(self, model: str, **wanted: int) -> None:
        """Return when the counts of `model` in /health are as `wanted`."""
        await self.until(lambda _, body: {key: body["models"][model][key] for key in wanted} == wanted)

    async def events(self, response: aiohttp.ClientResponse) -> tuple[list[dict[str, Any]], bool]:
        """Return the rest of a stream, and whether it ends without the mark of a complete answer."""
        lines = (await response.read()).splitlines()
        data = [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: {")]
        return data, b"data: [DONE]" not in lines

    async def stream(self, text: str = "Hello", **fields: object) -> list[dict[str, Any]]:
        """Return the chunks of a stream that must end as it should."""
        body = {**_SHORT, "messages": [{"role": "user", "content": text}], "stream": True, **fields}
        response = await self.post(body)
        assert (response.status, response.content_type) == (200, "text/event-stream")
        lines = [line for line in (await response.text()).splitlines() if line.startswith("data: ")]
        assert lines[-1] == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


@contextmanager
def running(config: Path | None, *options: str, wait: bool = True, **environment: str) -> Iterator[ZoeProcess]:
    """Run `zoe serve` on a free port; `wait` for the models. Nothing of it is left afterwards."""
    command = [sys.executable, "-m", "tests.fixtures.scripted_cli", "serve", "--port", "0", *options]
    command += ["--config", str(config)] if config else []
    source = os.pathsep.join((str(Path(zoe_server.__file__).parents[1]), str(Path(__file__).parents[2])))
    with tempfile.TemporaryFile("w+") as stderr, tempfile.TemporaryDirectory() as cache:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": source,
                "PYTHONUNBUFFERED": "1",
                "ZOE_SERVER__SAVED_PREFIX_BYTES": "0",  # each server begins as if it were the first
                "XDG_CACHE_HOME": cache,
                **environment,
            },
        )
        try:
            yield ZoeProcess(_url(process, wait=wait), process, stderr)
        finally:
            process.terminate()
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()


def _url(process: subprocess.Popen[str], *, wait: bool) -> str:
    """Return where the server listens, as soon as it says so or, with `wait`, says that the models are ready."""
    assert process.stdout is not None
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            found = re.search(r"http://[^\s/]+", line)
            if found and (not wait or "loading" not in line):
                return found[0]
            if "failed" in line:
                pytest.fail(line)
        return pytest.fail("zoe serve ended before it was ready")
    finally:
        watchdog.cancel()


@pytest.fixture(scope="session")
def serve(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The context manager that runs a server of one's own."""
    if base_url(request.config):
        pytest.skip("it needs a server of its own")
    return running


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model file with random weights, whose greedy answers never end by themselves."""
    from tests.fixtures.random_gguf import write_random_gguf  # noqa: PLC0415 - it loads numpy

    return write_random_gguf(tmp_path_factory.mktemp("model") / "random.gguf")


@pytest.fixture(scope="session")
def configure(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a configuration that serves the random model under each of `names`."""

    def write(*names: str, server: str = "", model: str = "", n_ctx_tokens: int = N_CTX_TOKENS) -> Path:
        path = tmp_path_factory.mktemp("config") / "zoe.toml"
        tables = [f"[server]\nhost = '127.0.0.1'\n{server}"]
        for name in names or ("random",):
            head = f"[models.{name}]\npath = '{random_model}'\ncontext_tokens = {n_ctx_tokens}\nslots = 4\nthreads = 1"
            tables.append(f"{head}\nsampling = {{ temperature = 0.0 }}\n{model}")
        path.write_text("\n".join(tables), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def zoe(serve: Callable[..., Any], configure: Callable[..., Path]) -> Iterator[ZoeProcess]:
    """The server that most tests share."""
    with serve(configure("random", model="aliases = ['old:name']")) as process:
        yield process


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> str:
    """The server that is asked."""
    asked = base_url(request.config)
    if asked is None:
        process: ZoeProcess = request.getfixturevalue("zoe")
        return process.url
    return asked


@pytest.fixture(scope="session")
def api_key(request: pytest.FixtureRequest) -> str | None:
    key: str | None = request.config.getoption("api_key", None)
    return key


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest) -> str | None:
    """The model to name in requests; None leaves the choice to the server."""
    name: str | None = request.config.getoption("model", None)
    return name


@pytest.fixture
async def http(api_key: str | None) -> AsyncGenerator[aiohttp.ClientSession, None]:
    opened: list[aiohttp.ClientResponse] = []

    async def remember(_session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
        opened.append(end.response)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(remember)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    limits = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=limits, headers=headers, trace_configs=[trace]) as session:
        yield session
        for response in opened:  # a test may leave an answer unread
            response.close()


@pytest.fixture
def client(url: str, http: aiohttp.ClientSession, model: str | None) -> Client:
    """Talks to the server that is asked, whichever it is."""
    return Client(url, http, model)


@pytest.fixture
def own(zoe: ZoeProcess, http: aiohttp.ClientSession) -> Client:
    """Talks to our own server, whose model and settings are known."""
    return Client(zoe.url, http)


@pytest.fixture
def connect(http: aiohttp.ClientSession) -> Callable[[ZoeProcess], Client]:
    """Talk to a server of one's own."""
    return lambda process: Client(process.url, http)


@pytest.fixture
def scripted(serve: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run a server whose model `s` says what is given."""

    def run(events: list[dict[str, Any]], *, slots: int = 4, **environment: str) -> Any:  # noqa: ANN401 - a context manager
        (tmp_path / "script.json").write_text(json.dumps([{"events": events}]), encoding="utf-8")
        config = tmp_path / "zoe.toml"
        config.write_text(
            "[server]\nkeep_alive_interval_s = 0.1\n"
            f"[models.s]\nengine = 'scripted'\npath = 'script.json'\nslots = {slots}",
            encoding="utf-8",
        )
        return serve(config, **environment)

    return run
