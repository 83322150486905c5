"""What an engine process does where nobody says."""

from __future__ import annotations

import pytest

from tests.server.fleet.test_hardware import TREES
from zoe_server.llama.config import physical_cores


@pytest.mark.parametrize(("tree", "n_threads"), [("pc-rtx", 6), ("container-v1", 2), ("container-v2", 2)])
def test_one_thread_per_core_within_the_limits_of_a_container(tree: str, n_threads: int) -> None:
    assert physical_cores(TREES / tree) == n_threads
