"""Models made here, and a hub on loopback to get them from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.random_embedder_gguf import write_random_embedder_gguf
from tests.fixtures.random_gguf import write_random_gguf
from tests.server.catalogue.local_hub import LocalHub


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", merges=20)


@pytest.fixture(scope="session")
def embedder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_embedder_gguf(tmp_path_factory.mktemp("gguf") / "embedder.gguf")


@pytest.fixture(autouse=True)
def own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token and no configuration of this machine takes part, and the library does not pause between attempts."""
    for name in ("HF_TOKEN", "HF_ENDPOINT", "XDG_DATA_HOME", "ZOE_SERVER__MODELS_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub() as hub:
        yield hub
