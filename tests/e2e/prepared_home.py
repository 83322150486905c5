"""Says sentences to a home whose prompts were computed before: `python -m tests.e2e.prepared_home URL`.

Prints how many tokens of each sentence's prompt were left to compute, beside those of the sentence, and what the
request was that computed the first prompt. A process of its own, as Home Assistant wants it.
"""

import asyncio
import hashlib
import json
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

from tests.e2e.conftest import ROOT
from zoe_eval.__main__ import DEMO_HOME
from zoe_eval.core import home_assistant, load_home
from zoe_eval.judged_home import AGENT, connect

ZOE = ROOT / "custom_components" / "zoe"
PATIENCE_S = 120


class Server:
    """Says what became of the requests that a server got."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def records(self, since: float) -> list[dict[str, Any]]:
        """The chat requests that came since a moment and are done, in the order in which they came."""
        async with self._session.get(f"{self._url}/admin/requests") as response:
            records = (await response.json())["requests"]
        chats = [one for one in records if one["path"] == "/v1/chat/completions" and one["began_at"] >= since]
        return sorted(chats, key=lambda record: record["began_at"])

    async def done(self, count: int, since: float = 0.0, *, prepared: bool) -> list[dict[str, Any]]:
        """Wait until so many prompts were computed ahead, or so many sentences answered, since a moment."""
        async with asyncio.timeout(PATIENCE_S):
            while True:  # what is waited for happens in another process
                records = [one for one in await self.records(since) if (one["rule"] == "preparation") is prepared]
                if sum(one["prompt_tokens"] > 0 and not (prepared and one["error"]) for one in records) >= count:
                    return records
                await asyncio.sleep(0.2)

    async def uncomputed(
        self, hass: HomeAssistant, sentence: str, conversation_id: str | None = None, device_id: str | None = None
    ) -> int:
        """Say a sentence; return how many tokens of its prompt were not computed yet, beside its own."""
        began_at = time.time()
        result = await conversation.async_converse(
            hass, sentence, conversation_id, Context(), "en", AGENT, device_id=device_id
        )
        assert result.response.as_dict()["response_type"] == "action_done", result.response.speech
        first, *_ = await self.done(1, began_at, prepared=False)
        uncomputed: int = first["prompt_tokens"] - first["cached_tokens"]
        return uncomputed - await self._tokens(sentence)

    async def _tokens(self, text: str) -> int:
        async with self._session.post(f"{self._url}/tokenize", json={"content": text}) as response:
            return len((await response.json())["tokens"])


@asynccontextmanager
async def talking_home(url: str) -> AsyncIterator[HomeAssistant]:
    """The demo home, with Zoe as its agent."""
    async with home_assistant({"zoe": ZOE}) as hass:
        await load_home(hass, yaml.safe_load(DEMO_HOME.read_text()))
        entry = await connect(hass, url)
        (agent,) = entry.get_subentries_of_type("conversation")
        # A model that says nothing of use says it at length.
        hass.config_entries.async_update_subentry(entry, agent, data={**agent.data, "max_tokens": 64})
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


async def request_digest(hass: HomeAssistant) -> list[Any]:
    """How long the request is that computes the prompt of a sentence without a device, and its digest."""
    upcoming = sys.modules["custom_components.zoe.prefill"]
    speaker = sys.modules["custom_components.zoe.speaker"].Speaker("en")
    agent = hass.data["conversation"].get_entity(AGENT).subentry.data
    body = json.dumps(await upcoming.async_upcoming_request(hass, agent, speaker)).encode()
    return [len(body), hashlib.sha256(body).hexdigest()]


async def main(url: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    async with aiohttp.ClientSession() as session, talking_home(url) as hass:
        server = Server(url, session)
        told["request"] = await request_digest(hass)
        await server.done(2, prepared=True)  # the first is the dialog's, which counts its tokens
        told["after the start"] = await server.uncomputed(hass, "turn on the kitchen light", "talk")

        with async_get_chat_session(hass, "talk"):
            await conversation.async_prepare_agent(hass, AGENT, "en")
        told["in a conversation"] = await server.uncomputed(hass, "turn off the kitchen light", "talk")

        kitchen = satellite(hass)
        told["new satellite, unprepared"] = await server.uncomputed(hass, "turn on the light", device_id=kitchen)
        renamed_at = time.time()
        er.async_get(hass).async_update_entity("light.desk_lamp", name="Reading lamp")
        await server.done(2, renamed_at, prepared=True)
        told["satellite, after a change"] = await server.uncomputed(hass, "turn off the light", device_id=kitchen)
        told["no satellite, after a change"] = await server.uncomputed(hass, "turn on the reading lamp")
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1]))))
