"""Real llama.cpp on a tiny random model: in this process, step by step."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.random_gguf import write_random_gguf
from tests.fixtures.random_lora_gguf import write_random_lora_gguf
from zoe_server.llama.cache.parked_sequences import LIMIT_BYTES, ParkedSequences
from zoe_server.llama.cache.prefix_store import PrefixStore
from zoe_server.llama.cache.radix_tree import NullPrefixCache, RadixTree
from zoe_server.llama.cache.saved_prefixes import SavedPrefixes
from zoe_server.llama.config import EngineConfig
from zoe_server.llama.loop import EngineLoop, Job
from zoe_server.llama.prompt.intake import Intake
from zoe_server.llama.runner import Runner
from zoe_server.llama.sampler import Sampler
from zoe_server.llama.scheduling.batch import Limits
from zoe_server.llama.scheduling.scheduler import Scheduler
from zoe_server.protocol import TERMINAL_EVENTS, ChatEvent, ChatRequest, Finish, Sampling, Text

GREEDY = Sampling(temperature=0.0)


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="session")
def adapters(tiny_gguf: Path) -> dict[str, dict[str, object]]:
    """The configuration of two adapters that change nearly every answer."""
    seeds = {"jokes": 1, "rhymes": 2}
    return {
        name: {"path": write_random_lora_gguf(tiny_gguf.with_name(f"{name}.gguf"), tiny_gguf, seed=seed)}
        for name, seed in seeds.items()
    }


class Engine:
    """The engine without its process: requests go in, `run` steps until all have ended, events are collected."""

    def __init__(self, path: Path, *, parks: bool = False, limit_bytes: int = LIMIT_BYTES, **config: object) -> None:
        """With `parks`, strangers make way for every prompt, in `limit_bytes`, not only for those that take long."""
        self.config = EngineConfig(model_path=path, socket_path=path.with_suffix(".sock"), n_threads=1, **config)
        self.runner = Runner(self.config)
        self.intake = Intake(self.runner, self.config)
        c = self.config
        limits = Limits(self.runner.n_ctx_tokens, self.runner.n_cells, c.n_slots, c.n_batch_tokens, c.queue_limit)
        cache = RadixTree() if c.prefix_cache else NullPrefixCache()
        self.scheduler = Scheduler(limits, cache, self.runner.vocab.eog_tokens)
        self.sampler = Sampler(self.runner.context, self.runner.vocab, drafts=c.jump_forward)
        self.events: dict[str, list[ChatEvent]] = {}
        self.saved_prefixes = None
        if c.prefix_folder is not None:
            stores = {
                name: PrefixStore(c.prefix_folder, self.runner.identity(name), c.prefix_limit_bytes)
                for name in (None, *c.adapters)
            }
            self.saved_prefixes = SavedPrefixes(stores, self.runner, self.scheduler.memory)
        self.parked = ParkedSequences(self.runner, self.scheduler.memory, limit_bytes, least_prefill_s=0.0)
        self.loop = EngineLoop(
            self.runner, self.sampler, self.scheduler,
            emit=self._collect, progress=lambda stats: None, saved_prefixes=self.saved_prefixes,
            parked=self.parked if parks else None,
        )  # fmt: skip

    def _collect(self, request_id: str, events: list[ChatEvent]) -> None:
        self.events.setdefault(request_id, []).extend(events)

    def prepare(self, name: str, text: str, **fields: object) -> Job:
        fields = {"max_tokens": 16, "sampling": GREEDY} | fields
        pictures = fields.pop("pictures", ())
        parts = [{"type": "picture", "data": base64.b64encode(png).decode(), "path": "x"} for png in pictures]
        messages = ({"role": "user", "content": [*parts, {"type": "text", "text": text}] if parts else text},)
        job = self.intake.prepare(ChatRequest(name, "m", messages, **fields), 0.0)
        if self.runner.picture_encoder is not None:
            self.runner.picture_encoder.encode_all(job.sequence.pictures)
        return job

    def ask(self, name: str, text: str, **fields: object) -> None:
        self.loop.submit(self.prepare(name, text, **fields))

    def step(self) -> bool:
        self.loop.take_inbox()
        return self.loop.step()

    def run(self, max_steps: int = 5000) -> None:
        for _ in range(max_steps):
            if not self.step():
                return
        pytest.fail("the engine does not come to rest")

    def answer(self, name: str, text: str, **fields: object) -> str:
        self.ask(name, text, **fields)
        self.run()
        return self.text(name)

    def text(self, name: str) -> str:
        return "".join(event.text for event in self.events[name] if isinstance(event, Text))

    def text_so_far(self, name: str) -> str:
        return self.text(name) if name in self.events else ""

    def finish(self, name: str) -> Finish:
        *before, last = self.events[name]
        assert not any(isinstance(event, TERMINAL_EVENTS) for event in before)
        assert isinstance(last, Finish), last
        return last

    def audit(self) -> list[int]:
        memory = self.scheduler.memory
        self.runner.apply(memory.take_operations())
        return self.runner.audit(memory.expected_tops())


@pytest.fixture
def make_engine(tiny_gguf: Path) -> Iterator[Callable[..., Engine]]:
    engines: list[Engine] = []

    def make(path: Path = tiny_gguf, **config: object) -> Engine:
        engines.append(Engine(path, **config))
        return engines[-1]

    yield make
    for engine in engines:
        assert engine.audit() == [], "the library holds something else than the books say"
        engine.runner.close()


@pytest.fixture
def engine(make_engine: Callable[..., Engine]) -> Engine:
    return make_engine()
