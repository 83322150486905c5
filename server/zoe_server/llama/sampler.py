"""Draws tokens with the C library's samplers, and holds an answer to its grammar.

The grammar is applied as llama.cpp's `common_sampler_sample` does: draw without it, ask it about that one token, and
only if it refuses, draw again from the candidates that it admits; trying a whole vocabulary on a grammar is slow.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import llama_cpp
import numpy as np

from zoe_server.errors import InvalidRequestError
from zoe_server.llama.grammar_gate import CANDIDATE, GrammarGate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoe_server.llama.grammar import Grammar
    from zoe_server.llama.jump import JumpForward
    from zoe_server.llama.probabilities import Probabilities
    from zoe_server.llama.prompt.tokenizer import Vocab
    from zoe_server.llama.runner import Output
    from zoe_server.protocol import DrawnToken, Sampling

_BUILT_IN: Final = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repeat_penalty": 1.0}
_RANDOM_SEED: Final = 0xFFFFFFFF
_REPEAT_WINDOW_TOKENS: Final = 64


@dataclass(frozen=True, slots=True)
class Settings:
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


def settings_for(sampling: Sampling, defaults: Mapping[str, float]) -> Settings:
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
    return Settings(top_k=int(filled.pop("top_k")), seed=seed, banned=(), **filled)


def _make_chain(settings: Settings, n_vocab: int, n_ctx_tokens: int) -> int:
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
    """Room for one row of logits as `llama_token_data_array`, reused for every token."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self._ids = np.arange(n_vocab, dtype=np.int32)
        self._data = np.zeros(n_vocab, dtype=CANDIDATE)
        self._pointer = ctypes.cast(self._data.ctypes.data, llama_cpp.llama_token_data_p)
        self.native = llama_cpp.llama_token_data_array(self._pointer, n_vocab, -1, False)

    def fill(self, logits: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        """Make every token a candidate with its logit."""
        self._data["id"] = self._ids
        self._data["logit"] = logits
        self.native = llama_cpp.llama_token_data_array(self._pointer, self.n_vocab, -1, False)

    @property
    def selected(self) -> int | None:
        """The token that a sampler has chosen; it may have moved the candidates to memory of its own."""
        row = self.native.selected
        chosen: Any = self.native.data[row].id if row >= 0 else None
        return None if chosen is None else int(chosen)


class TokenSampler:
    """The samplers of one answer; their random numbers, penalties and grammar outlive a preemption.

    `probabilities`, if given, takes note of every token; then none is forced: the model is not asked about those.
    """

    def __init__(
        self,
        settings: Settings,
        grammar: Grammar | None,
        vocab: Vocab,
        n_ctx_tokens: int,
        probabilities: Probabilities | None = None,
    ) -> None:
        self._gate = None if grammar is None else GrammarGate(grammar, vocab)
        self._chain = _make_chain(settings, vocab.n_tokens, n_ctx_tokens)
        self._probabilities = probabilities

    def sample(self, context: int, row: int, candidates: Candidates) -> int | None:
        """Return a token drawn from row `row` of the last decode, or None if the grammar admits no token at all."""
        token = self._sample(context, row, candidates)
        if token is not None and self._probabilities is not None:
            self._probabilities.note(token, _logits(context, row, candidates.n_vocab))
        return token

    def take_drawn(self) -> list[DrawnToken]:
        """Return the probabilities of the tokens drawn since the last call; nothing if nobody asked for them."""
        return [] if self._probabilities is None else self._probabilities.take()

    def _sample(self, context: int, row: int, candidates: Candidates) -> int | None:
        gate = self._gate
        if gate is None or not gate.awake:
            free: int = llama_cpp.llama_sampler_sample(self._chain, context, row)
            if gate is not None:
                gate.accept(free)
            return free
        token = self._draw(gate, context, row, candidates)
        if token is not None:
            llama_cpp.llama_sampler_accept(self._chain, token)
            gate.accept(token)
        return token

    def forced(self, jump: JumpForward) -> tuple[int, ...]:
        """Go on with the tokens that the grammar leaves no choice about, and return them."""
        if self._gate is None or self._probabilities is not None:
            return ()
        tokens = self._gate.forced(jump)
        for token in tokens:
            llama_cpp.llama_sampler_accept(self._chain, token)
            self._gate.accept(token)
        return tokens

    def close(self) -> None:
        """Give the C library's memory back."""
        llama_cpp.llama_sampler_free(self._chain)
        if self._gate is not None:
            self._gate.close()

    def _draw(self, gate: GrammarGate, context: int, row: int, candidates: Candidates) -> int | None:
        logits = _logits(context, row, candidates.n_vocab)
        candidates.fill(logits)
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(candidates.native))
        token = candidates.selected
        if token is not None and gate.allows(token):
            return token
        candidates.fill(logits)
        gate.constrain(candidates.native)
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(candidates.native))
        token = candidates.selected
        return token if token is not None and gate.allows(token) else None


class Sampler:
    """The samplers of all answers in work, by request id. `jump` finds forced tokens; None leaves all to the model."""

    def __init__(self, context: int, vocab: Vocab, jump: JumpForward | None = None) -> None:
        self._context = context
        self._candidates = Candidates(vocab.n_tokens)
        self._eog_tokens = vocab.eog_tokens
        self._jump = jump
        self._samplers: dict[str, TokenSampler] = {}
        self._stuck: set[str] = set()
        self.forced_tokens = 0

    def add(self, request_id: str, sampler: TokenSampler) -> None:
        """Use `sampler` for the request from now on, and close it when the request is removed."""
        self._samplers[request_id] = sampler

    def remove(self, request_id: str) -> None:
        """Forget the request."""
        self._samplers.pop(request_id).close()
        self._stuck.discard(request_id)

    def sample(self, outputs: list[Output]) -> list[tuple[int, ...]]:
        """Return for each output the token drawn, and those that then must follow.

        An answer whose grammar admits no token gets an end token and counts as stuck.
        """
        return [self._draw_all(output) for output in outputs]

    def take_drawn(self, request_id: str) -> list[DrawnToken]:
        """Return the probabilities of the request's tokens since the last call; see `TokenSampler.take_drawn`."""
        return self._samplers[request_id].take_drawn()

    def is_stuck(self, request_id: str) -> bool:
        """Return whether the request's grammar admitted no token."""
        return request_id in self._stuck

    def _draw_all(self, output: Output) -> tuple[int, ...]:
        """Draw on as long as what was drawn is what was guessed: only then do the next row's logits follow from it."""
        drawn: tuple[int, ...] = ()
        while True:
            drawn += self._draw(output.sequence.request_id, output.row + len(drawn))
            if drawn != output.guessed[: len(drawn)] or drawn[-1] in self._eog_tokens:
                return drawn

    def _draw(self, request_id: str, row: int) -> tuple[int, ...]:
        sampler = self._samplers[request_id]
        token = sampler.sample(self._context, row, self._candidates)
        if token is None:
            self._stuck.add(request_id)
            return (min(self._eog_tokens, default=0),)
        if self._jump is None or token in self._eog_tokens:
            return (token,)
        forced = sampler.forced(self._jump)
        self.forced_tokens += len(forced)
        return (token, *forced)
