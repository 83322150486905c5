"""Lines 35 to 37 of the behaviours: the key, what may be listened on without one, and web pages."""

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

    from tests.conformance.conftest import Client


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
            assert set(await health.json()) == {"status", "server", "name", "version", "api_version", "id"}


@pytest.mark.zoe_only("how it is started")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.7.7"])  # noqa: S104 - this is what is refused
def test_36_others_are_not_served_without_a_key(config: Path, host: str) -> None:
    source = os.pathsep.join((str(Path(zoe_server.__file__).parents[1]), str(Path(__file__).parents[2])))
    environment = {key: value for key, value in os.environ.items() if key != "ZOE_API_KEY"} | {"PYTHONPATH": source}
    command = [sys.executable, "-m", "tests.fixtures.scripted_cli", "serve", "--config", str(config), "--host", host]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert run.returncode == 1
    assert "ZOE_API_KEY" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost.evil.example", "http://localhost:1", "null", "file://"]
)
async def test_37_web_pages_are_refused(client: Client, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    for response in (
        await client.http.post(f"{client.url}/v1/chat/completions", json=body, headers={"Origin": origin}),
        await client.http.get(f"{client.url}/v1/models", headers={"Origin": origin}),
        await client.http.options(f"{client.url}/v1/chat/completions", headers=asked),
    ):
        assert response.status == 403
        assert {"message", "type", "param", "code"} <= set((await response.json())["error"])
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_37_those_that_are_allowed_by_name_pass(
    serve: Callable[..., Any], config: Path, http: aiohttp.ClientSession
) -> None:
    page = "https://home.example:8123"
    with serve(config, ZOE_SERVER__ALLOWED_ORIGINS=f'["{page}"]') as process:
        own_page = process.url
        for origin, status in ((page, 200), (own_page, 200), ("https://home.example", 403)):
            async with http.get(f"{process.url}/v1/models", headers={"Origin": origin}) as response:
                assert response.status == status
                assert response.headers.get("Access-Control-Allow-Origin") == (page if origin == page else None)
        asked = {"Origin": page, "Access-Control-Request-Method": "POST"}
        async with http.options(f"{process.url}/v1/chat/completions", headers=asked) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, page)
