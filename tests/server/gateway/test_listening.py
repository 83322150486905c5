"""Where a real `zoe serve` listens: at one address or several, by IPv4 and IPv6."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import pytest

from tests.conformance.conftest import running
from zoe_server.settings import load

MODEL = '[models.m]\nengine = "scripted"\npath = "unused"\n'
KEY = {"X-Api-Key": "k-1"}

pytestmark = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize(
    "host",
    ['"::"', '["127.0.0.1", "::1"]', '["::", "0.0.0.0"]'],
)
async def test_both_families_are_answered(tmp_path: Path, host: str) -> None:
    (tmp_path / "unused").write_text("[]", encoding="utf-8")
    (tmp_path / "zoe.toml").write_text(f'[server]\nhost = {host}\napi_key = "k-1"\n{MODEL}', encoding="utf-8")
    with running(tmp_path / "zoe.toml", HOME=str(tmp_path), ZOE_SERVER__ANNOUNCE="false") as zoe:
        port = zoe.url.rpartition(":")[2]
        async with aiohttp.ClientSession(headers=KEY) as http:
            for address in ("127.0.0.1", "[::1]"):
                assert (await http.get(f"http://{address}:{port}/v1/models")).status == 200


def test_the_environment_may_name_one_address_or_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOE_SERVER__HOST", '["127.0.0.1", "0.0.0.0"]')
    chosen = load()
    assert chosen.server.hosts == ("127.0.0.1", "0.0.0.0")  # noqa: S104 - nothing listens there
    monkeypatch.setenv("ZOE_SERVER__HOST", "::1")
    assert load().server.hosts == ("::1",)
