"""Draws tokens with the C library's samplers, and holds an answer to its grammar.

The grammar is applied as llama.cpp's `common_sampler_sample` does: draw without it, ask it about that one token, and
only if it refuses, draw again from the candidates that it admits; trying a whole vocabulary on a grammar is slow. A
lazy grammar is woken here and not by the library, which ends the process when the text that woke it does not fit it.
"""

from __future__ import annotations

import ctypes
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import llama_cpp
import numpy as np

from zoe_server.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoe_server.llama.grammar import Grammar
    from zoe_server.llama.runner import Output
    from zoe_server.llama.tokenizer import Vocab
    from zoe_server.protocol import Sampling

_LOG: Final = logging.getLogger(__name__)
_BUILT_IN: Final = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repeat_penalty": 1.0}
_RANDOM_SEED: Final = 0xFFFFFFFF
_REPEAT_WINDOW_TOKENS: Final = 64
_CANDIDATE: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # struct llama_token_data


@dataclass(frozen=True, slots=True)
class Settings:
    """How one answer is drawn, nothing left open. Temperature 0 is greedy; `seed` None is random."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    seed: int | None


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
    return Settings(top_k=int(filled.pop("top_k")), seed=seed, **filled)


def _make_chain(settings: Settings, n_vocab: int, n_ctx_tokens: int) -> int:
    """Return a llama.cpp sampler chain in llama.cpp's order.

    Penalties look at generated tokens only: a prompt full of names must not keep the model from saying them.
    """
    chain: int = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    s = settings
    links = []
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


class Candidates:
    """Room for one row of logits as `llama_token_data_array`, reused for every token."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self._ids = np.arange(n_vocab, dtype=np.int32)
        self._data = np.zeros(n_vocab, dtype=_CANDIDATE)
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


class GrammarGate:
    """A grammar that applies from the first token on, or, if lazy, from the first trigger in the text on.

    Raises:
        InvalidRequestError: llama.cpp cannot read the grammar.
    """

    def __init__(self, grammar: Grammar, vocab: Vocab) -> None:
        self._vocab = vocab
        self._alarm = Alarm(grammar) if grammar.lazy else None
        self.awake = not grammar.lazy
        self._sampler = llama_cpp.llama_sampler_init_grammar(vocab.pointer, grammar.gbnf.encode(), b"root")
        if not self._sampler:
            raise InvalidRequestError("the schemas of the tools cannot be turned into a grammar", param="tools")

    def allows(self, token: int) -> bool:
        """Return whether `token` may come next."""
        one = llama_cpp.llama_token_data(token, 1.0, 0.0)
        array = llama_cpp.llama_token_data_array(ctypes.pointer(one), 1, -1, False)
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        return bool(one.logit != -math.inf)

    def constrain(self, candidates: Candidates) -> None:
        """Give every candidate that may not come next a logit of minus infinity."""
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(candidates.native))

    def accept(self, token: int) -> None:
        """Go on with `token`, which `allows` has admitted if the grammar is awake."""
        if self.awake:
            llama_cpp.llama_sampler_accept(self._sampler, token)
        elif self._alarm is not None:
            text = self._alarm.feed(self._vocab.piece(token))
            if text is not None:
                self._wake(text)

    def close(self) -> None:
        """Give the C library's memory back."""
        llama_cpp.llama_sampler_free(self._sampler)

    def _wake(self, text: bytes) -> None:
        """Start with `text`, what woke the grammar and what came in the same token."""
        self._alarm = None
        for token in exact_tokens(self._vocab, text):
            if not self.allows(token):
                _LOG.warning("the text %r does not fit the grammar that it starts; the answer stays free", text)
                return
            llama_cpp.llama_sampler_accept(self._sampler, token)
        self.awake = True


def exact_tokens(vocab: Vocab, text: bytes) -> list[int]:
    """Return tokens that are exactly `text`; some vocabularies put a space before the first word of what they read."""
    for before in (b"", b"\n"):
        tokens = vocab.tokenize(before + text)
        for n in range(len(tokens)):
            if vocab.detokenize(tokens[n:]) == text:
                return tokens[n:]
    return vocab.tokenize(text)


