"""One request at a time, on both servers in turns: how fast a prompt is computed and how fast an answer is written.

Guessing tokens from the prompt is off in Zoe here: the greedy text of random weights repeats itself, and guessing would
make a show of it. With zoe-nano, the time is taken that the server adds to the model's own: from the request to the
whole answer of one token, less one step of the bare library.

All are measured in turns, now the one first and now the other, and compared turn by turn: where others share the
machine, its speed changes by a tenth from minute to minute, which the two of a turn have in common. The servers of the
large model are started several times, since the same program may be some percent faster or slower as another process.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

from real_models import path_of

from bench.bare_model import step_s
from bench.client import Advance, Answer, Client
from bench.figure import Figure, Target
from bench.models import random_model
from bench.prompts import home_messages, words
from bench.servers import LlamaServer, Load, ZoeServer, build_peer, running
from zoe_server.catalogue.spec import bundled_model_path
from zoe_server.llama.config import physical_cores

NAME = "single-stream"
TITLE = "one request at a time"
PARAMETERS = 180_000_000
N_CTX_TOKENS = 4096
PROMPT_TOKENS = 3000
DECODED_TOKENS = 128
N_STARTS = 3
N_ROUNDS = 3
N_DECODE_ROUNDS = 7
N_SHORT = 12
N_IN_A_ROW = 25
N_UNCOUNTED = 5
REAL_MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")
REAL_PROMPT_TOKENS = 1000
N_REAL_ROUNDS = 3
N_STORIES = 20
COLD_SLOTS = 8
COLD_TOKENS = (3000, 90)
N_UNITS = 2 * (N_STARTS * (N_DECODE_ROUNDS + N_ROUNDS + 1) + N_SHORT + 2 * N_REAL_ROUNDS * len(REAL_MODELS))
MAX_COLD = 1.03
MIN_DECODE = 0.98
MIN_PREFILL = 0.99
MEDIAN_OVERHEAD_MS = 3.0
Measure = Callable[[Client, int], Awaitable[float]]


def say(text: str) -> list[dict[str, str]]:
    """Return a chat of one sentence."""
    return [{"role": "user", "content": text}]


async def decode_tokens_per_s(client: Client, seed: int) -> float:
    """Return how fast an answer grows after its first token."""
    return await told_tokens_per_s(client, words(seed, 30))


async def story_tokens_per_s(client: Client, seed: int) -> float:
    """Return the same for a model that means what it says, and may end its answer when it likes."""
    for attempt in range(N_STORIES):
        story = f"Tell me a long story about a house with {seed + 2} rooms and {attempt + 1} gardens."
        answer = await client.chat(say(story), DECODED_TOKENS)
        if answer.completion_tokens >= DECODED_TOKENS // 2:
            return tokens_per_s(answer)
    raise RuntimeError(f"the model ended each of {N_STORIES} stories before {DECODED_TOKENS // 2} tokens")


async def told_tokens_per_s(client: Client, sentence: str) -> float:
    """Return how fast the answer to `sentence` grows after its first token."""
    answer = await client.chat(say(sentence), DECODED_TOKENS)
    if answer.completion_tokens < DECODED_TOKENS // 2:
        raise RuntimeError(f"the model ended its answer after {answer.completion_tokens} tokens")
    return tokens_per_s(answer)


def tokens_per_s(answer: Answer) -> float:
    """Return how fast an answer grew after its first token."""
    return (answer.completion_tokens - 1) / (answer.last_token_s - answer.first_token_s)


async def prefill_tokens_per_s(client: Client, seed: int) -> float:
    """Return how fast a prompt that nobody has seen is computed."""
    return await prompt_tokens_per_s(client, words(seed, PROMPT_TOKENS))


async def real_prefill_tokens_per_s(client: Client, seed: int) -> float:
    """Return the same of a shorter prompt, for models that take more tokens for these words."""
    return await prompt_tokens_per_s(client, words(seed, REAL_PROMPT_TOKENS))


async def prompt_tokens_per_s(client: Client, sentence: str) -> float:
    """Return how fast `sentence`, which nobody has seen, is computed."""
    answer = await client.chat(say(sentence), 1)
    return answer.uncached_tokens / answer.first_token_s


class ShortRequests:
    """Requests whose prompt is known but for its last token, and whose answer is one token, on a kept connection.

    They go out by `http.client`, one after the other, so that hardly anything but the server takes time. Each server
    gets several in a row: threads that have computed spin for a moment, and would take time from the other one.
    """

    def __init__(self) -> None:
        self._connections: dict[str, HTTPConnection] = {}

    async def measure_ms(self, client: Client, seed: int) -> float:
        """Return the median of how long the requests of a row take, of which the first ones do not count."""
        del seed
        connection = self._connections.setdefault(client.url, HTTPConnection(client.url.removeprefix("http://")))
        times_ms = [await asyncio.to_thread(self._ask_ms, connection) for _ in range(N_IN_A_ROW)]
        return statistics.median(times_ms[N_UNCOUNTED:])

    @staticmethod
    def _ask_ms(connection: HTTPConnection) -> float:
        body = json.dumps({"model": "bench", "messages": say("turn on the light"), "max_tokens": 1, "temperature": 0})
        began_s = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        took_ms = (time.perf_counter() - began_s) * 1000
        if response.status != HTTPStatus.OK:
            raise RuntimeError(f"{response.status}: {answer!r}")
        return took_ms


@dataclass(frozen=True, slots=True)
class Rounds:
    """What was measured of both servers, a number of each per round."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    def figure(self, name: str, unit: str, target: Target | None = None) -> Figure:
        """Return the medians, and that of the rounds' ratios."""
        ratio = statistics.median(one / other for one, other in zip(self.ours, self.theirs, strict=True))
        medians = statistics.median(self.ours), statistics.median(self.theirs)
        return Figure(name, medians[0], unit, peer=medians[1], target=target, paired_ratio=ratio)

    def __add__(self, other: Rounds) -> Rounds:
        return Rounds(self.ours + other.ours, self.theirs + other.theirs)

    def less(self, steps: list[float]) -> Rounds:
        """Return the rounds without what the bare library took in each of them."""
        ours, theirs = (
            tuple(one - step for one, step in zip(numbers, steps, strict=True)) for numbers in (self.ours, self.theirs)
        )
        return Rounds(ours, theirs)


