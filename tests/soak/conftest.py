"""Long runs in two sizes: as part of all tests a small one, with `./scripts/soak` the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.copying_gguf import write_copying_gguf
from tests.fixtures.random_gguf import write_random_gguf
from tests.soak.conversations import DELAY

SMALL_SCALE = 0.05


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak-scale", type=float, help="1 for the whole; all tests together take 0.05 of it")


@pytest.fixture(scope="session")
def sized(request: pytest.FixtureRequest) -> Callable[..., int]:
    """Scale a count of the whole run; it is never less than `least`."""
    scale = request.config.getoption("soak_scale", None) or SMALL_SCALE  # the option is not there in runs of all tests

    def size(whole: int, *, least: int = 1) -> int:
        return max(least, round(whole * scale))

    return size


@pytest.fixture(scope="session")
def copying_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says again what stood `DELAY` tokens before."""
    return write_copying_gguf(tmp_path_factory.mktemp("copying") / "copying.gguf", delay=DELAY)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model file with random weights, whose greedy answers never end by themselves."""
    return write_random_gguf(tmp_path_factory.mktemp("random") / "random.gguf")
