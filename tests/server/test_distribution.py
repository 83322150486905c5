"""What `pip install` brings: the server in one wheel, evaluation and training in wheels of their own."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import zoe_server

SERVER = Path(zoe_server.__file__).parent
ROOT = SERVER.parents[1]


def wheel(project: Path, folder: Path) -> zipfile.ZipFile:
    """Return the wheel of the distribution in `project`, built by its own build backend into `folder`."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    (path,) = folder.glob(f"{project.name if project != ROOT else 'zoe_server'}-*.whl")
    return zipfile.ZipFile(path)


def contents(archive: zipfile.ZipFile) -> set[str]:
    return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_servers_wheel_is_the_server_and_nothing_else(tmp_path: Path) -> None:
    with wheel(ROOT, tmp_path) as archive:
        shipped = contents(archive)
    assert {name.partition("/")[0] for name in shipped} == {"zoe_server"}
    assert {"zoe_server/catalogue/zoe-nano.gguf", "zoe_server/routing/intent.bin", "zoe_server/py.typed"} <= shipped
    assert not [name for name in shipped if {"training", "evaluation"} & set(Path(name).parts) or "random_" in name]


def test_the_server_starts_in_an_empty_folder(tmp_path: Path) -> None:
    with wheel(ROOT, tmp_path) as archive:
        archive.extractall(tmp_path / "installed")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1));"
        "import importlib.util, zoe_server.cli;"
        "print(zoe_server.__file__, importlib.util.find_spec('tests')); zoe_server.cli.app()"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-I", "-c", code, str(tmp_path / "installed"), "serve", "--help"]
    run = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=True)
    assert run.stdout.startswith(f"{tmp_path / 'installed' / 'zoe_server' / '__init__.py'} None\n")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("zoe_eval", ["homes/demo.yaml", "virtual_home/manifest.json"]),
        ("zoe_train", ["phrases.yaml", "zoe_nano.jinja", "sayings/en.txt", "small_talk/en.txt"]),
    ],
)
def test_evaluation_and_training_are_wheels_of_their_own(name: str, data: list[str], tmp_path: Path) -> None:
    with wheel(SERVER.with_name(name), tmp_path) as archive:
        shipped = contents(archive)
    assert {f"{name}/{part}" for part in ("__init__.py", *data)} <= shipped
    assert {part.partition("/")[0] for part in shipped} == {name}
    assert f"{name}/pyproject.toml" not in shipped


def test_every_shipped_file_is_valid_for_python_3_11() -> None:
    for path in SERVER.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 11))


@pytest.mark.skipif(not shutil.which("python3.11"), reason="there is no Python 3.11 on this machine")
def test_python_3_11_itself_compiles_every_shipped_file() -> None:
    code = "import pathlib, sys; [compile(p.read_bytes(), p, 'exec') for p in pathlib.Path(sys.argv[1]).rglob('*.py')]"
    subprocess.run(["python3.11", "-c", code, str(SERVER)], check=True)