async def in_turns(measure: Measure, zoe: Client, peer: Client, rounds: int, seed: int, advance: Advance) -> Rounds:
    """Measure both in every round, now the one first and now the other; a round before them warms up."""
    found: dict[Client, list[float]] = {zoe: [], peer: []}
    for index in range(rounds + 1):
        for client in (zoe, peer) if index % 2 else (peer, zoe):
            found[client].append(await measure(client, seed + index))
        advance(2 if index else 0)
    return Rounds(tuple(found[zoe][1:]), tuple(found[peer][1:]))


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called after every measured request."""
    program, nano = build_peer(), bundled_model_path()
    return [
        await _cold(program, random_model(PARAMETERS, 8192), advance),
        *await _large(program, random_model(PARAMETERS, 8192), advance),
        *[figure for name in REAL_MODELS for figure in await _real(program, name, advance)],
        *await _nano(program, nano, advance),
    ]


async def _cold(program: Path, model: Path, advance: Advance) -> Figure:
    """Measure the first long prompt of servers that have just started, with room for several of its kind."""
    load = Load(model, (COLD_SLOTS + 1) * (sum(COLD_TOKENS) + 64), COLD_SLOTS, physical_cores())
    found: dict[bool, list[float]] = {True: [], False: []}
    for index in range(N_STARTS):
        for is_peer in (False, True) if index % 2 else (True, False):
            async with running(LlamaServer(load, program) if is_peer else ZoeServer(load)) as client:
                await client.chat(say("hello"), 1)
                answer = await client.chat(home_messages(index, 50 + index, *COLD_TOKENS), 1)
                found[is_peer].append(answer.first_token_s)
        advance(2)
    rounds = Rounds(tuple(found[False]), tuple(found[True]))
    return rounds.figure(f"180 M: cold first token of {sum(COLD_TOKENS):,}", "s", Target(MAX_COLD))


async def _real(program: Path, name: str, advance: Advance) -> list[Figure]:
    """Measure a model that means what it says, if its weights are here."""
    path = path_of(name)
    if path is None:
        return [Figure(f"{name}: decode", None, "skipped: no weights")]
    load = Load(path, N_CTX_TOKENS, 1, physical_cores())
    async with running(ZoeServer(load, "speculation = false")) as zoe, running(LlamaServer(load, program)) as peer:
        decode = await in_turns(story_tokens_per_s, zoe, peer, N_REAL_ROUNDS, 10, advance)
        prefill = await in_turns(real_prefill_tokens_per_s, zoe, peer, N_REAL_ROUNDS, 100, advance)
    return [
        decode.figure(f"{name}: decode", "tokens/s", Target(MIN_DECODE, "at least")),
        prefill.figure(f"{name}: prefill of some {REAL_PROMPT_TOKENS:,}", "tokens/s", Target(MIN_PREFILL, "at least")),
    ]


async def _large(program: Path, model: Path, advance: Advance) -> list[Figure]:
    load = Load(model, N_CTX_TOKENS, 1, physical_cores())
    decode = prefill = Rounds((), ())
    for _ in range(N_STARTS):
        async with running(ZoeServer(load, "speculation = false")) as zoe, running(LlamaServer(load, program)) as peer:
            decode += await in_turns(decode_tokens_per_s, zoe, peer, N_DECODE_ROUNDS, 10, advance)
            prefill += await in_turns(prefill_tokens_per_s, zoe, peer, N_ROUNDS, 100, advance)
    return [
        decode.figure("180 M: decode", "tokens/s", Target(MIN_DECODE, "at least")),
        prefill.figure("180 M: prefill of 3,000", "tokens/s", Target(MIN_PREFILL, "at least")),
    ]


async def _nano(program: Path, model: Path, advance: Advance) -> list[Figure]:
    load = Load(model, N_CTX_TOKENS, 1, physical_cores())
    steps_ms: list[float] = []

    async def measure(client: Client, seed: int) -> float:
        """Measure the bare library in every round, too, right before Zoe."""
        if client is zoe:
            steps_ms.append(1000 * await asyncio.to_thread(step_s, model, load.n_threads))
        return await short.measure_ms(client, seed)

    short = ShortRequests()
    async with running(ZoeServer(load, "speculation = false")) as zoe, running(LlamaServer(load, program)) as peer:
        requests = await in_turns(measure, zoe, peer, N_SHORT, 0, advance)
    added = requests.less(steps_ms[1:]).figure("zoe-nano: what the server adds, p50", "ms")
    return [
        requests.figure("zoe-nano: request of one token", "ms"),
        added,
        Figure("zoe-nano: what Zoe adds, p50", added.value, "ms", target=Target(MEDIAN_OVERHEAD_MS)),
    ]
