"""One request as the scheduler sees it: its tokens, how many of them are computed, and its own accounts of time.

A sequence knows neither text nor samplers nor the C library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoe_server.llama.vision.layout import TEXT_ONLY
from zoe_server.protocol import Timings, Usage

if TYPE_CHECKING:
    from zoe_server.llama.scheduling.prompt_lookup import PromptLookup
    from zoe_server.llama.vision.layout import Layout
    from zoe_server.llama.vision.picture_encoder import PromptPicture
    from zoe_server.protocol import Priority


@dataclass(slots=True, eq=False)
class Sequence:
    """Tokens of a prompt and of the answer so far. Times are in seconds of one monotonic clock.

    `tokens[:computed]` have KV cells in `slot`; the rest waits to be computed. After the last one was computed, a token
    is sampled, unless the limit of `limit_tokens` generated tokens is reached; more than one if a draft was accepted.
    `grammar_draft` are tokens that its grammar says must follow. A preempted sequence has no slot and nothing computed,
    but keeps its tokens, so that its answer goes on where it stopped. All of it is computed with `adapter`; None is the
    model without one. `layout` says which tokens stand for `pictures`.
    """

    request_id: str
    tokens: list[int]
    n_prompt: int
    limit_tokens: int
    priority: Priority
    arrived_s: float
    adapter: str | None = None
    layout: Layout = TEXT_ONLY
    pictures: tuple[PromptPicture, ...] = ()
    order: int = 0
    slot: int | None = None
    computed: int = 0
    cached_tokens: int = 0
    grammar_draft: tuple[int, ...] = ()
    lookup: PromptLookup | None = None
    preemptions: int = 0
    started_s: float | None = None
    first_token_s: float | None = None
    finished_s: float | None = None

    @property
    def n_generated(self) -> int:
        """Tokens sampled so far."""
        return len(self.tokens) - self.n_prompt

    @property
    def n_uncomputed(self) -> int:
        """Tokens that still have to go through the model before the next one can be sampled."""
        return len(self.tokens) - self.computed

    @property
    def is_prefilling(self) -> bool:
        """Whether more than the newest token is left to compute; a sequence that decodes has exactly that one left."""
        return self.n_uncomputed > 1

    @property
    def wants_token(self) -> bool:
        """Whether a token may be sampled once everything is computed; a request to prime the cache wants none."""
        return self.n_generated < self.limit_tokens

    def place(self, slot: int, reused: int, now: float) -> None:
        """Take `slot`, whose first `reused` tokens are computed already."""
        self.slot, self.computed = slot, reused
        if self.started_s is None:
            self.started_s, self.cached_tokens = now, reused

    def displace(self) -> None:
        """Give the slot back in the middle of the work."""
        self.slot, self.computed = None, 0
        self.preemptions += 1

    def extend(self, tokens: tuple[int, ...], now: float) -> tuple[int, ...]:
        """Add sampled tokens, as far as the limit allows; return what was added."""
        added = tokens[: self.limit_tokens - self.n_generated]
        self.tokens += added
        if self.first_token_s is None:
            self.first_token_s = now
        return added

    def picture_at(self, index: int) -> PromptPicture | None:
        """Return the picture that begins with token `index`, if one does."""
        return next((picture for picture in self.pictures if picture.span.start == index), None)

    def propose(self, limit: int, *, with_lookup: bool) -> tuple[int, ...]:
        """Return a draft of at most `limit` tokens, and of no more than may follow within this request's own limit."""
        limit = max(0, min(limit, self.limit_tokens - self.n_generated - 1))
        if self.grammar_draft or self.lookup is None or not with_lookup:
            return self.grammar_draft[:limit]
        return tuple(self.lookup.propose(self.tokens, limit))

    def usage(self) -> Usage:
        """Return the token counts; `cached_tokens` are those of the first admission."""
        return Usage(self.n_prompt, self.cached_tokens, self.n_generated)

    def timings(self, now: float) -> Timings:
        """Return the durations; a request that ended in the queue waited all its time there."""
        started = now if self.started_s is None else self.started_s
        first = now if self.first_token_s is None else self.first_token_s
        return Timings(started - self.arrived_s, first - self.arrived_s, now - self.arrived_s)
