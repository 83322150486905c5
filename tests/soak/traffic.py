"""Requests of every kind that reaches a server over HTTP, each made and judged by itself."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tests.conformance.mutation import Mutator

HANG_S = 600.0
CHAT = "/v1/chat/completions"
MAX_BODY_BYTES = 64 << 10
N_ENTRIES = 30
N_TOOLS = 60
N_HOMES = 3
LARGE_BODY_BYTES = 330_000
WORDS = ("kitchen", "lamp", "window", "heating", "garden", "music", "alarm", "cellar", "blue", "quietly", "never")
ROOMS = ("Kitchen", "Hall", "Attic", "Garden", "Cellar", "Office")


class Traffic:
    """Sends requests that `chance` chooses to the server at `url`."""

    def __init__(self, http: aiohttp.ClientSession, url: str, chance: random.Random) -> None:
        self._http = http
        self._url = url
        self._chance = chance
        self._kinds: tuple[tuple[int, Callable[[], Awaitable[None]]], ...] = (
            (3, self.short),
            (2, self.long),
            (3, self.streamed),
            (3, self.streamed_and_left),
            (2, self.left),
            (3, self.tool_call),
            (2, self.schema),
            (1, self.long_structure),
            (1, self.many_tools),
            (4, self.nearly_right),
            (1, self.too_long),
            (1, self.several),
        )

    async def one(self) -> str:
        """Send one request and return its kind."""
        weights = [weight for weight, _ in self._kinds]
        ((_, send),) = self._chance.choices(self._kinds, weights)
        await send()
        return send.__name__

    async def short(self) -> None:
        """A question of a few words."""
        await self._answered(self._ask(6, 16))

    async def long(self) -> None:
        """A prompt of some hundred tokens that nobody sent before."""
        await self._answered(self._ask(self._chance.randrange(100, 300), 40))

    async def streamed(self) -> None:
        """A stream that is read to its end."""
        async with self._post(CHAT, self._ask(10, 60, stream=True)) as response:
            assert (await response.text()).rstrip().endswith("data: [DONE]")

    async def streamed_and_left(self) -> None:
        """A stream that is read in part."""
        async with self._post(CHAT, self._ask(10, None, stream=True)) as response:
            for _ in range(self._chance.randrange(12)):
                await response.content.readline()
            response.close()

    async def left(self) -> None:
        """An answer that is not waited for."""
        try:
            async with asyncio.timeout(self._chance.random() * 0.3):
                await self._answered(self._ask(40, None))
        except TimeoutError:
            pass

    async def tool_call(self) -> None:
        """A call that has to be made, of tools that differ from request to request."""
        rooms = self._chance.sample(ROOMS, 3)
        schema = {"type": "object", "properties": {"room": {"enum": rooms}, "lit": {"type": "boolean"}}}
        function = {"name": f"light_{self._chance.randrange(1000)}", "parameters": {**schema, "required": ["room"]}}
        asked = self._ask(6, 100, tools=[{"type": "function", "function": function}], tool_choice="required")
        await self._answered({**asked, "parallel_tool_calls": False})

    async def schema(self) -> None:
        """An answer that has to be JSON of a schema nobody asked for before."""
        name = f"answer_{self._chance.randrange(10**6)}"
        schema = {"type": "object", "properties": {name: {"enum": self._chance.sample(ROOMS, 2)}}, "required": [name]}
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        await self._answered(self._ask(6, 60, response_format=wanted))

    async def long_structure(self) -> None:
        """A list of some hundred values of a schema, streamed to its end."""
        light = {"room": {"enum": list(ROOMS)}, "level": {"type": "integer", "minimum": 0, "maximum": 100}}
        entry = {"type": "object", "properties": light, "required": ["room", "level"], "additionalProperties": False}
        lights = {"type": "array", "items": entry, "minItems": N_ENTRIES, "maxItems": N_ENTRIES}
        schema = {"type": "object", "properties": {"lights": lights}, "required": ["lights"]}
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        said = ""
        async with self._post(CHAT, self._ask(6, 1200, response_format=wanted, stream=True)) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    said += json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"].get("content") or ""
        assert len(json.loads(said)["lights"]) == N_ENTRIES

    async def many_tools(self) -> None:
        """A call of one of the tools of a large home: 60 tools, more than 330 KB."""
        home = random.Random(self._chance.randrange(N_HOMES))
        tools = [_large_tool(home, index) for index in range(N_TOOLS)]
        body = self._ask(6, 100, tools=tools, tool_choice="required")
        assert len(json.dumps(body)) > LARGE_BODY_BYTES
        await self._answered({**body, "parallel_tool_calls": False})

    async def nearly_right(self) -> None:
        """A body that was changed a little: answered or refused.

        Those of megabytes are left out. A process keeps the room that it once needed to read one, so that they would
        look like a leak where they come late, and hide one where they come early.
        """
        path, raw = Mutator(f"soak:{self._chance.random()}").body()
        while len(raw) > MAX_BODY_BYTES:
            path, raw = Mutator(f"soak:{self._chance.random()}").body()
        async with self._http.post(self._url + path, data=io.BytesIO(raw)) as response:
            await response.read()
            assert response.status < 500, raw[:500]

    async def too_long(self) -> None:
        """A prompt that no context holds."""
        async with self._http.post(self._url + CHAT, json=self._ask(6000, 8)) as response:
            assert (await response.json())["error"]["code"] == "context_length_exceeded"

    async def several(self) -> None:
        """Several prompts in one request, with probabilities."""
        texts = [" ".join(self._chance.choices(WORDS, k=5)) for _ in range(3)]
        async with self._post("/v1/completions", {"prompt": texts, "max_tokens": 12, "logprobs": 3}) as response:
            assert len((await response.json())["choices"]) == 3

    def _ask(self, n_words: int, max_tokens: int | None, **fields: object) -> dict[str, Any]:
        text = " ".join(self._chance.choices(WORDS, k=n_words))
        return {"messages": [{"role": "user", "content": text}], "max_tokens": max_tokens, **fields}

    def _post(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - aiohttp's context manager
        return self._http.post(self._url + path, json=body, raise_for_status=True)

    async def _answered(self, body: dict[str, Any]) -> None:
        async with self._post(CHAT, body) as response:
            assert json.loads(await response.read())["choices"][0]["finish_reason"]


def _large_tool(chance: random.Random, index: int) -> dict[str, Any]:
    names = [f"{' '.join(chance.choices(WORDS, k=3))} {number}" for number in range(180)]
    properties = {
        "name": {"type": "string", "enum": names, "description": "What it is called. " * 40},
        "room": {"type": "array", "items": {"enum": list(ROOMS)}, "maxItems": 3},
        "level": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 100}, {"enum": ["low", "high"]}]},
    }
    parameters = {"type": "object", "properties": properties, "required": ["name"]}
    function = {"name": f"tool_{index}", "description": "Does a thing. " * 30, "parameters": parameters}
    return {"type": "function", "function": function}
