"""zoe-nano on 60 sentences it has never seen: real server, real Home Assistant, judged by the state of the home."""

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import ENVIRONMENT, ROOT

SENTENCES = Path(__file__).with_name("demo_sentences.yaml")
MIN_RIGHT = 54


def test_sentences_end_in_the_right_state(server_url: str) -> None:
    command = [sys.executable, "-m", "zoe_eval", str(SENTENCES), "--url", server_url, "--json"]
    run = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    verdicts = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(verdicts) == 60
    wrong = [verdict for verdict in verdicts if verdict["faults"]]
    assert len(verdicts) - len(wrong) >= MIN_RIGHT, json.dumps(wrong, indent=1)
