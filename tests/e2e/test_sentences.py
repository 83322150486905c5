"""zoe-nano on 60 sentences it has never seen: real server, real Home Assistant, judged by the state of the home."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, free_port

SENTENCES = Path(__file__).with_name("demo_sentences.yaml")
MIN_RIGHT = 54
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'server'}:{ROOT}"}


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "zoe_server.cli", "serve", "--port", str(port)],
        env=ENVIRONMENT,
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


def test_sentences_end_in_the_right_state(server_url: str) -> None:
    command = [sys.executable, "-m", "zoe_server.evaluation", str(SENTENCES), "--url", server_url, "--json"]
    run = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    verdicts = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(verdicts) == 60
    wrong = [verdict for verdict in verdicts if verdict["faults"]]
    assert len(verdicts) - len(wrong) >= MIN_RIGHT, json.dumps(wrong, indent=1)
