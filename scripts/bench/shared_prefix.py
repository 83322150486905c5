"""Eight requests of one home at the same moment: the same long beginning, each its own end.

Cold: nobody has seen the beginning. Primed: one request computed it before, as while the user still speaks.
Baseline: Zoe with its prefix cache switched off, where every request computes everything and nothing can be primed.
Peer: llama-server with the same model, threads, slots and room. All over HTTP, timed at the client.

The others take minutes, Zoe takes seconds, in which a machine that is shared may be busy with others: it is measured
before, between and after them, and the middle one of the three counts.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass

from bench.client import Advance, Answer, Client
from bench.figure import Figure, Target
from bench.models import random_model
from bench.prompts import home_messages, words
from bench.servers import LlamaServer, Load, Server, ZoeServer, build_peer, running
from zoe_server.llama.config import physical_cores

NAME = "shared-prefix"
TITLE = "8 concurrent requests, 3,000 shared + 90 own prompt tokens, 32 output tokens, 180 M parameters Q8_0"
N_REQUESTS = 8
SHARED_TOKENS = 3000
OWN_TOKENS = 90
OUTPUT_TOKENS = 32
PARAMETERS = 180_000_000
N_CTX_TOKENS = (N_REQUESTS + 1) * (SHARED_TOKENS + OWN_TOKENS + OUTPUT_TOKENS + 32)
N_ZOE = 3
N_BURSTS = 2 * N_ZOE + 1 + 2
N_UNITS = N_BURSTS * N_REQUESTS * OUTPUT_TOKENS
UNCACHED_LIMIT_TOKENS = 1.01 * (SHARED_TOKENS + N_REQUESTS * OWN_TOKENS)


@dataclass(frozen=True, slots=True)
class Burst:
    """What eight simultaneous requests took."""

    wall_s: float
    answers: list[Answer]

    @property
    def first_tokens_s(self) -> list[float]:
        """When each request got its first token."""
        return [answer.first_token_s for answer in self.answers]

    @property
    def uncached_tokens(self) -> int:
        """Prompt tokens that were computed, of all requests together."""
        return sum(answer.uncached_tokens for answer in self.answers)


async def burst(client: Client, home_seed: int, n_requests: int, advance: Advance) -> Burst:
    """Send all requests at once and wait for the last answer.

    Raises:
        RuntimeError: an answer is shorter than asked for, so that nothing can be compared.
    """
    began_s = time.perf_counter()
    chats = [home_messages(home_seed, 1000 * home_seed + i, SHARED_TOKENS, OWN_TOKENS) for i in range(n_requests)]
    answers = await asyncio.gather(*(client.chat(chat, OUTPUT_TOKENS, began_s, advance) for chat in chats))
    if any(answer.completion_tokens != OUTPUT_TOKENS for answer in answers):
        raise RuntimeError("the model ended an answer early")
    return Burst(time.perf_counter() - began_s, answers)


async def warm_up(client: Client) -> None:
    """Let a server compute something first, a long prompt and an answer, as any server in use has."""
    await client.chat([{"role": "user", "content": words(1, SHARED_TOKENS)}], 4)


async def cold_burst(server: Server, advance: Advance) -> Burst:
    """Return the cold burst alone."""
    async with running(server) as client:
        await warm_up(client)
        return await burst(client, 2, N_REQUESTS, advance)


async def both_bursts(server: Server, advance: Advance) -> tuple[Burst, Burst]:
    """Return the cold and the primed burst."""
    async with running(server) as client:
        await warm_up(client)
        cold = await burst(client, 2, N_REQUESTS, advance)
        await client.chat(home_messages(3, 3, SHARED_TOKENS, OWN_TOKENS), 1)
        return cold, await burst(client, 3, N_REQUESTS, advance)


def middle(bursts: Iterable[Burst]) -> Burst:
    """Return the one of three that took neither the least time nor the most."""
    return sorted(bursts, key=lambda one: one.wall_s)[N_ZOE // 2]


def figures(kind: str, measured: Burst, baseline: Burst, peer: Burst, targets: dict[str, Target]) -> list[Figure]:
    """Return the figures of one burst beside those of the baseline and of the peer."""

    def numbers(of: Burst) -> dict[str, float]:
        return {
            "wall time": of.wall_s,
            "first token, first": min(of.first_tokens_s),
            "first token, median": statistics.median(of.first_tokens_s),
            "first token, last": max(of.first_tokens_s),
        }

    ours, base, theirs = numbers(measured), numbers(baseline), numbers(peer)
    return [Figure(f"{kind}: {name}", ours[name], "s", base[name], theirs[name], targets.get(name)) for name in ours]


def uncached(kind: str, measured: Burst, baseline: Burst, peer: Burst) -> list[Figure]:
    """Return how many prompt tokens had to be computed; the limit is for the number itself."""
    return [
        Figure(f"{kind}: uncached prompt tokens", measured.uncached_tokens, "tokens",
               baseline.uncached_tokens, peer.uncached_tokens),
    ]  # fmt: skip


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called with the number of answer pieces that have just come, of `N_UNITS`."""
    load = Load(random_model(PARAMETERS, 8192), N_CTX_TOKENS, N_REQUESTS, physical_cores())
    program = build_peer()
    ours = [await both_bursts(ZoeServer(load), advance)]
    baseline = await cold_burst(ZoeServer(load, "prefix_cache = false"), advance)
    ours.append(await both_bursts(ZoeServer(load), advance))
    peer_cold, peer_primed = await both_bursts(LlamaServer(load, program), advance)
    ours.append(await both_bursts(ZoeServer(load), advance))
    cold, primed = (middle(bursts) for bursts in zip(*ours, strict=True))
    return [
        *figures("cold", cold, baseline, peer_cold, {"wall time": Target(1 / 5)}),
        *uncached("cold", cold, baseline, peer_cold),
        Figure("cold: uncached prompt tokens, of all", cold.uncached_tokens, "tokens",
               target=Target(UNCACHED_LIMIT_TOKENS)),
        *figures("primed", primed, baseline, peer_primed, {"first token, last": Target(1 / 20)}),
        *uncached("primed", primed, baseline, peer_primed),
    ]  # fmt: skip
