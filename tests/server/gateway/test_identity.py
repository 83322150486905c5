"""The server's id: made once, kept, and none rather than one that changes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from zoe_server.gateway.server import server_id

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.gateway.conftest import Start


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "server-id"
    made = server_id(path)
    assert made is not None
    assert len(made) == 32
    assert server_id(path) == made
    assert [file.name for file in path.parent.iterdir()] == ["server-id"]
    assert server_id(tmp_path / "other") != made


@pytest.mark.parametrize("content", [b"", b"half of an i", b"\xff" * 32, b"A" * 32])
def test_a_damaged_one_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "server-id"
    path.write_bytes(content)
    made = server_id(path)
    assert made is not None
    assert path.read_text(encoding="ascii").strip() == made


def test_where_it_cannot_be_kept_there_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert server_id(tmp_path / "file" / "server-id") is None
    assert "make the folder writable" in caplog.text


async def test_health_tells_it_to_everybody(start: Start) -> None:
    gateway = await start(api_key="k-1")
    gateway.state.server_id = "abc"
    body = await (await gateway.client.get("/health")).json()
    assert (body["id"], body["api_version"]) == ("abc", 1)
