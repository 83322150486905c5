"""Home Assistant's app, with the real server in it: what the Supervisor is told, where things are kept, how it ends."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app" / "zoe"
CONFIG = yaml.safe_load((APP / "config.yaml").read_text(encoding="utf-8"))
Start = Callable[..., "App"]


class Supervisor(ThreadingHTTPServer):
    """Takes what it is told, each with the key that came with it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: queue.Queue[tuple[str, str | None, dict[str, Any]]] = queue.Queue()


class _Handler(BaseHTTPRequestHandler):
    server: Supervisor

    def log_message(self, *_: object) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.put((self.path, self.headers["Authorization"], body))
        self.send_response(200)
        self.end_headers()


class App:
    """A running app whose folders are below `root`."""

    def __init__(self, root: Path, supervisor: Supervisor, options: dict[str, Any]) -> None:
        (root / "data").mkdir(exist_ok=True)
        (root / "data" / "options.json").write_text(json.dumps(options), encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ZOE_APP_ROOT": str(root),
            "ZOE_APP_SUPERVISOR": f"http://127.0.0.1:{supervisor.server_address[1]}",
            "ZOE_SERVER__PORT": str(self.port),
            "ZOE_SERVER__ANNOUNCE": "false",
            "SUPERVISOR_TOKEN": "token",
        }
        self.process = subprocess.Popen([sys.executable, str(APP / "run")], env=environment)

    def health(self) -> dict[str, Any]:
        """Return who the server is, ready or not."""
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def status(self, key: str) -> dict[str, Any]:
        """Ask the server as Home Assistant does."""
        url = f"http://127.0.0.1:{self.port}/admin/status"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- one that we have made
            found: dict[str, Any] = json.load(answer)
            return found


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def start(tmp_path: Path, supervisor: Supervisor) -> Iterator[Start]:
    running: list[App] = []

    def app(**options: Any) -> App:  # noqa: ANN401 -- any option
        running.append(App(tmp_path, supervisor, options))
        return running[-1]

    yield app
    for one in running:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(60)


def test_home_assistant_is_told_where_the_server_is(start: Start, supervisor: Supervisor, tmp_path: Path) -> None:
    app = start()
    path, authorization, body = supervisor.told.get(timeout=60)
    assert (path, authorization, body["service"]) == ("/discovery", "Bearer token", "zoe")
    config = body["config"]
    assert (config["host"], config["port"]) == (socket.gethostname(), app.port)
    assert app.status(config["api_key"])["models"][0]["id"] == "zoe-nano"
    assert (tmp_path / "data" / "api_key").stat().st_mode & 0o777 == 0o600
    assert app.health()["id"] == config["id"]
    app.process.send_signal(signal.SIGTERM)
    assert app.process.wait(60) == 0


def test_server_and_key_stay_the_same(start: Start, supervisor: Supervisor) -> None:
    told = []
    for _ in range(2):
        app = start()
        told.append(supervisor.told.get(timeout=60)[2]["config"])
        app.process.terminate()
        app.process.wait(60)
    assert told[0]["api_key"] == told[1]["api_key"]
    assert told[0]["id"] == told[1]["id"]


def test_options_and_configuration(start: Start, supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    table = "[models.zoe-nano]\naliases = ['mine']\n[models.far]\nengine = 'openai'\nurl = 'http://127.0.0.1:9'\n"
    (tmp_path / "config" / "zoe.toml").write_text(table, encoding="utf-8")
    app = start(api_key="chosen", provider="openai")
    assert supervisor.told.get(timeout=60)[2]["config"]["api_key"] == "chosen"
    assert {model["id"] for model in app.status("chosen")["models"]} == {"zoe-nano", "far"}
    assert not (tmp_path / "data" / "api_key").exists()
    assert (tmp_path / "share" / "zoe" / "models").is_dir()


def test_what_the_supervisor_reads() -> None:
    """The keys and values that Home Assistant's developer documentation gives for an app's `config.yaml`."""
    assert CONFIG["arch"] == ["amd64", "aarch64"]
    assert CONFIG["ingress_port"] == 11434
    assert CONFIG["discovery"] == ["zoe"]
    assert set(CONFIG["options"]) <= set(CONFIG["schema"])
    manifest = json.loads((ROOT / "custom_components" / "zoe" / "manifest.json").read_text(encoding="utf-8"))
    assert (CONFIG["version"], CONFIG["url"]) == (manifest["version"], manifest["documentation"])
    assert yaml.safe_load((ROOT / "repository.yaml").read_text(encoding="utf-8")).keys() == {
        "name",
        "url",
        "maintainer",
    }


def test_every_option_is_explained_in_every_language() -> None:
    languages = {path.stem for path in (ROOT / "custom_components" / "zoe" / "translations").glob("*.json")}
    assert {path.stem for path in (APP / "translations").glob("*.yaml")} == languages
    for path in (APP / "translations").glob("*.yaml"):
        texts = yaml.safe_load(path.read_text(encoding="utf-8"))["configuration"]
        assert texts.keys() == CONFIG["schema"].keys()
        assert all(text["name"] and text["description"] for text in texts.values())
