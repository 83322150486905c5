"""`zoe bench`, against servers over real HTTP: what is measured, and what a server that fails does to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from zoe_server.cli import app
from zoe_server.commands.bench import Household

HOUSEHOLD = Household.bundled()


class Server(ThreadingHTTPServer):
    """Calls the right tool for every order that it knows; with `fails`, it fails at every second request."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fails = fails
        self.n_asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        self._say({"data": [{"id": "played"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.n_asked += 1
        if self.server.fails and self.server.n_asked % 2 == 0 and len(body["messages"]) > 1:
            self._say({"error": {"message": "out of breath"}}, 503)
            return
        said = body["messages"][-1]["content"]
        known = next((one for one in HOUSEHOLD.sentences if one["say"] == said), {})
        delta: dict[str, Any] = {"content": "Hello"}
        if "tool" in known:
            function = {"name": known["tool"], "arguments": json.dumps(known["arguments"])}
            delta = {"tool_calls": [{"index": 0, "id": "c", "function": function}]}
        chunks = [{"choices": [{"delta": delta}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
        usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
        self._say("".join(f"data: {json.dumps(one)}\n\n" for one in (*chunks, usage)) + "data: [DONE]\n\n")

    def _say(self, value: object, status: int = 200) -> None:
        body = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(**options: bool) -> Server:
        running.append(Server(**options))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return running[-1]

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


def bench(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ("bench", *arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_two_servers_side_by_side(serve: Callable[..., Server], tmp_path: Path) -> None:
    one, other = serve(), serve(fails=True)
    picture = tmp_path / "first-token.svg"
    result = bench(one.url, other.url, "--json", "--plot", str(picture))
    found = json.loads(result.stdout)
    assert [(row["url"], row["at_once"]) for row in found] == [(u, n) for u in (one.url, other.url) for n in (1, 4, 8)]
    for row in found[:3]:
        assert (row["valid_calls_percent"], row["right_calls_percent"], row["failures"]) == (100.0, 100.0, [])
        assert 0 < row["first_token_p50_ms"] <= row["answer_p50_ms"]
        assert row["requests_per_s"] > 0
    assert any("out of breath" in failure for row in found[3:] for failure in row["failures"])
    assert "requests failed, such as" in result.stderr
    assert "<svg" in picture.read_text(encoding="utf-8")


def test_a_table_for_people(serve: Callable[..., Server]) -> None:
    said = bench(serve().url).stdout
    assert "first" in said
    assert said.count("100.0") == 6  # valid and right calls at each of three concurrencies


def test_what_is_no_server_is_one_clear_line() -> None:
    assert "no connection to http://127.0.0.1:9" in bench("http://127.0.0.1:9", code=1).output
    assert "must be the address of a server" in bench("nas", code=1).output


@pytest.mark.parametrize(
    ("name", "arguments", "valid"),
    [
        ("HassTurnOn", '{"name": "Kitchen light"}', True),
        ("HassTurnOn", '{"name": "kitchen LIGHT"}', True),
        ("HassTurnOn", '{"name": "Moon"}', False),
        ("HassTurnOn", '{"colour": "red"}', False),
        ("HassExplode", "{}", False),
        ("HassTurnOn", '{"name": ', False),
    ],
)
def test_valid_calls(name: str, arguments: str, valid: bool) -> None:
    assert HOUSEHOLD.is_valid(name, arguments) is valid
