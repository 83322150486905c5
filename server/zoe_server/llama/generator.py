"""What the process of a model that writes does: it puts intake, scheduler, sampler and loop together for one model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoe_server.catalogue.model_info import Capabilities
from zoe_server.codec import decode_request
from zoe_server.errors import ModelKindError, ZoeError
from zoe_server.llama.cache.parked_sequences import ParkedSequences
from zoe_server.llama.cache.prefix_store import PrefixStore
from zoe_server.llama.cache.radix_tree import NullPrefixCache, RadixTree
from zoe_server.llama.cache.saved_prefixes import SavedPrefixes
from zoe_server.llama.loop import EngineLoop
from zoe_server.llama.prompt.intake import Intake
from zoe_server.llama.runner import Runner
from zoe_server.llama.sampler import Sampler
from zoe_server.llama.scheduling.batch import Limits
from zoe_server.llama.scheduling.scheduler import Scheduler
from zoe_server.protocol import Finish, Usage

if TYPE_CHECKING:
    from zoe_server.llama.config import EngineConfig
    from zoe_server.llama.loop import Job
    from zoe_server.llama.model_file import HeaderValue
    from zoe_server.llama.worker import Emit, Progress, SlowPart


class Generator:
    """A `worker.Worker` for chats and plain completions."""

    op = "chat"

    def __init__(self, config: EngineConfig, model: int, emit: Emit, progress: Progress) -> None:
        self._config = config
        self._runner = runner = Runner(config, model)
        self.intake = Intake(runner, config)
        limits = Limits(runner.n_ctx_tokens, runner.n_cells, config.n_slots, config.n_batch_tokens, config.queue_limit)
        cache = RadixTree() if config.prefix_cache else NullPrefixCache()
        self._scheduler = Scheduler(limits, cache, runner.vocab.eog_tokens)
        self._saved_prefixes = self._make_saved_prefixes()
        sampler = Sampler(runner.context, runner.vocab, drafts=config.jump_forward)
        self.loop = EngineLoop(
            runner,
            sampler,
            self._scheduler,
            emit=emit,
            progress=progress,
            saved_prefixes=self._saved_prefixes,
            parked=ParkedSequences(runner, self._scheduler.memory) if config.prefix_cache else None,
        )

    def info(self) -> dict[str, Any]:
        """Return what is told of the model, as `ModelInfo` has it."""
        able = self.intake.abilities
        capabilities = Capabilities(
            tools="tools" in able,
            thinking="thinking" in able,
            pictures="vision" in able,
            schemas=True,
            logprobs=True,
            raw_prompts=True,
            tokenizer=True,
            priming=self._config.prefix_cache,
            argument_values=True,
            adapters=bool(self._config.adapters),
        )
        return self._runner.info() | self.intake.info() | {"capabilities": capabilities}

    def header(self) -> dict[str, HeaderValue]:
        """Return the header of the model file."""
        return self._runner.header()

    def refusal(self) -> ZoeError:
        """Return the error of a request for embeddings."""
        return ModelKindError.no_embeddings()

    def warm_up(self) -> None:
        """Compute a prompt for real, and bring back the prefixes of the last run."""
        self._runner.warm_up()
        if self._saved_prefixes is not None:
            self._saved_prefixes.restore()

    def prepare(self, data: Mapping[str, Any], arrived_s: float) -> Job:
        """Return the job of a request. See `Intake.prepare`."""
        return self.intake.prepare(decode_request(data), arrived_s)

    def slow_part(self, job: Job) -> SlowPart | None:
        """Return what encodes the job's pictures, if it has any."""
        encoder, pictures = self._runner.picture_encoder, job.sequence.pictures
        if encoder is None or not pictures:
            return None
        return lambda: encoder.encode_all(pictures), encoder.n_bytes(pictures)

    def give_up(self, job: Job) -> Finish:
        """Return the end of a job that was cancelled before it was submitted."""
        job.sampler.close()
        usage = Usage(prompt_tokens=job.sequence.n_prompt)
        return Finish("cancelled", usage, job.sequence.timings(time.monotonic()))

    def close(self) -> None:
        """Finish writing the prefixes that are kept on disk."""
        if self._saved_prefixes is not None:
            self._saved_prefixes.close()

    def _make_saved_prefixes(self) -> SavedPrefixes | None:
        """Return what keeps shared prefixes on disk, if that is wanted."""
        config = self._config
        if config.prefix_folder is None or not config.prefix_cache:
            return None
        stores = {
            adapter: PrefixStore(config.prefix_folder, self._runner.identity(adapter), config.prefix_limit_bytes)
            for adapter in (None, *config.adapters)
        }
        return SavedPrefixes(stores, self._runner, self._scheduler.memory)
