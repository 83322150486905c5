"""Prompts computed before there is a sentence: real server, real model, real Home Assistant, counted in tokens."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.conftest import ENVIRONMENT, ROOT

OVERHEAD_TOKENS = 8
"""What a chat template puts around a sentence."""


def prepared_home(url: str, hash_seed: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.e2e.prepared_home", url],
        cwd=ROOT,
        env={**ENVIRONMENT, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    return told


@pytest.fixture(scope="module")
def runs(server_url: str) -> list[dict[str, Any]]:
    """Two runs of the same home. In the second, Home Assistant's sets have another order."""
    return [prepared_home(server_url, seed) for seed in ("1", "2")]


@pytest.mark.parametrize(
    "said", ["after the start", "in a conversation", "satellite, after a change", "no satellite, after a change"]
)
def test_of_a_prepared_sentence_nothing_but_the_sentence_is_left(runs: list[dict[str, Any]], said: str) -> None:
    assert all(run[said] <= OVERHEAD_TOKENS for run in runs)


def test_a_restart_changes_no_byte_of_the_request(runs: list[dict[str, Any]]) -> None:
    first, second = (run["request"] for run in runs)
    assert first[0] > 5000
    assert first == second