class Alarm:
    """Watches an answer for what wakes its grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self._triggers = _encoded(grammar.triggers)
        self._openings = _encoded(grammar.openings)
        self._reasoning_ends = _encoded(grammar.reasoning_ends)
        self._n_kept = max(map(len, (*self._triggers, *self._reasoning_ends)), default=0)
        self._text = b""  # what a trigger may still begin in
        self._at_start = bool(self._openings)

    def feed(self, piece: bytes) -> bytes | None:
        """Take the next piece of the answer; return the text that wakes the grammar, None if it sleeps on."""
        self._text += piece
        found = [at for trigger in self._triggers if (at := self._text.find(trigger)) >= 0]
        if found:
            return self._text[min(found) :]
        if not self._openings:
            self._text = self._text[-self._n_kept :]
            return None
        return self._feed_opening()

    def _feed_opening(self) -> bytes | None:
        ends = [at + len(end) for end in self._reasoning_ends if (at := self._text.rfind(end)) >= 0]
        if ends:
            self._text, self._at_start = self._text[max(ends) :], True
        begun = self._text.lstrip()
        if self._at_start and begun.startswith(self._openings):
            return begun
        self._at_start = self._at_start and any(opening.startswith(begun) for opening in self._openings)
        if not self._at_start:
            self._text = self._text[-self._n_kept :] if self._n_kept else b""
        return None


def _encoded(texts: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


class TokenSampler:
    """The samplers of one answer; their random numbers, penalties and grammar outlive a preemption."""

    def __init__(self, settings: Settings, grammar: Grammar | None, vocab: Vocab, n_ctx_tokens: int) -> None:
        self._gate = None if grammar is None else GrammarGate(grammar, vocab)
        self._chain = _make_chain(settings, vocab.n_tokens, n_ctx_tokens)

    def sample(self, context: int, row: int, candidates: Candidates) -> int | None:
        """Return a token drawn from row `row` of the last decode, or None if the grammar admits no token at all."""
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

    def close(self) -> None:
        """Give the C library's memory back."""
        llama_cpp.llama_sampler_free(self._chain)
        if self._gate is not None:
            self._gate.close()

    def _draw(self, gate: GrammarGate, context: int, row: int, candidates: Candidates) -> int | None:
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, row), shape=(candidates.n_vocab,))
        candidates.fill(logits)
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(candidates.native))
        token = candidates.selected
        if token is not None and gate.allows(token):
            return token
        candidates.fill(logits)
        gate.constrain(candidates)
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(candidates.native))
        token = candidates.selected
        return token if token is not None and gate.allows(token) else None


class Sampler:
    """The samplers of all answers in work, by request id."""

    def __init__(self, context: int, vocab: Vocab) -> None:
        self._context = context
        self._candidates = Candidates(vocab.n_tokens)
        self._end_token = min(vocab.eog_tokens, default=0)
        self._samplers: dict[str, TokenSampler] = {}
        self._stuck: set[str] = set()

    def add(self, request_id: str, sampler: TokenSampler) -> None:
        """Use `sampler` for the request from now on, and close it when the request is removed."""
        self._samplers[request_id] = sampler

    def remove(self, request_id: str) -> None:
        """Forget the request."""
        self._samplers.pop(request_id).close()
        self._stuck.discard(request_id)

    def sample(self, outputs: list[Output]) -> list[int]:
        """Return one token per output. An answer whose grammar admits none gets an end token and counts as stuck."""
        tokens: list[int] = []
        for output in outputs:
            request_id = output.sequence.request_id
            token = self._samplers[request_id].sample(self._context, output.row, self._candidates)
            if token is None:
                self._stuck.add(request_id)
            tokens.append(self._end_token if token is None else token)
        return tokens

    def is_stuck(self, request_id: str) -> bool:
        """Return whether the request's grammar admitted no token."""
        return request_id in self._stuck
