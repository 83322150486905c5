"""Tool calls of Home Assistant with and without the steps that a call does not need.

200 sentences said to random homes, whose prompts and tools a real Home Assistant core renders; zoe-nano answers each
with its calls, held to the names that exist. Baseline: the same engine without jump-forward decoding and guessing. The
same is measured on a model with random weights and an ordinary vocabulary, where nearly every token of a call is
written in its grammar. The targets are for the schema of `light__HassLightSet` (steps) and for all sentences (equal
calls): a call of zoe-nano is six tokens of its own vocabulary, which leaves little to save, and random weights draw
from near ties, which another order of additions decides.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.figure import Figure, Target
from bench.models import random_model
from zoe_server.catalogue.spec import bundled_model_path
from zoe_server.llama.cache.radix_tree import RadixTree
from zoe_server.llama.config import EngineConfig
from zoe_server.llama.loop import EngineLoop
from zoe_server.llama.prompt.intake import Intake
from zoe_server.llama.runner import Runner
from zoe_server.llama.sampler import Sampler
from zoe_server.llama.scheduling.batch import Limits
from zoe_server.llama.scheduling.scheduler import Scheduler
from zoe_server.protocol import (
    ChatEvent,
    ChatRequest,
    Failure,
    Finish,
    Sampling,
    Tool,
    ToolCallArguments,
    ToolCallStart,
    ToolChoice,
)

NAME = "tool-calls"
NANO = "zoe-nano"
TITLE = "200 sentences to random homes, one request after the other"
N_HOMES = 8
N_SENTENCES = 25
FIRST_SEED = 3_000_000
RANDOM_PARAMETERS = 20_000_000
N_RANDOM = 20
MAX_TOKENS = 200
N_UNITS = 2 * (N_HOMES * N_SENTENCES + N_RANDOM)
Advance = Callable[[int], None]


@dataclass(slots=True)
class Tally:
    """What one engine did for all requests together."""

    calls: list[str]
    steps: int = 0
    tokens: int = 0
    wall_s: float = 0.0


class InProcessEngine:
    """The engine without its process, so that its steps can be counted."""

    def __init__(self, path: Path, *, quick: bool) -> None:
        config = EngineConfig(model_path=path, socket_path=path, jump_forward=quick, speculation=quick)
        self._runner = Runner(config)
        self._intake = Intake(self._runner, config)
        limits = Limits(self._runner.n_ctx_tokens, self._runner.n_cells, config.n_slots, config.n_batch_tokens, 1)
        self._events: list[ChatEvent] = []
        self.loop = EngineLoop(
            self._runner,
            Sampler(self._runner.context, self._runner.vocab, drafts=quick),
            Scheduler(limits, RadixTree(), self._runner.vocab.eog_tokens),
            emit=lambda _, events: self._events.extend(events),
            progress=lambda _: None,
        )

    def answer(self, request: ChatRequest) -> list[ChatEvent]:
        """Return the events of one answer; a failure ends the benchmark."""
        self._events = []
        self.loop.submit(self._intake.prepare(request, time.monotonic()))
        self.loop.take_inbox()
        while self.loop.step():
            pass
        if isinstance(self._events[-1], Failure):
            raise self._events[-1].error
        return self._events

    def close(self) -> None:
        """Give the model back."""
        self._runner.close()


def tally(path: Path, requests: list[ChatRequest], advance: Advance, *, quick: bool) -> Tally:
    """Answer `requests` and count."""
    engine = InProcessEngine(path, quick=quick)
    result = Tally([])
    for request in requests:
        # The prompt is not what is measured here, and is computed before.
        engine.answer(replace(request, id=f"{request.id} prompt", max_tokens=0))
        steps, started_s = engine.loop.stats()["step"], time.perf_counter()
        events = engine.answer(request)
        result.wall_s += time.perf_counter() - started_s
        result.steps += engine.loop.stats()["step"] - steps
        result.calls.append(_calls(events))
        result.tokens += sum(event.usage.completion_tokens for event in events if isinstance(event, Finish))
        advance(1)
    engine.close()
    return result


def _calls(events: list[ChatEvent]) -> str:
    text = ""
    for event in events:
        if isinstance(event, ToolCallStart):
            text += f"\n{event.name} "
        elif isinstance(event, ToolCallArguments):
            text += event.text
    return text


async def sentences() -> list[ChatRequest]:
    """Return one request per sentence, as Home Assistant would send it."""
    from zoe_eval.core import home_assistant  # noqa: PLC0415 -- Home Assistant is slow to import
    from zoe_train.conversations import make_dialogue  # noqa: PLC0415

    requests: list[ChatRequest] = []
    async with home_assistant() as hass:
        for seed in range(FIRST_SEED, FIRST_SEED + N_HOMES):
            dialogue = await make_dialogue(hass, seed, N_SENTENCES)
            tools = tuple(Tool(**tool["function"]) for tool in dialogue.tools)
            values = _values(dialogue.system["content"])
            requests += [
                _request(f"{seed}-{i}", (dialogue.system, exchange[0]), tools, values)
                for i, exchange in enumerate(dialogue.exchanges)
            ]
    return requests


def _request(
    name: str, messages: tuple[dict[str, Any], ...], tools: tuple[Tool, ...], values: dict[str, tuple[str, ...]]
) -> ChatRequest:
    return ChatRequest(
        name,
        "bench",
        messages,
        tools,
        max_tokens=MAX_TOKENS,
        sampling=Sampling(temperature=0.0),
        argument_values=values,
    )


def _values(system: str) -> dict[str, tuple[str, ...]]:
    """Return the names and areas that Home Assistant's overview of a home lists."""
    found = {"name": r"^- names: (.+)$", "area": r"^  areas: (.+)$"}
    return {
        key: tuple(dict.fromkeys(name.strip("'") for name in re.findall(pattern, system, re.MULTILINE)))
        for key, pattern in found.items()
    }


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called after every request."""
    requests = await sentences()
    forced = [
        replace(one, tools=tuple(tool for tool in one.tools if tool.name == "light__HassLightSet"),
                tool_choice=ToolChoice("required"), parallel_tool_calls=False)
        for one in requests
    ]  # fmt: skip
    forced = [one for one in forced if one.tools][:N_RANDOM]
    return [
        *await asyncio.to_thread(_figures, NANO, bundled_model_path(), requests, advance),
        *await asyncio.to_thread(
            _figures, "random weights, light__HassLightSet", random_model(RANDOM_PARAMETERS, 4096), forced, advance
        ),
    ]


def _figures(model: str, path: Path, requests: list[ChatRequest], advance: Advance) -> list[Figure]:
    quick = tally(path, requests, advance, quick=True)
    plain = tally(path, requests, advance, quick=False)
    wanted = (
        {"steps": None, "equal": Target(99, "at least")} if model == NANO else {"steps": Target(0.6), "equal": None}
    )
    equal = sum(one == other for one, other in zip(quick.calls, plain.calls, strict=True))
    return [
        Figure(f"{model}: steps per token", quick.steps / quick.tokens, "", target=wanted.get("steps")),
        Figure(f"{model}: steps", quick.steps, "", plain.steps),
        Figure(f"{model}: time per answer", 1000 * quick.wall_s / len(requests), "ms",
               1000 * plain.wall_s / len(requests)),
        Figure(f"{model}: equal calls", 100 * equal / len(requests), "%", target=wanted.get("equal")),
    ]  # fmt: skip
