"""A real `zoe serve` with real engines pulls a model, serves it, and still does after a restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.conformance.conftest import running
from tests.fixtures.random_gguf import write_random_gguf
from tests.server.catalogue.local_hub import LocalHub

BEGINNING_BYTES = 3 << 20
CONFIGURATION = """
[catalogue.talker]
roles = ["chat"]
context_tokens = 512
weights = { repository = "somebody/GGUF", file = "talker.gguf", size_bytes = 1_000_000 }
"""
WORDS = {"messages": [{"role": "user", "content": "What do you think of Mozart?"}], "max_tokens": 2}


async def _models(http: aiohttp.ClientSession, url: str) -> list[tuple[str, str]]:
    found = await (await http.get(f"{url}/admin/status")).json()
    return [(model["id"], model["status"]) for model in found["models"]]


async def _chat(http: aiohttp.ClientSession, url: str, **fields: object) -> str:
    answer = await (await http.post(f"{url}/v1/chat/completions", json={**WORDS, **fields})).json()
    model: str = answer["model"]
    return model


class EndlessHub(LocalHub):
    """Sends the beginning of a file, and then nothing more."""

    async def _send(self, request: web.Request, key: str, begin: int) -> web.StreamResponse:
        if request.method == "HEAD":
            return await super()._send(request, key, begin)
        response = web.StreamResponse(headers={**self._facts(key), "Content-Length": str(len(self.files[key]))})
        await response.prepare(request)
        await response.write(self.files[key][:BEGINNING_BYTES])
        await asyncio.Event().wait()
        return response


@pytest.mark.timeout(600)
async def test_a_server_that_stops_waits_for_no_download(tmp_path: Path) -> None:
    (tmp_path / "zoe.toml").write_text(CONFIGURATION, encoding="utf-8")
    models = tmp_path / "m"
    with EndlessHub(files={"somebody/GGUF/talker.gguf": bytes(2 * BEGINNING_BYTES)}) as hub:
        environment = {"HF_ENDPOINT": hub.url, "HOME": str(tmp_path), "ZOE_SERVER__MODELS_FOLDER": str(models)}
        async with aiohttp.ClientSession() as http:
            with running(tmp_path / "zoe.toml", **environment) as zoe:
                timeout = aiohttp.ClientTimeout(total=60)
                response = await http.post(f"{zoe.url}/api/pull", json={"model": "talker"}, timeout=timeout)
                while json.loads(await response.content.readline()).get("completed", 0) == 0:
                    pass
                zoe.terminate()
                assert "the server is stopping" in (await response.text()).splitlines()[-1]
                assert await asyncio.to_thread(zoe.process.wait, 60) == 0
                assert "Traceback" not in zoe.log()
    (part,) = (models / ".zoe").glob("*.part")
    assert part.stat().st_size > 0
    assert not (models / "talker.gguf").exists()


@pytest.mark.timeout(600)
async def test_pull_serve_restart(tmp_path: Path) -> None:
    config = tmp_path / "zoe.toml"
    config.write_text(CONFIGURATION, encoding="utf-8")
    content = write_random_gguf(tmp_path / "talker.gguf", merges=20).read_bytes()
    with LocalHub(files={"somebody/GGUF/talker.gguf": content}) as hub:
        environment = {"HF_ENDPOINT": hub.url, "HOME": str(tmp_path), "ZOE_SERVER__MODELS_FOLDER": str(tmp_path / "m")}
        async with aiohttp.ClientSession() as http:
            with running(config, **environment) as zoe:
                assert await _chat(http, zoe.url) == "zoe-nano"
                answer = await (await http.post(f"{zoe.url}/api/pull", json={"model": "talker"})).text()
                assert answer.splitlines()[-1] == '{"status":"success"}', answer
                assert await _models(http, zoe.url) == [("talker", "ready"), ("zoe-nano", "ready")]
                assert await _chat(http, zoe.url) == await _chat(http, zoe.url, model="talker") == "talker"
            hub.requests.clear()
            with running(config, **environment) as zoe:
                assert await _models(http, zoe.url) == [("talker", "ready"), ("zoe-nano", "ready")]
                assert await _chat(http, zoe.url) == "talker"
            assert hub.requests == []
