"""One model on several servers: requests of some homes, sent where their beginning says, or anywhere.

Each server stands for a machine that has room for the prompts of some homes and not of all. All run here, one request
at a time, so that they do not take the cores from each other: what is compared is how much of a prompt is known where a
request comes, and how long the first token takes because of that.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.client import Advance
from bench.figure import Figure, Target
from bench.models import random_model
from bench.prompts import home_messages
from bench.servers import Load, ZoeServer, running
from zoe_server import protocol
from zoe_server.catalogue.engine_options import OpenAIOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.openai_engine import OpenAIEngine
from zoe_server.engines.upstreams import Upstreams, rank

NAME = "upstreams"
SHARED_TOKENS = 1000
OWN_TOKENS = 30
N_HOMES = 8
N_REQUESTS = 64
N_SERVERS = (2, 4)
PARAMETERS = 20_000_000
TITLE = (
    f"{N_HOMES} homes of {SHARED_TOKENS:,} tokens, {N_REQUESTS} requests one after the other; a server has room for "
    f"{N_HOMES} / (number of servers) homes; baseline: a server at random"
)
N_UNITS = 2 * len(N_SERVERS) * (N_REQUESTS + N_HOMES)
Rank = Callable[[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Served:
    """What the requests after the first of each home got."""

    cached_share: float
    first_tokens_s: Sequence[float]


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called after every request."""
    model = random_model(PARAMETERS, 8192)
    figures: list[Figure] = []
    chance = random.Random(1)  # noqa: S311 -- no secret
    for n_servers in N_SERVERS:
        by_beginning = await _serve(model, n_servers, rank, advance)
        anywhere = await _serve(model, n_servers, lambda _beginning, _url: chance.randbytes(8), advance)
        figures += _figures(n_servers, by_beginning, anywhere)
    return figures


def _figures(n_servers: int, ours: Served, base: Served) -> list[Figure]:
    name = f"{n_servers} servers"
    middle, last = (
        [measure(one.first_tokens_s) * 1000 for one in (ours, base)] for measure in (statistics.median, _p95)
    )
    return [
        Figure(f"{name}: prompt tokens that were known", 100 * ours.cached_share, "%", 100 * base.cached_share),
        Figure(f"{name}: first token, p50", middle[0], "ms", middle[1], target=Target(1.0)),
        Figure(f"{name}: first token, p95", last[0], "ms", last[1]),
    ]


def _p95(numbers: Sequence[float]) -> float:
    return statistics.quantiles(numbers, n=20)[-1]


async def _serve(model: Path, n_servers: int, rank_by: Rank, advance: Advance) -> Served:
    """Start as many servers anew, and send them all requests."""
    n_here = N_HOMES // n_servers
    load = Load(model, (n_here + 1) * (SHARED_TOKENS + OWN_TOKENS + 64), 2, 2)
    async with AsyncExitStack() as stack:
        urls = [(await stack.enter_async_context(running(ZoeServer(load)))).url for _ in range(n_servers)]
        options = OpenAIOptions(urls=tuple(urls), model="bench", tools=False, schemas=False, pictures=False)
        spec = ModelSpec("bench", Path("unused"), engine="openai", options=options)
        upstreams = Upstreams(spec, urls, OpenAIEngine, rank=rank_by)
        await upstreams.start()
        stack.push_async_callback(upstreams.stop)
        order = random.Random(2).choices(range(N_HOMES), k=N_REQUESTS)  # noqa: S311 -- no secret
        seen: set[int] = set()
        prompt_tokens = cached_tokens = 0
        first_tokens_s: list[float] = []
        for number, home in enumerate([*range(N_HOMES), *order]):
            usage, first_s = await _ask(upstreams, home, number)
            if home in seen:
                prompt_tokens += usage.prompt_tokens
                cached_tokens += usage.cached_tokens
                first_tokens_s.append(first_s)
            seen.add(home)
            advance(1)
    return Served(cached_tokens / prompt_tokens, first_tokens_s)


async def _ask(upstreams: Upstreams, home: int, number: int) -> tuple[protocol.Usage, float]:
    """Return what a request took, and when its first token came."""
    messages = tuple(home_messages(home, 1000 + number, SHARED_TOKENS, OWN_TOKENS))
    request = protocol.ChatRequest(str(number), "bench", messages, max_tokens=1)
    began_s = time.perf_counter()
    first_s: float | None = None
    async for event in upstreams.chat(request):
        if isinstance(event, protocol.Failure):
            raise event.error
        if isinstance(event, protocol.Finish):
            return event.usage, first_s if first_s is not None else time.perf_counter() - began_s
        if first_s is None and not isinstance(event, protocol.Started):
            first_s = time.perf_counter() - began_s
    raise RuntimeError("an answer did not end")
