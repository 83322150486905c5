"""Lines 35 and 36 of the behaviours: the key, and what may be listened on without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import zoe_server

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "script.json").write_text('[{"events": [{"event": "text", "text": "Hi"}]}]', encoding="utf-8")
    path = tmp_path / "zoe.toml"
    path.write_text("[models.s]\nengine = 'scripted'\npath = 'script.json'", encoding="utf-8")
    return path


async def test_35_the_key_protects_everything_but_health(
    serve: Callable[..., Any], config: Path, http: aiohttp.ClientSession
) -> None:
    with serve(config, "--host", "0.0.0.0", ZOE_API_KEY="a key") as process:  # noqa: S104 - with a key it may
        url = process.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        body = {"messages": [{"role": "user", "content": "x"}]}
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer other"}, 401),
            ({"Authorization": "Bearer a key"}, 200),
            ({"X-Api-Key": "a key"}, 200),
        ):
            for response in (
                await http.get(f"{url}/v1/models", headers=headers),
                await http.post(f"{url}/v1/chat/completions", json=body, headers=headers),
            ):
                answer = await response.json()
                assert response.status == status
                assert status == 200 or answer["error"]["type"] == "authentication_error"
        async with http.get(f"{url}/health") as health:
            assert health.status == 200
            assert set(await health.json()) == {"status", "server", "name", "version"}


@pytest.mark.zoe_only("how it is started")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.7.7"])  # noqa: S104 - this is what is refused
def test_36_others_are_not_served_without_a_key(config: Path, host: str) -> None:
    source = str(Path(zoe_server.__file__).parents[1])
    environment = {key: value for key, value in os.environ.items() if key != "ZOE_API_KEY"} | {"PYTHONPATH": source}
    command = [sys.executable, "-m", "zoe_server.cli", "serve", "--config", str(config), "--host", host]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert run.returncode == 1
    assert "ZOE_API_KEY" in run.stderr
    assert "Traceback" not in run.stderr
