"""The first answer after a restart, with the prefix of the last run on disk and without it.

An engine that has answered two requests of a home is stopped and started again; time is taken from the request, when
the engine is ready, to its first token. Baseline: the same without saved prefixes.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figure import Figure, Target
from bench.models import random_model
from bench.prompts import home_messages
from bench.shared_prefix import OWN_TOKENS, PARAMETERS, SHARED_TOKENS
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.local import LocalEngine
from zoe_server.protocol import ChatRequest, Failure, Sampling, Text

NAME = "restart"
TITLE = f"first token after a restart, {SHARED_TOKENS:,} shared + {OWN_TOKENS} own prompt tokens, 180 M parameters Q8_0"
N_UNITS = 6
LIMIT_BYTES = 4 << 30
WRITTEN_WITHIN_S = 60
Advance = Callable[[int], None]


def saved_bytes(folder: Path) -> int:
    """Return the size of all prefixes in `folder`."""
    return sum(file.stat().st_size for file in folder.glob("*.npz"))


async def answer(engine: LocalEngine, own_seed: int) -> float:
    """Return the seconds until the first token of a request of the home; a failure ends the benchmark."""
    messages = tuple(home_messages(4, own_seed, SHARED_TOKENS, OWN_TOKENS))
    chat = ChatRequest(f"r{own_seed}", "bench", messages, max_tokens=4, sampling=Sampling(temperature=0.0))
    began_s, first_s = time.perf_counter(), None
    async for event in engine.chat(chat):
        if isinstance(event, Failure):
            raise event.error
        if isinstance(event, Text) and first_s is None:
            first_s = time.perf_counter() - began_s
    if first_s is None:
        raise RuntimeError("the model answered without a text")
    return first_s


async def first_token(spec: ModelSpec, advance: Advance, folder: Path | None) -> tuple[float, float]:
    """Return the seconds until the engine is ready and those from the request to its first token, on a second start."""
    engine = LocalEngine(spec)
    await engine.start()
    try:
        for own_seed in (11, 12):
            await answer(engine, own_seed)
            advance(1)
        if folder is not None:
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                while not saved_bytes(folder):  # noqa: ASYNC110 -- another process writes it
                    await asyncio.sleep(0.05)
    finally:
        await engine.stop()
    engine = LocalEngine(spec)
    started_s = time.perf_counter()
    await engine.start()
    try:
        ready_s = time.perf_counter() - started_s
        first_s = await answer(engine, 13)
        advance(1)
        return ready_s, first_s
    finally:
        await engine.stop()


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called after every request."""
    path = random_model(PARAMETERS, 8192)
    with tempfile.TemporaryDirectory(prefix="zoe-prefixes-") as name:
        folder = Path(name)
        kept = ModelSpec(
            "bench",
            path,
            prefix_folder=folder,
            prefix_limit_bytes=LIMIT_BYTES,
            options=LlamaOptions(n_ctx_tokens=8192, n_slots=4),
        )
        ready_s, first_s = await first_token(kept, advance, folder)
        size_bytes = saved_bytes(folder)
    plain_ready_s, plain_first_s = await first_token(
        ModelSpec("bench", path, options=LlamaOptions(n_ctx_tokens=8192, n_slots=4)), advance, None
    )
    return [
        Figure("first token", first_s, "s", plain_first_s, target=Target(1 / 8)),
        Figure("until the engine is ready", ready_s, "s", plain_ready_s),
        Figure("until the first token, from the start", ready_s + first_s, "s", plain_ready_s + plain_first_s),
        Figure("size on disk", size_bytes / 2**20, "MiB"),
    ]
