"""Specs of engines to test, and the events of one request."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.conftest import running
from zoe_server import protocol
from zoe_server.engines.base import Engine

Ask = Callable[..., protocol.ChatRequest]
Collect = Callable[[Engine, protocol.ChatRequest], Awaitable[list[protocol.ChatEvent]]]


@pytest.fixture
def ask() -> Ask:
    """Make a request that says `text`."""

    def make(text: str = "hello", request_id: str = "q", **fields: object) -> protocol.ChatRequest:
        messages = ({"role": "user", "content": text},)
        return protocol.ChatRequest(request_id, "m", messages, **fields)  # type: ignore[arg-type]  # any of its fields

    return make


@pytest.fixture
def collect() -> Collect:
    """Return all events of one request."""

    async def events(engine: Engine, request: protocol.ChatRequest) -> list[protocol.ChatEvent]:
        return [event async for event in engine.chat(request)]

    return events


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model file with random weights."""
    random_gguf = pytest.importorskip("tests.fixtures.random_gguf", reason="needs the gguf package")
    path = tmp_path_factory.mktemp("model") / "random.gguf"
    random_gguf.write_random_gguf(path)
    return path


@pytest.fixture(scope="session")
def zoe_elsewhere(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `zoe serve` with the random model, as a server elsewhere: two requests run, two may wait."""
    path = tmp_path_factory.mktemp("elsewhere") / "zoe.toml"
    table = f"[models.far]\npath = '{random_model}'\ncontext_tokens = 4096\nslots = 2\nthreads = 1"
    path.write_text(f"[server]\nqueue_limit = 2\n{table}", encoding="utf-8")
    with running(path) as process:
        yield process.url


@pytest.fixture(scope="session")
def random_embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real file of an embedding model with random weights."""
    random_gguf = pytest.importorskip("tests.fixtures.random_embedder_gguf", reason="needs the gguf package")
    path = tmp_path_factory.mktemp("embedder") / "random.gguf"
    random_gguf.write_random_embedder_gguf(path)
    return path
