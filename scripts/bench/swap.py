"""Two models of which the memory holds one: how long a request waits for the other one, through a whole server.

Models of 180 M parameters take turns. What is timed is what the fleet does for a request to the one that is not in
memory: the other one is stopped and its memory comes back, the wanted one is started, loaded and warmed up, and says
its first token. The server is told to take the other one out, so that nobody has to wait for the time that it may stay.
Baseline: the same request to a model that is in memory.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.client import Client
from bench.figure import Figure
from bench.models import random_model
from bench.servers import running

NAME = "swap"
TITLE = "a model that is not in memory takes the place of one that is, 180 M parameters Q8_0 each"
N_ROUNDS = 5
N_UNITS = 2 * N_ROUNDS
PARAMETERS = 180_000_000
NAMES = ("first", "second")
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class TwoModels:
    """`zoe serve` with one model under two names, and memory for one of them."""

    model: Path

    def command(self, port: int, folder: Path) -> list[str]:
        """Return the command; its configuration is written into `folder`."""
        table = f"path = '{self.model}'\ncontext_tokens = 1024\nload = 'demand'\n"
        budget_bytes = int(self.model.stat().st_size * 1.5) + (300 << 20)
        config = folder / "zoe.toml"
        config.write_text(
            f"[server]\nport = {port}\nsaved_prefix_bytes = 0\nmemory_budget_bytes = {budget_bytes}\n"
            + "".join(f"[models.{name}]\n{table}" for name in NAMES),
            encoding="utf-8",
        )
        return [sys.executable, "-m", "zoe_server.cli", "serve", "--config", str(config)]


async def ask_s(client: Client, model: str) -> float:
    """Return how long a request of one token to `model` takes."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
    began_s = time.perf_counter()
    async with client.http.post(f"{client.url}/v1/chat/completions", json=body) as response:
        await response.read()
        response.raise_for_status()
    return time.perf_counter() - began_s


async def swap_s(client: Client, leaving: str, coming: str) -> float:
    """Return how long it takes until `coming` has answered in the place of `leaving`."""
    began_s = time.perf_counter()
    async with client.http.post(f"{client.url}/admin/models/{leaving}/unload") as response:
        response.raise_for_status()
    await ask_s(client, coming)
    return time.perf_counter() - began_s


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called after every request."""
    swaps_s, plain_s = [], []
    leaving, coming = NAMES
    async with running(TwoModels(random_model(PARAMETERS, 8192))) as client:
        await ask_s(client, leaving)
        for _ in range(N_ROUNDS):
            swaps_s.append(await swap_s(client, leaving, coming))
            advance(1)
            plain_s.append(await ask_s(client, coming))
            advance(1)
            leaving, coming = coming, leaving
    return [Figure("swap and first token", statistics.median(swaps_s), "s", statistics.median(plain_s))]
