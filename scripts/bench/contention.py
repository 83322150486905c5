"""What a process that keeps one core busy costs the others: decoding, and the time from an order to the tool call.

Rounds with and without that process take turns, each of which begins with a request that does not count. Baseline: the
same without it. Llama-server is measured beside, with the same number of threads, which it never changes.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from real_models import path_of

from bench.client import Advance, Client
from bench.constraints import sentences
from bench.figure import Figure, Target
from bench.models import random_model
from bench.servers import LlamaServer, Load, Server, ZoeServer, build_peer, running
from bench.single_stream import decode_tokens_per_s, story_tokens_per_s
from zoe_server.catalogue.spec import bundled_model_path
from zoe_server.llama.config import physical_cores

NAME = "contention"
TITLE = "with one core kept busy by another process"
REAL_MODEL = "smollm2-135m"
PARAMETERS = 135_000_000
N_CTX_TOKENS = 4096
N_ROUNDS = 5
N_DECODES = 3
N_ORDERS = 20
N_UNITS = 2 * N_ROUNDS * (2 * N_DECODES + N_ORDERS)
MIN_DECODE = 0.6
MAX_ORDER = 2.0
Measure = Callable[[Client, int], Awaitable[float]]


@dataclass(slots=True)
class Found:
    """What was measured without and with a busy core."""

    idle: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy, as far as others leave it."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def in_turns(server: Server, measure: Measure, n_each: int, advance: Advance) -> Found:
    """Measure `n_each` times in every round without, and as often with a busy core."""
    found = Found()

    async def one_round(seed: int) -> list[float]:
        await measure(client, seed)
        numbers = [await measure(client, seed + 1 + index) for index in range(n_each)]
        advance(n_each)
        return numbers

    async with running(server) as client:
        await measure(client, 0)
        for index in range(N_ROUNDS):
            found.idle += await one_round(100 * index)
            with busy_core():
                found.busy += await one_round(100 * index + 50)
    return found


async def orders() -> list[bytes]:
    """Return orders to one home as bodies of requests."""
    requests = (await sentences())[: N_ORDERS + 1]
    return [
        json.dumps(
            {
                "model": "bench",
                "messages": request.messages,
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": one.name, "description": one.description, "parameters": one.parameters},
                    }
                    for one in request.tools
                ],
                "max_tokens": request.max_tokens,
                "temperature": 0,
            }
        ).encode()
        for request in requests
    ]


def order_s(bodies: list[bytes]) -> Measure:
    """Return what measures how long an order takes until its tool call, or another answer, is there as a whole."""

    async def measure(client: Client, seed: int) -> float:
        began_s = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        body = bodies[seed % len(bodies)]
        async with client.http.post(f"{client.url}/v1/chat/completions", data=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
        if "choices" not in answer:
            raise RuntimeError(f"{client.url}: {answer}")
        return time.perf_counter() - began_s

    return measure


def p95(numbers: list[float]) -> float:
    """Return the number that 95 % are at most."""
    return sorted(numbers)[math.ceil(0.95 * len(numbers)) - 1]


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called with the number of requests that were measured."""
    model = path_of(REAL_MODEL) or random_model(PARAMETERS, 8192)
    load = Load(model, N_CTX_TOKENS, 1, physical_cores())
    program = await asyncio.to_thread(build_peer)
    measure = story_tokens_per_s if path_of(REAL_MODEL) else decode_tokens_per_s
    ours = await in_turns(ZoeServer(load, "speculation = false"), measure, N_DECODES, advance)
    theirs = await in_turns(LlamaServer(load, program), measure, N_DECODES, advance)
    nano = Load(bundled_model_path(), 8192, 2, physical_cores())
    order = await in_turns(ZoeServer(nano), order_s(await orders()), N_ORDERS, advance)
    name = REAL_MODEL if path_of(REAL_MODEL) else "135 M"
    decode, peer, idle = (statistics.median(numbers) for numbers in (ours.busy, theirs.busy, ours.idle))
    peer_idle = statistics.median(theirs.idle)
    return [
        Figure(f"{name}: decode", decode, "tokens/s", baseline=idle, target=Target(MIN_DECODE, "at least")),
        Figure(f"{name}: decode, of llama-server", peer, "tokens/s", baseline=peer_idle),
        Figure("zoe-nano: order to tool call, p95", 1000 * p95(order.busy), "ms", 1000 * p95(order.idle),
               target=Target(MAX_ORDER)),
        Figure("zoe-nano: order to tool call, median", 1000 * statistics.median(order.busy), "ms",
               1000 * statistics.median(order.idle)),
    ]  # fmt: skip
