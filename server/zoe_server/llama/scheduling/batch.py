"""What scheduler and runner speak of: one step's batch of chunks, and what the step did to each sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoe_server.llama.cache.kv_cache import MemoryOperation
    from zoe_server.llama.scheduling.sequence import Sequence
    from zoe_server.llama.vision.picture_encoder import PromptPicture
    from zoe_server.protocol import FinishReason


@dataclass(frozen=True, slots=True)
class Limits:
    """The sizes that the scheduler works within. `n_ctx_tokens` bounds one sequence, `n_cells` all of them together."""

    n_ctx_tokens: int
    n_cells: int
    n_slots: int
    n_batch_tokens: int
    queue_limit: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """`tokens` of a sequence at positions `start`...; `samples` says that a token is drawn after the last one.

    The tokens of `draft` stand behind them; if what is drawn is the first of them, one more is drawn after that, and so
    on. `is_from_grammar` says who proposed it: a grammar or prompt lookup.
    With a `picture`, the tokens stand for it, and the chunk is alone in its step.
    """

    sequence: Sequence
    slot: int
    start: int
    tokens: list[int]
    samples: bool
    draft: tuple[int, ...] = ()
    is_from_grammar: bool = False
    picture: PromptPicture | None = None

    @property
    def n_tokens(self) -> int:
        """How many tokens the model computes for it."""
        return len(self.tokens) + len(self.draft)


@dataclass(frozen=True, slots=True)
class Batch:
    """One step: memory operations to do first, then the chunks to compute together; `started` left the queue in it.

    All chunks are of sequences with `adapter`; None is the model without one.
    """

    operations: tuple[MemoryOperation, ...]
    chunks: tuple[Chunk, ...]
    started: tuple[Sequence, ...]
    scheduled_s: float
    adapter: str | None = None

    def __bool__(self) -> bool:
        return bool(self.chunks)

    @property
    def has_prompts(self) -> bool:
        """Whether it computes pieces of prompts; then the step may take long."""
        return any(chunk.sequence.is_prefilling for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came of one sampling chunk: the tokens drawn, and those that its grammar says must follow, as a draft."""

    tokens: tuple[int, ...]
    draft: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """What a step did to a sequence: the tokens it got (none: it only wanted its prompt computed), and why it ended."""

    sequence: Sequence
    tokens: tuple[int, ...]
    finished: FinishReason | None
