"""Prompts computed before there is a sentence: real server, real model, real Home Assistant, counted in tokens."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.conftest import ENVIRONMENT, ROOT, running_server
from tests.fixtures.random_gguf import write_random_gguf

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


@pytest.fixture(scope="module")
def run_with_other_template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run with a model that says nothing of use, but whose prompt has all there is, the tools behind the home."""
    folder = tmp_path_factory.mktemp("model")
    model = write_random_gguf(folder / "random.gguf", context=40960)
    settings = folder / "zoe.toml"
    settings.write_text(f'[models.random]\npath = "{model}"\nroles = ["tools", "chat"]\ncontext_tokens = 40960\n')
    with running_server("--config", str(settings)) as url:
        return prepared_home(url, "1")


SAID = ("after the start", "in a conversation", "satellite, after a change", "no satellite, after a change")


@pytest.mark.parametrize("said", SAID)
def test_of_a_prepared_sentence_nothing_but_the_sentence_is_left(runs: list[dict[str, Any]], said: str) -> None:
    assert all(run[said] <= OVERHEAD_TOKENS for run in runs)


@pytest.mark.parametrize("said", SAID)
def test_it_is_so_whatever_the_template(run_with_other_template: dict[str, Any], said: str) -> None:
    assert run_with_other_template[said] <= OVERHEAD_TOKENS


def test_a_room_that_nobody_spoke_in_shares_the_home_and_the_tools(run_with_other_template: dict[str, Any]) -> None:
    """Of some 9,000 tokens; its satellite has no timers, like a speaker without a device."""
    assert run_with_other_template["new satellite, unprepared"] < 200


def test_a_restart_changes_no_byte_of_the_request(runs: list[dict[str, Any]]) -> None:
    first, second = (run["request"] for run in runs)
    assert first[0] > 5000
    assert first == second
