"""Draws tokens with the C library's samplers, and holds an answer to its constraint.

What a constraint does not admit is no candidate. It also tells tokens that must follow; they are a draft: the model
computes them together with the token before them, and those that it would have drawn itself are kept. So they never
change an answer, they only save steps. (Jump-forward decoding as in SGLang, Zheng et al. 2024, forces them instead, and
the model may then read a text in tokens that it would not have written.)
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import llama_cpp
import numpy as np

from zoe_server.errors import InvalidRequestError
from zoe_server.llama.constraint.constraint import allowed_tokens
from zoe_server.llama.scheduling.batch import Drawn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoe_server.llama.constraint.constraint import Constraint
    from zoe_server.llama.probabilities import Probabilities
    from zoe_server.llama.prompt.tokenizer import Vocab
    from zoe_server.llama.runner import LogitsRow
    from zoe_server.protocol import DrawnToken, Sampling

_BUILT_IN: Final = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repeat_penalty": 1.0}
_RANDOM_SEED: Final = 0xFFFFFFFF
_REPEAT_WINDOW_TOKENS: Final = 64
_FEW_TOKENS: Final = 1024
"""Up to so many candidates are copied; more are drawn from among the whole vocabulary."""
_CANDIDATE: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`struct llama_token_data`."""


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How one answer is drawn, nothing left open. Temperature 0 is greedy; `seed` None is random.

    `banned` tokens are never drawn.
    """

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    seed: int | None
    banned: tuple[int, ...]


def settings_for(sampling: Sampling, defaults: Mapping[str, float]) -> SamplerSettings:
    """Return `sampling` with its gaps filled from `defaults`, then from what llama.cpp does by default.

    Raises:
        InvalidRequestError: a number that would make the C library end the process.
    """
    filled: dict[str, float] = {
        name: next(v for v in (getattr(sampling, name), defaults.get(name), built_in) if v is not None)
        for name, built_in in _BUILT_IN.items()
    }
    filled["frequency_penalty"] = sampling.frequency_penalty
    filled["presence_penalty"] = sampling.presence_penalty
    for name, value in filled.items():
        if not math.isfinite(value):
            raise InvalidRequestError(f"{name} must be a finite number", param=name)
    if filled["repeat_penalty"] <= 0:
        raise InvalidRequestError("repeat_penalty must be greater than 0", param="repeat_penalty")
    seed = None if sampling.seed is None else sampling.seed % _RANDOM_SEED
    return SamplerSettings(top_k=int(filled.pop("top_k")), seed=seed, banned=(), **filled)


def _make_chain(settings: SamplerSettings, n_vocab: int, n_ctx_tokens: int) -> int:
    """Return a llama.cpp sampler chain in llama.cpp's order.

    Penalties look at generated tokens only: a prompt full of names must not keep the model from saying them.
    """
    chain: int = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    s = settings
    links = []
    if s.banned:
        biases = (llama_cpp.llama_logit_bias * len(s.banned))(
            *(llama_cpp.llama_logit_bias(token, -math.inf) for token in s.banned)
        )
        links.append(llama_cpp.llama_sampler_init_logit_bias(n_vocab, len(s.banned), biases))
    if s.repeat_penalty != 1:
        window = min(_REPEAT_WINDOW_TOKENS, n_ctx_tokens)
        links.append(llama_cpp.llama_sampler_init_penalties(n_vocab, window, s.repeat_penalty, 0.0, 0.0))
    if s.frequency_penalty or s.presence_penalty:
        penalties = (1.0, s.frequency_penalty, s.presence_penalty)
        links.append(llama_cpp.llama_sampler_init_penalties(n_vocab, n_ctx_tokens, *penalties))
    if s.temperature <= 0:
        links.append(llama_cpp.llama_sampler_init_greedy())
    else:
        links.append(llama_cpp.llama_sampler_init_top_k(s.top_k))
        links.append(llama_cpp.llama_sampler_init_top_p(s.top_p, 1))
        links.append(llama_cpp.llama_sampler_init_min_p(s.min_p, 1))
        links.append(llama_cpp.llama_sampler_init_temp(s.temperature))
        links.append(llama_cpp.llama_sampler_init_dist(_RANDOM_SEED if s.seed is None else s.seed))
    for link in links:
        llama_cpp.llama_sampler_chain_add(chain, link)  # the chain owns it from here on
    return chain


def _logits(context: int, row: int, n_vocab: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a row of the last decode, in the library's memory."""
    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, row), shape=(n_vocab,))


class Candidates:
    """Room for some tokens and their logits as `llama_token_data_array`, reused for every token drawn."""

    def __init__(self) -> None:
        self._data = np.zeros(_FEW_TOKENS, dtype=_CANDIDATE)
        self._pointer = ctypes.cast(self._data.ctypes.data, llama_cpp.llama_token_data_p)

    def draw(
        self, chain: int, tokens: np.ndarray[Any, np.dtype[np.int32]], logits: np.ndarray[Any, np.dtype[np.float32]]
    ) -> int | None:
        """Return one of at most `_FEW_TOKENS` `tokens`, drawn by `chain`; None if it admits none of them."""
        n = len(tokens)
        self._data["id"][:n] = tokens
        self._data["logit"][:n] = logits[tokens]
        native = llama_cpp.llama_token_data_array(self._pointer, n, -1, False)
        llama_cpp.llama_sampler_apply(chain, ctypes.byref(native))
        if native.selected < 0:
            return None
        chosen: Any = native.data[native.selected]  # a sampler may have moved them to memory of its own
        return int(chosen.id) if chosen.logit > -math.inf else None


