"""Prompts computed before there is a sentence: real server, real model, real Home Assistant, counted in tokens."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import yaml
from homeassistant.components import conversation
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.chat_session import async_get_chat_session

from tests.e2e.conftest import ENVIRONMENT, ROOT
from zoe_server.evaluation.__main__ import DEMO_HOME
from zoe_server.evaluation.core import home_assistant, load_home
from zoe_server.evaluation.judged_home import AGENT

ZOE = ROOT / "custom_components" / "zoe"
OVERHEAD_TOKENS = 8
"""What a chat template puts around a sentence."""
PATIENCE_S = 120


class Server:
    """Says what became of the requests that a server got."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def records(self) -> list[dict[str, Any]]:
        """The chat requests that are done, in the order in which they came."""
        async with self._session.get(f"{self._url}/admin/requests") as response:
            records = (await response.json())["requests"]
        done = [one for one in records if one["phase"] == "done" and one["path"] == "/v1/chat/completions"]
        return sorted(done, key=lambda record: record["began_at"])

    async def prepared(self, count: int, since: float = 0.0) -> None:
        """Wait until so many prompts were computed ahead, by requests that came since a moment."""
        async with asyncio.timeout(PATIENCE_S):
            while await self._n_prepared(since) < count:  # noqa: ASYNC110 (it happens in another process)
                await asyncio.sleep(0.2)

    async def _n_prepared(self, since: float) -> int:
        prepared = [one for one in await self.records() if one["rule"] == "preparation" and not one["error"]]
        return sum(one["began_at"] >= since for one in prepared)

    async def uncomputed(
        self, hass: HomeAssistant, sentence: str, conversation_id: str | None = None, device_id: str | None = None
    ) -> int:
        """Say a sentence; return how many tokens of its prompt were not computed yet, beside its own."""
        began_at = time.time()
        result = await conversation.async_converse(
            hass, sentence, conversation_id, Context(), "en", AGENT, device_id=device_id
        )
        assert result.response.as_dict()["response_type"] == "action_done"
        records = [one for one in await self.records() if one["began_at"] >= began_at and one["rule"] != "preparation"]
        uncomputed: int = records[0]["prompt_tokens"] - records[0]["cached_tokens"]
        return uncomputed - await self._tokens(sentence)

    async def _tokens(self, text: str) -> int:
        async with self._session.post(f"{self._url}/tokenize", json={"content": text}) as response:
            return len((await response.json())["tokens"])


@asynccontextmanager
async def talking_home(url: str) -> AsyncIterator[HomeAssistant]:
    """The demo home, with Zoe as its agent."""
    async with home_assistant({"zoe": ZOE}) as hass:
        await load_home(hass, yaml.safe_load(DEMO_HOME.read_text()))
        flow = await hass.config_entries.flow.async_init("zoe", context={"source": "user"})
        await hass.config_entries.flow.async_configure(flow["flow_id"], {"url": url})
        await hass.async_block_till_done()
        yield hass


def satellite(hass: HomeAssistant) -> str:
    """A device in the kitchen."""
    (entry,) = hass.config_entries.async_entries("virtual_home")
    kitchen = ar.async_get(hass).async_get_area_by_name("Kitchen")
    assert kitchen is not None
    devices = dr.async_get(hass)
    device = devices.async_get_or_create(config_entry_id=entry.entry_id, identifiers={("virtual_home", "satellite")})
    devices.async_update_device(device.id, area_id=kitchen.id)
    return device.id


async def test_of_a_prepared_sentence_nothing_but_the_sentence_is_left(server_url: str) -> None:
    async with aiohttp.ClientSession() as session, talking_home(server_url) as hass:
        server = Server(server_url, session)
        await server.prepared(1)
        assert await server.uncomputed(hass, "turn on the kitchen light", conversation_id="talk") <= OVERHEAD_TOKENS

        with async_get_chat_session(hass, "talk"):
            await conversation.async_prepare_agent(hass, AGENT, "en")
        assert await server.uncomputed(hass, "turn it off again", conversation_id="talk") <= OVERHEAD_TOKENS

        kitchen = satellite(hass)
        await server.uncomputed(hass, "turn on the light", device_id=kitchen)
        renamed_at = time.time()
        er.async_get(hass).async_update_entity("light.desk_lamp", name="Reading lamp")
        await server.prepared(2, since=renamed_at)
        assert await server.uncomputed(hass, "turn off the light", device_id=kitchen) <= OVERHEAD_TOKENS
        assert await server.uncomputed(hass, "turn on the reading lamp") <= OVERHEAD_TOKENS


REQUEST = """
import asyncio, hashlib, json, sys
from tests.e2e.test_prefill import AGENT, talking_home

async def main():
    async with talking_home(sys.argv[1]) as hass:
        agent = hass.data["conversation"].get_entity(AGENT).subentry.data
        upcoming = sys.modules["custom_components.zoe.upcoming"]
        speaker = sys.modules["custom_components.zoe.speaker"].Speaker("en")
        body = json.dumps(await upcoming.async_upcoming_request(hass, agent, speaker))
        print(len(body), hashlib.sha256(body.encode()).hexdigest())

asyncio.run(main())
"""


def test_a_restart_changes_no_byte(server_url: str) -> None:
    command = [sys.executable, "-c", REQUEST, server_url]
    runs = [
        subprocess.run(
            command,
            cwd=ROOT,
            env={**ENVIRONMENT, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert int(runs[0].stdout.split()[0]) > 5000
    assert runs[0].stdout == runs[1].stdout
