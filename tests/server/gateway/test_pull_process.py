"""A real `zoe serve` with real engines pulls a model, serves it, and still does after a restart."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.conformance.conftest import running
from tests.server.catalogue.local_hub import LocalHub
from zoe_server.training.random_gguf import write_random_gguf

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


@pytest.mark.timeout(600)
async def test_pull_serve_restart(tmp_path: Path) -> None:
    config = tmp_path / "zoe.toml"
    config.write_text(CONFIGURATION, encoding="utf-8")  # noqa: ASYNC240 - nothing else runs yet
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