class TokenSampler:
    """The samplers of one answer; their random numbers, penalties and constraint outlive a preemption.

    `probabilities`, if given, takes note of every token.
    """

    def __init__(
        self,
        settings: SamplerSettings,
        constraint: Constraint | None,
        n_vocab: int,
        n_ctx_tokens: int,
        probabilities: Probabilities | None = None,
    ) -> None:
        self._constraint = constraint
        self._n_vocab = n_vocab
        self._chain = _make_chain(settings, n_vocab, n_ctx_tokens)
        self._probabilities = probabilities

    @property
    def problem(self) -> str | None:
        """Why the constraint admits no token any more."""
        return None if self._constraint is None else self._constraint.problem

    def sample(self, context: int, row: int, candidates: Candidates) -> int | None:
        """Return a token drawn from row `row` of the last decode, or None if the constraint admits no token at all."""
        mask = None if self._constraint is None else self._constraint.mask()
        logits = _logits(context, row, self._n_vocab)
        if self._probabilities is not None:
            logits = logits.copy()  # what is drawn within a mask changes the library's
        if mask is None:
            token: int | None = llama_cpp.llama_sampler_sample(self._chain, context, row)
        else:
            token = self._draw(mask, context, row, candidates)
        if token is None:
            return None
        if self._constraint is not None:
            self._constraint.accept(token)
        if self._probabilities is not None:
            self._probabilities.note(token, logits)
        return token

    def take_drawn(self) -> list[DrawnToken]:
        """Return the probabilities of the tokens drawn since the last call; nothing if nobody asked for them."""
        return [] if self._probabilities is None else self._probabilities.take()

    def draft(self) -> tuple[int, ...]:
        """Return tokens that spell what must come next, as far as the constraint leaves no choice."""
        return () if self._constraint is None else tuple(self._constraint.forced())

    def close(self) -> None:
        """Give the C library's memory back."""
        llama_cpp.llama_sampler_free(self._chain)

    def _draw(self, mask: np.ndarray[Any, np.dtype[np.uint32]], context: int, row: int, few: Candidates) -> int | None:
        """Return a token that the mask admits. Where it admits few, only those are looked at."""
        allowed = allowed_tokens(mask, self._n_vocab)
        if not len(allowed):
            return None
        logits = _logits(context, row, self._n_vocab)
        if len(allowed) <= _FEW_TOKENS:
            token = few.draw(self._chain, allowed, logits)
            if token is not None:
                llama_cpp.llama_sampler_accept(self._chain, token)
            return token
        kept = logits[allowed]
        logits.fill(-np.inf)
        logits[allowed] = kept
        drawn: int = llama_cpp.llama_sampler_sample(self._chain, context, row)
        return drawn


class Sampler:
    """The samplers of all answers in work, by request id. With `drafts`, forced tokens are told as drafts."""

    def __init__(self, context: int, vocab: Vocab, *, drafts: bool = True) -> None:
        self._context = context
        self._candidates = Candidates()
        self._eog_tokens = vocab.eog_tokens
        self._drafts = drafts
        self._samplers: dict[str, TokenSampler] = {}
        self._stuck: dict[str, str] = {}

    def add(self, request_id: str, sampler: TokenSampler) -> None:
        """Use `sampler` for the request from now on, and close it when the request is removed."""
        self._samplers[request_id] = sampler

    def remove(self, request_id: str) -> None:
        """Forget the request."""
        self._samplers.pop(request_id).close()
        self._stuck.pop(request_id, None)

    def sample(self, rows: list[LogitsRow]) -> list[Drawn]:
        """Return what is drawn for each row, in their order.

        An answer whose constraint admits no token gets an end token and counts as stuck.
        """
        return [self._draw_all(row) for row in rows]

    def take_drawn(self, request_id: str) -> list[DrawnToken]:
        """Return the probabilities of the request's tokens since the last call; see `TokenSampler.take_drawn`."""
        return self._samplers[request_id].take_drawn()

    def why_stuck(self, request_id: str) -> str | None:
        """Return why the request's constraint admits no token, None if it does."""
        return self._stuck.get(request_id)

    def _draw_all(self, row: LogitsRow) -> Drawn:
        """Draw on as long as what was drawn is the draft: only then do the next row's logits follow from it."""
        request_id, tokens = row.sequence.request_id, list[int]()
        sampler = self._samplers[request_id]
        while True:
            token = sampler.sample(self._context, row.index + len(tokens), self._candidates)
            if token is None:
                self._stuck[request_id] = sampler.problem or "no token of this model's vocabulary fits"
                token = min(self._eog_tokens, default=0)
            tokens.append(token)
            if token in self._eog_tokens:
                return Drawn(tuple(tokens))
            if len(tokens) > len(row.draft) or token != row.draft[len(tokens) - 1]:
                return Drawn(tuple(tokens), sampler.draft() if self._drafts else ())
