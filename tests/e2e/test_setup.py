"""`./scripts/setup` on a machine where it has run before."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

SETUP = Path(__file__).parents[2] / "scripts" / "setup"


def test_a_second_run_has_nothing_to_do() -> None:
    started = time.monotonic()
    result = subprocess.run([SETUP], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert time.monotonic() - started < 5


def test_an_unknown_argument_is_refused_with_the_usage() -> None:
    result = subprocess.run([SETUP, "--trian"], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "unknown argument --trian" in result.stderr
    assert "Usage: ./scripts/setup [--train]" in result.stderr
