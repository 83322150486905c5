"""What runs in containers, as far as it goes without a container engine: scripts, compose files, what they promise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from zoe_server import settings

DOCKER = Path(__file__).resolve().parents[2] / "docker"
COMPOSE = sorted(DOCKER.glob("compose.*.yaml"))
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def entrypoint(tmp_path: Path) -> Run:
    """Run the entrypoint with a `zoe` that prints what it is asked for; its folders are below `tmp_path`."""
    (tmp_path / "data").mkdir()
    (tmp_path / "config").mkdir()
    script = (DOCKER / "entrypoint").read_text(encoding="utf-8")
    for folder in ("/data", "/config"):
        script = script.replace(folder, str(tmp_path) + folder)
    (tmp_path / "entrypoint").write_text(script, encoding="utf-8")
    zoe = tmp_path / "bin" / "zoe"
    zoe.parent.mkdir()
    zoe.write_text('#!/bin/sh\necho "zoe $*"\n[ "$1" != doctor ] || exit "${DOCTOR_CODE:-0}"\n', encoding="utf-8")
    zoe.chmod(0o755)

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{zoe.parent}:/usr/bin:/bin", **variables}
        command = ["/bin/sh", str(tmp_path / "entrypoint"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_without_a_key_it_does_not_start(entrypoint: Run) -> None:
    done = entrypoint("serve")
    assert done.returncode == 64
    assert "Set one: ZOE_API_KEY=" in done.stderr
    assert not done.stdout


def test_it_serves_what_is_configured(entrypoint: Run, tmp_path: Path) -> None:
    assert entrypoint("serve", ZOE_API_KEY="k").stdout == "zoe doctor\nzoe serve --host 0.0.0.0\n"
    (tmp_path / "data" / "zoe.toml").touch()
    own = f"--config {tmp_path}/data/zoe.toml"
    assert entrypoint(ZOE_API_KEY="k", ZOE_DOCTOR="0").stdout == f"zoe serve --host 0.0.0.0 {own}\n"
    (tmp_path / "config" / "zoe.toml").touch()
    given = f"--config {tmp_path}/config/zoe.toml"
    assert f"serve --host 0.0.0.0 {given} --port 1\n" in entrypoint("serve", "--port", "1", ZOE_API_KEY="k").stdout


def test_what_the_doctor_finds_is_no_reason_not_to_serve(entrypoint: Run) -> None:
    done = entrypoint("serve", ZOE_API_KEY="k", DOCTOR_CODE="1")
    assert done.stdout.endswith("zoe serve --host 0.0.0.0\n")
    assert "the doctor found problems" in done.stderr


def test_any_other_command_is_one_of_zoe(entrypoint: Run) -> None:
    assert entrypoint("models", "pull", "llama-3.2-3b").stdout == "zoe models pull llama-3.2-3b\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written_is_told(entrypoint: Run, tmp_path: Path) -> None:
    (tmp_path / "data").chmod(0o500)
    done = entrypoint("serve", ZOE_API_KEY="k")
    assert done.returncode == 73
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, {"status": "ok"}, 0),
        (503, {"status": "loading", "error": {"message": "x"}}, 0),
        (503, {"status": "failed", "error": {"message": "no memory"}}, 1),
    ],
)
def test_health(status: int, body: dict[str, Any], code: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        done = healthy(server.server_address[1])
        server.shutdown()
    assert done.returncode == code, done.stderr
    assert ("no memory" in done.stderr) == (code == 1)


def test_a_server_that_is_not_there_is_not_healthy() -> None:
    assert "does not answer" in healthy(9).stderr


def healthy(port: int) -> subprocess.CompletedProcess[str]:
    environment = {"ZOE_SERVER__PORT": str(port), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(DOCKER / "healthy")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("backend", "arch", "said"),
    [
        ("cpu", "amd64", "-DGGML_AVX2=ON"),
        ("cpu", "arm64", "armv8-a"),
        ("cuda", "amd64", "-DGGML_CUDA=ON"),
        ("jetson", "arm64", "CUDA_ARCHITECTURES=87"),
        ("jetson", "amd64", "a Jetson is arm64"),
        ("cpu", "riscv64", "there is no image for riscv64"),
        ("abacus", "amd64", "there is no image 'abacus'"),
    ],
)
def test_build_options(backend: str, arch: str, said: str) -> None:
    done = subprocess.run([str(DOCKER / "cmake-args"), backend, arch], capture_output=True, text=True, check=False)
    assert said in (done.stdout or done.stderr)
    assert (done.returncode == 0) == said.startswith(("-", "arm", "CUDA"))
    if done.returncode == 0:
        assert "-DGGML_NATIVE=OFF" in done.stdout  # an image runs elsewhere than it is built


def services(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
    return found


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_every_service_is_bounded(path: Path) -> None:
    for name, service in services(path).items():
        assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory"}, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert not service.get("privileged"), name


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_our_own_containers_can_do_little_and_want_a_key(path: Path) -> None:
    for name, service in services(path).items():
        if "build" not in service:
            continue
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "set ZOE_API_KEY in .env" in service["environment"]["ZOE_API_KEY"], name
        assert (path.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_what_is_mounted_from_here_exists(path: Path) -> None:
    for service in services(path).values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0].removeprefix("${ZOE_CONFIG:-").removesuffix("}")
            source = "./config" if volume.startswith("${") else source
            if source.startswith("."):
                assert (path.parent / source).exists(), volume


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker command")
def test_compose_takes_it(path: Path) -> None:
    known = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if known.returncode != 0:
        pytest.skip("docker has no compose")
    environment = {**os.environ, "ZOE_API_KEY": "k", "GRAFANA_PASSWORD": "p"}
    command = ["docker", "compose", "-f", str(path), "config", "--quiet"]
    if path.name == "compose.monitoring.yaml":
        command[2:2] = ["-f", str(path.parent / "compose.cpu.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted(DOCKER.glob("config*/zoe.toml")), ids=lambda path: path.parent.name)
def test_configurations_are_good(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "models.home" in path.read_text(encoding="utf-8"):
        monkeypatch.setenv("ZOE_MODELS__HOME__KEY", "secret")
    chosen = settings.load(path)
    assert chosen.specs()
    home = chosen.models.get("home")
    if home is not None:
        assert home.api_key is not None
        assert home.api_key.get_secret_value() == "secret"
