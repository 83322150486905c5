"""A client of one server under test: streams an answer and notes when what came."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """When the first and the last piece of text came (seconds after `began_s`), and the token counts."""

    first_token_s: float
    last_token_s: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int

    @property
    def uncached_tokens(self) -> int:
        """Prompt tokens that were computed for this answer."""
        return self.prompt_tokens - self.cached_tokens


def ignore(_: int) -> None:
    """Take no note of progress."""


@dataclass(frozen=True, slots=True)
class Client:
    """Talks to the server at `url`."""

    url: str
    http: aiohttp.ClientSession

    async def is_ready(self) -> bool:
        """Return whether the server answers and has loaded its model."""
        try:
            async with self.http.get(f"{self.url}/health") as response:
                return response.status == 200  # noqa: PLR2004
        except aiohttp.ClientConnectionError:
            return False

    async def chat(
        self, messages: list[dict[str, str]], max_tokens: int, began_s: float | None = None, advance: Advance = ignore
    ) -> Answer:
        """Return how a chat is answered; `advance` is called for every piece of text.

        Raises:
            RuntimeError: the server answered with an error.
        """
        body = {"model": "bench", "messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True,
                "stream_options": {"include_usage": True}}  # fmt: skip
        return await self._stream("/v1/chat/completions", body, began_s or time.perf_counter(), advance)

    async def _stream(self, path: str, body: dict[str, Any], began_s: float, advance: Advance) -> Answer:
        first_s = last_s = None
        usage: dict[str, Any] = {}
        async with self.http.post(self.url + path, json=body) as response:
            if response.status != 200:  # noqa: PLR2004
                raise RuntimeError(f"{self.url}: {response.status} {await response.text()}")
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line.removeprefix(b"data: "))
                if "error" in chunk:
                    raise RuntimeError(f"{self.url}: {chunk['error']}")
                usage = chunk.get("usage") or usage
                if any(choice["delta"].get("content") for choice in chunk["choices"]):
                    last_s = time.perf_counter() - began_s
                    first_s = first_s or last_s
                    advance(1)
        ended_s = time.perf_counter() - began_s
        details = usage.get("prompt_tokens_details") or {}
        return Answer(
            ended_s if first_s is None else first_s,
            ended_s if last_s is None else last_s,
            usage["prompt_tokens"],
            details.get("cached_tokens", 0),
            usage["completion_tokens"],
        )
