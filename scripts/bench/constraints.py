"""What it costs to hold answers to schemas, and what the drafts save that come of it.

Compile and mask: Home Assistant's 33 tools and 60 tools, with the names of 300 devices, on the vocabularies of zoe-nano
and of an ordinary model (151,936 tokens, where its real weights are in the cache). Peer: llama.cpp's own grammar
sampler, for one tool of the same schema, since it takes no lists of names in time.

Drafts: 200 sentences said to random homes, whose prompts and tools a real Home Assistant core renders; each is answered
by two engines in turn, one of which does not try what a grammar leaves no choice about. Real weights of
Qwen2.5-Coder-0.5B answer some of them. Answers that are not the same are named.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import llama_grammar
from real_models import path_of

from bench.figure import Figure, Target
from zoe_server.catalogue.spec import bundled_model_path
from zoe_server.llama.cache.radix_tree import RadixTree
from zoe_server.llama.config import EngineConfig
from zoe_server.llama.constraint.constraint import Compiler, Constraint, allowed_tokens
from zoe_server.llama.dialects.hermes import Hermes
from zoe_server.llama.loop import EngineLoop
from zoe_server.llama.prompt.intake import Intake
from zoe_server.llama.prompt.tokenizer import Vocab
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

NAME = "constraints"
NANO = "zoe-nano"
TITLE = "schemas compiled, masks computed, and 200 sentences answered with and without drafts"
N_HOMES = 8
N_SENTENCES = 25
FIRST_SEED = 3_000_000
REAL = "qwen2.5-coder-0.5b"
N_REAL_HOMES = 2
N_REAL = 20
N_AGAIN = 2
N_CTX_TOKENS = 8192
TURN_ON = "intent__HassTurnOn"
NAMES = tuple(f"Lamp number {n} in the room" for n in range(300))
HOME_TOOLS = Path(__file__).parents[2] / "tests" / "server" / "llama" / "home_assistant_tools.json"
MAX_TOKENS = 200
N_UNITS = 1 + N_HOMES * N_SENTENCES + N_REAL
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

    def __init__(self, path: Path, *, drafts: bool) -> None:
        config = EngineConfig(model_path=path, socket_path=path, n_ctx_tokens=N_CTX_TOKENS, jump_forward=drafts)
        self._runner = Runner(config)
        self._intake = Intake(self._runner, config)
        limits = Limits(self._runner.n_ctx_tokens, self._runner.n_cells, config.n_slots, config.n_batch_tokens, 1)
        self._events: list[ChatEvent] = []
        self.tally = Tally([])
        self._loop = EngineLoop(
            self._runner,
            Sampler(self._runner.context, self._runner.vocab, drafts=drafts),
            Scheduler(limits, RadixTree(), self._runner.vocab.eog_tokens),
            emit=lambda _, events: self._events.extend(events),
            progress=lambda _: None,
        )

    def answer(self, request: ChatRequest) -> float:
        """Answer, and return how many seconds that took; a failure ends the benchmark."""
        self._events = []
        started_s = time.perf_counter()
        self._loop.submit(self._intake.prepare(request, time.monotonic()))
        self._loop.take_inbox()
        while self._loop.step():
            pass
        if isinstance(self._events[-1], Failure):
            raise self._events[-1].error
        return time.perf_counter() - started_s

    def count(self, request: ChatRequest) -> float:
        """Answer and take note of it; return how many seconds that took."""
        steps = self._loop.stats()["step"]
        wall_s = self.answer(request)
        self.tally.steps += self._loop.stats()["step"] - steps
        self.tally.calls.append(_calls(self._events))
        self.tally.tokens += sum(each.usage.completion_tokens for each in self._events if isinstance(each, Finish))
        return wall_s

    def close(self) -> None:
        """Give the model back."""
        self._runner.close()


def tally(path: Path, requests: list[ChatRequest], advance: Advance) -> tuple[Tally, Tally]:
    """Answer `requests` with drafts and without, in turn, and count."""
    engines = InProcessEngine(path, drafts=True), InProcessEngine(path, drafts=False)
    for request in requests:
        for engine in engines:  # the prompt is not what is measured here
            engine.answer(replace(request, id=f"{request.id} prompt", max_tokens=0))
        times = [[engine.count(request)] for engine in engines]
        for _ in range(N_AGAIN):
            for engine, found in zip(engines, times, strict=True):
                found.append(engine.answer(request))
        for engine, found in zip(engines, times, strict=True):
            engine.tally.wall_s += min(found)
        advance(1)
    for engine in engines:
        engine.close()
    return engines[0].tally, engines[1].tally


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
    figures = await asyncio.to_thread(_cost, advance)
    figures += await asyncio.to_thread(_saved, NANO, bundled_model_path(), requests, advance)
    real = path_of(REAL)
    if real is None:
        print(f"{REAL}: skipped, no weights (./scripts/models {REAL})", file=sys.stderr)
        advance(N_REAL)
        return figures
    few = requests[: N_REAL_HOMES * N_SENTENCES]  # each home has a long prompt of its own
    return figures + await asyncio.to_thread(_saved, REAL, real, few[:: len(few) // N_REAL][:N_REAL], advance)


def _saved(model: str, path: Path, requests: list[ChatRequest], advance: Advance) -> list[Figure]:
    quick, plain = tally(path, requests, advance)
    different = [
        f"{request.messages[-1]['content']}: {one.strip()} | {other.strip()}"
        for request, one, other in zip(requests, quick.calls, plain.calls, strict=True)
        if one != other
    ]
    for each in different:
        print(f"{model}: not the same: {each}", file=sys.stderr)
    equal = 100 - 100 * len(different) / len(requests)
    return [
        Figure(f"{model}: steps per token", quick.steps / quick.tokens, "", plain.steps / plain.tokens),
        Figure(f"{model}: time per answer", 1000 * quick.wall_s / len(requests), "ms",
               1000 * plain.wall_s / len(requests), target=Target(0.95)),
        Figure(f"{model}: equal calls", equal, "%", target=Target(100, "at least")),
    ]  # fmt: skip


def _cost(advance: Advance) -> list[Figure]:
    """Return what compiling and masks cost on each vocabulary."""
    figures = _cost_on(NANO, bundled_model_path())
    advance(1)
    real = path_of(REAL)
    return figures if real is None else figures + _cost_on("152k tokens", real)


def _cost_on(vocabulary: str, path: Path) -> list[Figure]:
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    vocab = Vocab(llama_cpp.llama_model_get_vocab(model))
    compiler = Compiler(vocab, Hermes.markers)
    tools = [Tool(**tool) for tool in json.loads(HOME_TOOLS.read_text(encoding="utf-8"))]
    figures = []
    for n_tools in (60, len(tools)):
        many = tuple(replace(tools[n % len(tools)], name=f"{tools[n % len(tools)].name}_{n}") for n in range(n_tools))
        request = ChatRequest("r", "m", (), many, tool_choice=ToolChoice("required"), argument_values={"name": NAMES})
        started_s = time.perf_counter()
        grammar = Hermes().grammar(request)
        if grammar is None:
            raise RuntimeError("tools without a grammar")
        constraint = compiler.constraint(grammar)
        wall_s = time.perf_counter() - started_s
        figures.append(Figure(f"{vocabulary}: compile {n_tools} tools", 1000 * wall_s, "ms"))
    number = next(n for n, tool in enumerate(tools) if tool.name == TURN_ON)
    call = {"name": f"{TURN_ON}_{number}", "arguments": {"name": NAMES[5]}}
    text = f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
    ours = _mask_times_s(constraint, vocab.tokenize(text.encode()))
    theirs = _peer_mask_times_s(vocab, tools[number].parameters, json.dumps(call["arguments"]))
    llama_cpp.llama_model_free(model)
    return figures + [
        Figure(f"{vocabulary}: mask p{percent}", 1e6 * float(np.percentile(ours, percent)), "us",
               peer=1e6 * float(np.percentile(theirs, percent)))
        for percent in (50, 95)
    ]  # fmt: skip


def _mask_times_s(constraint: Constraint, tokens: list[int]) -> list[float]:
    """Return how long each mask on the way of `tokens` takes, with the candidates that it leaves."""
    times = []
    for token in tokens:
        started_s = time.perf_counter()
        mask = constraint.mask()
        if mask is None:
            raise RuntimeError("the constraint sleeps")
        allowed = allowed_tokens(mask, len(mask) * 32)
        times.append(time.perf_counter() - started_s)
        if token not in allowed:
            raise RuntimeError("a call that fits its tool is not admitted")
        constraint.accept(token)
    return times


def _peer_mask_times_s(vocab: Vocab, schema: Mapping[str, Any], text: str) -> list[float]:
    """Return the same of llama.cpp's own grammar sampler for one tool's arguments, without names."""
    gbnf = llama_grammar.json_schema_to_gbnf(json.dumps(schema)).encode()
    sampler = llama_cpp.llama_sampler_init_grammar(vocab.pointer, gbnf, b"root")
    every = np.zeros(vocab.n_tokens, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
    every["id"] = np.arange(vocab.n_tokens)
    pointer = ctypes.cast(every.ctypes.data, llama_cpp.llama_token_data_p)
    times = []
    for token in vocab.tokenize(text.encode()):
        every["logit"] = 0
        array = llama_cpp.llama_token_data_array(pointer, vocab.n_tokens, -1, False)
        started_s = time.perf_counter()
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        times.append(time.perf_counter() - started_s)
        if every["logit"][token] < 0:
            raise RuntimeError("llama.cpp's grammar does not admit what its schema does")
        llama_cpp.llama_sampler_accept(sampler, token)
    llama_cpp.llama_sampler_free(sampler)
    return times
