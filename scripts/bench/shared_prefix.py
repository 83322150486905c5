"""Eight requests of one home at the same moment: the same long beginning, each its own end.

Cold: nobody has seen the beginning. Primed: it was computed before, as while the user still speaks.
Baseline: the same engine with its prefix cache switched off, where every request computes everything.
Times are taken at the gateway's end of the engine's socket.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.figure import Figure
from bench.models import random_model
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.local import LocalEngine
from zoe_server.protocol import ChatRequest, Failure, Finish, Sampling, Text, Usage
from zoe_server.training.random_gguf import whole_words

NAME = "shared-prefix"
TITLE = "8 concurrent requests, 3,000 shared + 90 own prompt tokens, 32 output tokens, 180 M parameters Q8_0"
N_REQUESTS = 8
SHARED_TOKENS = 3000
OWN_TOKENS = 90
OUTPUT_TOKENS = 32
PARAMETERS = 180_000_000
TEMPLATE_TOKENS_BEFORE = 7  # <|im_start|>system\n ... <|im_end|>\n
TEMPLATE_TOKENS_AFTER = 10  # <|im_start|>user\n ... <|im_end|>\n<|im_start|>assistant\n
N_UNITS = 3 * N_REQUESTS * OUTPUT_TOKENS
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """When the first piece of text came (seconds after the burst began), and the token counts."""

    first_token_s: float
    usage: Usage


@dataclass(frozen=True, slots=True)
class Burst:
    """What eight simultaneous requests took."""

    wall_s: float
    answers: list[Answer]

    @property
    def uncached_tokens(self) -> int:
        """Prompt tokens that were computed, of all requests together."""
        return sum(answer.usage.prompt_tokens - answer.usage.cached_tokens for answer in self.answers)


def words(seed: int, count: int) -> str:
    """Return `count` tokens of text; different seeds differ from the first word on."""
    vocabulary = whole_words()
    return "".join(f" {word}" for word in random.Random(seed).choices(vocabulary, k=count))  # noqa: S311 -- no secret


def request(seed: int, name: str, own_seed: int, max_tokens: int, own_tokens: int = OWN_TOKENS) -> ChatRequest:
    """Return a request whose beginning depends on `seed` only."""
    system = words(seed, SHARED_TOKENS - TEMPLATE_TOKENS_BEFORE)
    user = words(own_seed, own_tokens - TEMPLATE_TOKENS_AFTER)
    messages = ({"role": "system", "content": system}, {"role": "user", "content": user})
    sampling = Sampling(temperature=0.0)
    return ChatRequest(id=name, model="bench", messages=messages, max_tokens=max_tokens, sampling=sampling)


async def answer(engine: LocalEngine, chat: ChatRequest, started_s: float, advance: Advance) -> Answer:
    """Return how `chat` was answered; a failure ends the benchmark."""
    first_token_s: float | None = None
    async for event in engine.chat(chat):
        match event:
            case Text():
                first_token_s = first_token_s or time.perf_counter() - started_s
                advance(1)
            case Finish():
                return Answer(first_token_s or time.perf_counter() - started_s, event.usage)
            case Failure():
                raise event.error
    raise RuntimeError("the engine ended an answer without a terminal event")


async def burst(engine: LocalEngine, seed: int, advance: Advance) -> Burst:
    """Send all requests at once and wait for the last answer."""
    started_s = time.perf_counter()
    chats = [request(seed, f"b{seed}-{i}", 1000 * seed + i, OUTPUT_TOKENS) for i in range(N_REQUESTS)]
    answers = await asyncio.gather(*(answer(engine, chat, started_s, advance) for chat in chats))
    return Burst(time.perf_counter() - started_s, answers)


async def with_engine(path: Path, *, prefix_cache: bool, advance: Advance) -> tuple[Burst, float, Burst | None]:
    """Return the cold burst, the time of priming in seconds, and the primed burst (none without a prefix cache)."""
    n_cells = (N_REQUESTS + 1) * (SHARED_TOKENS + OWN_TOKENS + OUTPUT_TOKENS + 32)
    spec = ModelSpec("bench", path, n_ctx_tokens=n_cells, n_slots=N_REQUESTS, prefix_cache=prefix_cache)
    engine = LocalEngine(spec)
    await engine.start()
    try:
        await answer(engine, request(1, "pace", 1, 4), time.perf_counter(), lambda _: None)  # learns the machine's pace
        cold = await burst(engine, 2, advance)
        if not prefix_cache:
            return cold, 0.0, None
        started_s = time.perf_counter()
        await answer(engine, request(3, "prime", 3, 0, TEMPLATE_TOKENS_AFTER + 1), started_s, lambda _: None)
        prime_s = time.perf_counter() - started_s
        return cold, prime_s, await burst(engine, 3, advance)
    finally:
        await engine.stop()


def figures(kind: str, measured: Burst, baseline: Burst) -> list[Figure]:
    """Return the figures of one burst beside those of the baseline."""

    def first_tokens(of: Burst) -> list[float]:
        return [one.first_token_s for one in of.answers]

    pairs = [
        ("wall time", measured.wall_s, baseline.wall_s, "s"),
        ("first token, first", min(first_tokens(measured)), min(first_tokens(baseline)), "s"),
        (
            "first token, median",
            statistics.median(first_tokens(measured)),
            statistics.median(first_tokens(baseline)),
            "s",
        ),
        ("first token, last", max(first_tokens(measured)), max(first_tokens(baseline)), "s"),
        ("uncached prompt tokens", measured.uncached_tokens, baseline.uncached_tokens, "tokens"),
    ]
    return [Figure(f"{kind}: {name}", round(value, 3), unit, round(base, 3)) for name, value, base, unit in pairs]


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called with the number of answer pieces that have just come, of `N_UNITS`."""
    path = random_model(PARAMETERS, 8192)
    cold, prime_s, primed = await with_engine(path, prefix_cache=True, advance=advance)
    baseline, _, _ = await with_engine(path, prefix_cache=False, advance=advance)
    if primed is None:
        raise RuntimeError("the engine with a prefix cache was not primed")
    return [
        *figures("cold", cold, baseline),
        *figures("primed", primed, baseline),
        Figure("priming, before the burst", round(prime_s, 3), "s"),
    ]
