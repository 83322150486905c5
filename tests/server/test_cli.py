"""The command `zoe` without a server: what it prints, and how it ends when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import zoe_server


def zoe(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(zoe_server.__file__).parents[1])
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ZOE_")}
    return subprocess.run(
        [sys.executable, "-m", "zoe_server.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**clean, "PYTHONPATH": source, "HOME": str(folder), **environment},
        check=False,
    )


def test_version_is_the_package_s(tmp_path: Path) -> None:
    run = zoe("version", folder=tmp_path)
    assert (run.returncode, run.stdout.strip()) == (0, zoe_server.__version__)


@pytest.mark.parametrize("command", ["serve", "doctor", "route"])
def test_a_wrong_configuration_is_explained_and_not_traced(tmp_path: Path, command: str) -> None:
    (tmp_path / "zoe.toml").write_text("[server]\nprot = 1", encoding="utf-8")
    run = zoe(command, *(["hello"] if command == "route" else []), folder=tmp_path)
    assert run.returncode == 1
    assert "server.prot: unknown key" in run.stderr
    assert "Traceback" not in run.stderr


def test_doctor_fails_where_something_is_missing_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "zoe.toml").write_text("[models.mine]\npath = 'mine.gguf'", encoding="utf-8")
    run = zoe("doctor", "--host", "0.0.0.0", folder=tmp_path)  # noqa: S104 - this is what it complains about
    assert run.returncode == 1
    assert "FAIL address 0.0.0.0:11434: refusing to listen" in run.stdout
    assert "FAIL model mine:" in run.stdout
    assert "correct its path in zoe.toml" in run.stdout
    assert "self-test" not in run.stdout


def test_route_explains_its_decision(tmp_path: Path) -> None:
    models = "[models.talker]\npath = 'a.gguf'\nroles = ['chat']\n[models.zoe-nano]\n[models.eyes]\npath = 'b.gguf'\n"
    (tmp_path / "zoe.toml").write_text(f"{models}roles = ['vision']", encoding="utf-8")
    run = zoe("route", "is the desk lamp on?", "--device", "Desk lamp", "--area", "Office", folder=tmp_path)
    lines = [line.split(":", 1) for line in run.stdout.splitlines()]
    assert run.returncode == 0, run.stderr
    assert [head for head, _ in lines] == ["rule", "model", "candidates", "classifier", "said", "names"]
    assert lines[0][1].strip().startswith("automation (")
    assert [text.strip() for _, text in lines[1:3]] == ["zoe-nano", "zoe-nano, talker, eyes"]
    assert "Desk lamp (+" in lines[5][1]
    assert "model:      talker" in zoe("route", "tell me a joke", folder=tmp_path).stdout
