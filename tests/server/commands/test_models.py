"""`zoe models ...` and `zoe setup` as a user meets them: what is printed, what is on the disk, how they end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from huggingface_hub import constants
from typer.testing import CliRunner

from tests.fixtures.random_gguf import write_random_gguf
from tests.fixtures.random_projector_gguf import write_random_projector
from tests.server.catalogue.local_hub import LocalHub
from zoe_server import settings
from zoe_server.cli import app
from zoe_server.doctor import check_pulled
from zoe_server.fleet import sizing
from zoe_server.fleet.hardware import Hardware, Machine
from zoe_server.fleet.hardware_policy import recommend

Zoe = Callable[..., Result]
MINE = "somebody/Mine-GGUF/mine.gguf"
EYES = "somebody/Mine-GGUF/mmproj-mine.gguf"
CONFIGURATION = """
[catalogue.mine]
description = "a model of [my] own"
roles = ["tools", "chat"]
weights = { repository = "somebody/Mine-GGUF", file = "mine.gguf", size_bytes = 300_000 }
scores = { tools = 99 }
aliases = ["old-mine"]
"""


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_random_gguf(tmp_path_factory.mktemp("gguf") / "mine.gguf", merges=20).read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, content: bytes) -> Iterator[LocalHub]:
    with LocalHub(files={MINE: content}) as hub:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        yield hub


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of a user who has one model of their own in the catalogue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOE_SERVER__MODELS_FOLDER", str(tmp_path / "models"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "zoe.toml").write_text(CONFIGURATION, encoding="utf-8")
    return tmp_path / "models"


@pytest.fixture
def zoe(models: Path) -> Zoe:
    def run(*arguments: str, code: int = 0, answer: str = "") -> Result:
        result = CliRunner().invoke(app, arguments, input=answer, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run


def rows(zoe: Zoe) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(zoe("models", "list", "--json").stdout)}


def test_the_list_has_what_is_known_and_what_lies_there(zoe: Zoe, models: Path, content: bytes) -> None:
    models.mkdir()
    (models / "Found-2B.gguf").write_bytes(content)
    (models / "cut.gguf").write_bytes(content[:5000])
    (models / "vocabulary.gguf").write_bytes(b"GGUF")
    found = rows(zoe)
    assert [found[name]["state"] for name in ("zoe-nano", "mine", "Found-2B", "cut")] == [
        *("bundled", "not here", "extra", "broken"),
    ]
    assert found["Found-2B"]["roles"] == ["tools", "chat"]
    assert found["Found-2B"]["size_bytes"] == len(content)
    assert found["qwen2.5-coder-7b"]["scores"] == {"tools": 98, "speed": 85}
    text = zoe("models", "list").stdout
    assert all(name in text for name in (*found, "not here", "bundled", "4.7 GB", str(models)))


def test_show_tells_everything(zoe: Zoe, models: Path, content: bytes) -> None:
    shown = json.loads(zoe("models", "show", "phi3:mini", "--json").stdout)
    assert (shown["name"], shown["fallbacks"], shown["licence"]) == ("llama-3.2-3b", [], "Llama 3.2 Community License")
    assert shown["files"][0]["repository"] == "bartowski/Llama-3.2-3B-Instruct-GGUF"
    assert "a model of [my] own" in zoe("models", "show", "mine").stdout
    models.mkdir()
    (models / "Found-2B.gguf").write_bytes(content)
    assert json.loads(zoe("models", "show", "Found-2B", "--json").stdout)["architecture"] == "llama"
    assert "zoe-nano.gguf" in zoe("models", "show", "zoe-nano").stdout


def test_pull_verify_and_rm(zoe: Zoe, models: Path, hub: LocalHub, content: bytes) -> None:
    assert "checked" in zoe("models", "pull", "old-mine").stdout
    assert (models / "mine.gguf").read_bytes() == content
    assert rows(zoe)["mine"]["state"] == "pulled"
    shown = json.loads(zoe("models", "show", "mine", "--json").stdout)
    assert shown["files"][0]["sha256"] == hashlib.sha256(content).hexdigest()
    assert "ok" in zoe("models", "verify").stdout
    (models / "mine.gguf").write_bytes(content[:-1] + b"x")
    failed = zoe("models", "verify", "mine", code=1).stdout
    assert "damaged" in failed
    assert "`zoe models rm mine`, then `zoe models pull mine`" in failed
    assert "nothing was deleted" in zoe("models", "rm", "mine", answer="n\n").stdout
    assert (models / "mine.gguf").exists()
    zoe("models", "rm", "mine", "--yes")
    assert rows(zoe)["mine"]["state"] == "not here"
    assert [path for path in models.rglob("*") if path.is_file()] == []


def test_a_pulled_model_can_be_served_by_its_name(zoe: Zoe, models: Path, hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "zoe.toml").write_text(f"{CONFIGURATION}\n[models.mine]", encoding="utf-8")
    with pytest.raises(settings.SettingsError, match="zoe models pull mine"):
        settings.load()
    zoe("models", "pull", "mine")
    (spec,) = settings.load().specs()
    assert (spec.path, spec.roles, spec.aliases) == (models / "mine.gguf", ("tools", "chat"), ("old-mine",))


def test_a_model_that_sees_is_two_files(zoe: Zoe, models: Path, hub: LocalHub, content: bytes, tmp_path: Path) -> None:
    hub.files[EYES] = write_random_projector(tmp_path / "mmproj.gguf").read_bytes()
    files = 'weights = { repository = "somebody/Mine-GGUF", file = "mine.gguf" }\n'
    files += 'projector = { repository = "somebody/Mine-GGUF", file = "mmproj-mine.gguf" }\n'
    tables = f"[catalogue.eyes]\nroles = ['vision']\n{files}[catalogue.other-eyes]\nroles = ['chat', 'vision']\n"
    other = files.replace('"mine.gguf"', '"other.gguf"')
    (tmp_path / "zoe.toml").write_text(f"{tables}{other}[models.eyes]", encoding="utf-8")
    zoe("models", "pull", "eyes")
    both = len(content) + len(hub.files[EYES])
    assert (rows(zoe)["eyes"]["state"], rows(zoe)["eyes"]["size_bytes"]) == ("pulled", both)
    assert not any(name.startswith("mmproj") for name in rows(zoe))
    shown = json.loads(zoe("models", "show", "eyes", "--json").stdout)["files"]
    assert [(file["kind"], Path(file["path"]).name) for file in shown] == [
        ("weights", "mine.gguf"),
        ("projector", "mmproj-mine.gguf"),
    ]
    assert settings.load().specs()[0].options.projector_path == models / "mmproj-mine.gguf"
    (models / "mmproj-mine.gguf").write_bytes(b"damaged")
    failed = zoe("models", "verify", "eyes", code=1).stdout
    assert ("ok   mine.gguf" in failed, "FAIL mmproj-mine.gguf is damaged" in failed) == (True, True)
    (models / "other.gguf").write_bytes(content)
    zoe("models", "rm", "eyes", "--yes")
    assert sorted(path.name for path in models.glob("*.gguf")) == ["mmproj-mine.gguf", "other.gguf"]
    zoe("models", "rm", "other-eyes", "--yes")
    assert list(models.glob("*.gguf")) == []


def test_a_projector_beside_a_model_is_proposed_for_it(zoe: Zoe, models: Path, content: bytes) -> None:
    models.mkdir()
    (models / "Found-2B-Q4_K_M.gguf").write_bytes(content)
    projector = write_random_projector(models / "mmproj-Found-2B-f16.gguf")
    write_random_projector(models / "mmproj-Lost-2B-f16.gguf")
    extras = {name: row for name, row in rows(zoe).items() if row["state"] == "extra"}
    assert list(extras) == ["Found-2B-Q4_K_M"]
    assert extras["Found-2B-Q4_K_M"]["projector"] == str(projector)
    assert extras["Found-2B-Q4_K_M"]["roles"] == ["tools", "chat", "vision"]
    assert projector.name in zoe("models", "show", "Found-2B-Q4_K_M").stdout
    assert "is whole" in zoe("models", "verify", "mmproj-Found-2B-f16").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("models", "pull", "nobody"), "the catalogue has no model 'nobody'"),
        (("models", "show", "nobody"), "no model is called 'nobody'"),
        (("models", "rm", "nobody"), "no model is called 'nobody'"),
        (("models", "rm", "zoe-nano"), "is part of Zoe and stays"),
        (("models", "rm", "mine"), "is not in the models folder"),
        (("models", "verify", "nobody"), "no model is called 'nobody'"),
        (("setup", "--role", "cook"), "no role is called 'cook'; there are tools, chat, vision, embeddings"),
    ],
)
def test_a_wrong_name_is_one_clear_line(zoe: Zoe, arguments: tuple[str, ...], message: str) -> None:
    result = zoe(*arguments, code=1)
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_mirror_is_named_by_the_environment(models: Path, hub: LocalHub, content: bytes) -> None:
    source = str(Path(settings.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "HF_ENDPOINT": f"{hub.url}/", "HF_TOKEN": "hf_secret"}
    command = [sys.executable, "-m", "zoe_server.cli", "models", "pull", "mine"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert (models / "mine.gguf").read_bytes() == content
    assert {request.token for request in hub.requests} == {"Bearer hf_secret"}


def test_a_refused_download_ends_with_one_line_and_code_1(zoe: Zoe, hub: LocalHub) -> None:
    hub.refusals["HEAD"] = (401, "GatedRepo")
    error = zoe("models", "pull", "mine", code=1).stderr
    assert error.startswith("error: mine: somebody/Mine-GGUF asks you to accept its licence")
    assert error.count("\n") == 1


def test_a_file_outside_the_models_folder_is_never_deleted(zoe: Zoe, tmp_path: Path) -> None:
    outside = tmp_path / "mine.gguf"
    outside.write_bytes(b"precious")
    (tmp_path / "zoe.toml").write_text(f"{CONFIGURATION}\n[models.mine]\npath = 'mine.gguf'", encoding="utf-8")
    assert "delete it yourself" in zoe("models", "rm", "mine", "--yes", code=1).stderr
    assert outside.exists()


def test_verify_looks_at_files_whose_sum_nobody_knows(zoe: Zoe, models: Path, content: bytes) -> None:
    assert "no model was pulled yet" in zoe("models", "verify").stdout
    models.mkdir()
    (models / "found.gguf").write_bytes(content)
    assert hashlib.sha256(content).hexdigest() in zoe("models", "verify", "found").stdout
    (models / "found.gguf").write_bytes(content[:-1])
    assert "is not whole" in zoe("models", "verify", "found", code=1).stdout
    (models / "mine.gguf").write_bytes(content)
    assert "did not come from the hub" in zoe("models", "verify", code=1).stdout


def test_setup_chooses_pulls_and_configures(zoe: Zoe, models: Path, hub: LocalHub, tmp_path: Path) -> None:
    user_file = tmp_path / "home" / ".config" / "zoe" / "zoe.toml"
    (tmp_path / "zoe.toml").rename(tmp_path / "mine.toml")
    shutil.rmtree(tmp_path / "home", ignore_errors=True)
    assert "nothing was changed" in zoe("setup", "--memory", "1", answer="n\n").stdout
    assert not user_file.exists()
    shown = zoe("setup", "--memory", "1", "--yes").stdout
    assert "nothing for chat: the smallest model needs 2.8 GB" in shown
    assert [spec.name for spec in settings.load(user_file).specs()] == ["zoe-nano"]


def test_setup_never_edits_a_file_of_the_user(zoe: Zoe, models: Path, hub: LocalHub, tmp_path: Path) -> None:
    shown = zoe("setup", "--memory", "1.2", "--yes").stdout
    assert "exists and stays as it is" in shown
    assert '[models."mine"]' in shown
    assert (tmp_path / "zoe.toml").read_text(encoding="utf-8") == CONFIGURATION
    assert (models / "mine.gguf").exists()


def test_setup_writes_what_is_to_be_served(zoe: Zoe, models: Path, content: bytes, tmp_path: Path) -> None:
    models.mkdir()
    (models / "nomic-embed-text-v1.5.Q8_0.gguf").write_bytes(content)
    target = tmp_path / "new" / "zoe.toml"
    shown = zoe("setup", "--config", str(target), "--role", "embeddings", "--memory", "8", "--yes").stdout
    assert f"wrote {target}" in shown
    assert [spec.name for spec in settings.load(target).specs()] == ["nomic-embed-text-v1.5", "zoe-nano"]


def test_setup_counts_with_the_configured_budget_and_with_the_policy_s(
    zoe: Zoe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Hardware(Machine.CPU, "a board", 4, 8_000_000_000, 7_000_000_000)
    monkeypatch.setattr(sizing, "detect", lambda: machine)
    budget_bytes = recommend(machine).budget_bytes
    assert 5_000_000_000 < budget_bytes < 7_000_000_000
    assert f"of {budget_bytes / 1e9:.1f} GB" in zoe("setup", answer="n\n").stdout
    (tmp_path / "zoe.toml").write_text("server = { memory_budget_bytes = 3_000_000_000 }", encoding="utf-8")
    assert "of 3.0 GB" in zoe("setup", answer="n\n").stdout
    assert "of 2.0 GB" in zoe("setup", "--memory", "2", answer="n\n").stdout


def test_what_a_server_pulled_is_listed_examined_and_forgotten(zoe: Zoe, models: Path, content: bytes) -> None:
    models.mkdir()
    (models / "mine.gguf").write_bytes(content)
    assert [rows(zoe)[name]["served"] for name in ("zoe-nano", "mine")] == ["configured", None]
    roster = settings.load().store.pulled_models
    roster.add("mine")
    assert [rows(zoe)[name]["served"] for name in ("zoe-nano", "mine")] == ["configured", "pulled"]
    shown = zoe("models", "list").stdout
    assert "served: zoe-nano, mine (pulled through a server)\n" in shown
    assert [spec.name for spec in settings.load().specs()] == ["mine", "zoe-nano"]
    assert [finding.text for finding in check_pulled(settings.load())] == [
        f"mine: served because they were pulled through a server ({roster.path})"
    ]
    zoe("models", "rm", "old-mine", "--yes")
    assert [spec.name for spec in settings.load().specs()] == ["zoe-nano"]
    assert [path for path in models.rglob("*") if path.is_file()] == []


def test_a_pulled_model_that_is_gone_keeps_no_server_from_starting(zoe: Zoe, models: Path) -> None:
    settings.load().store.pulled_models.add("mine")
    chosen = settings.load()
    assert [spec.name for spec in chosen.specs()] == ["zoe-nano"]
    assert chosen.left_out() == [
        "mine was pulled, but its file is not here any more; pull it again, or forget it with `zoe models rm mine`"
    ]
    assert "nothing was deleted" in zoe("models", "rm", "mine", answer="n\n").stdout
    assert "forgot mine" in zoe("models", "rm", "mine", answer="y\n").stdout
    assert settings.load().left_out() == []


@pytest.mark.parametrize(
    ("table", "served", "why"),
    [
        ("[models.mine]", ["mine"], None),
        ("[models.old-mine]", ["old-mine"], None),
        ("[models.zoe-nano]", ["zoe-nano", "mine"], None),
        (
            "[models.zoe-nano]\naliases = ['mine']",
            ["zoe-nano"],
            "zoe.toml gives the name 'mine' to its model 'zoe-nano'",
        ),
    ],
)
def test_the_tables_of_zoe_toml_go_before_what_was_pulled(
    models: Path, content: bytes, tmp_path: Path, table: str, served: list[str], why: str | None
) -> None:
    models.mkdir()
    (models / "mine.gguf").write_bytes(content)
    (tmp_path / "zoe.toml").write_text(f"{CONFIGURATION}\n{table}", encoding="utf-8")
    chosen = settings.load()
    chosen.store.pulled_models.add("mine")
    assert [spec.name for spec in chosen.specs()] == served
    assert [why in text for text in chosen.left_out()] == ([True] if why else [])


def test_a_pulled_model_that_the_catalogue_does_not_know_any_more(models: Path, tmp_path: Path) -> None:
    settings.load().store.pulled_models.add("mine")
    (tmp_path / "zoe.toml").unlink()
    chosen = settings.load()
    assert [spec.name for spec in chosen.specs()] == ["zoe-nano"]
    assert "the catalogue has no model 'mine' any more" in chosen.left_out()[0]
