"""Holds an answer to its grammar, with the C library's grammar sampler.

A lazy grammar is woken here and not by the library, which ends the process when the text that woke it does not fit it.
"""

from __future__ import annotations

import ctypes
import logging
from typing import TYPE_CHECKING, Final

import llama_cpp
import numpy as np

from zoe_server.errors import InvalidRequestError
from zoe_server.llama.alarm import Alarm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoe_server.llama.grammar import Grammar
    from zoe_server.llama.jump import JumpForward
    from zoe_server.llama.prompt.tokenizer import Vocab

_LOG: Final = logging.getLogger(__name__)
CANDIDATE: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`struct llama_token_data`."""


class GrammarState:
    """Where in its grammar an answer stands (a `jump.State`); `sampler` is the C library's, and ours to free."""

    def __init__(self, sampler: int) -> None:
        self._sampler = sampler

    def allows(self, token: int) -> bool:
        """Return whether `token` may come next."""
        return bool(self.allowed((token,)))

    def allowed(self, tokens: Sequence[int]) -> list[int]:
        """Return those of `tokens` that may come next."""
        data = np.zeros(len(tokens), dtype=CANDIDATE)
        data["id"] = tokens
        pointer = ctypes.cast(data.ctypes.data, llama_cpp.llama_token_data_p)
        array = llama_cpp.llama_token_data_array(pointer, len(tokens), -1, False)
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        allowed: list[int] = data["id"][data["logit"] != -np.inf].tolist()
        return allowed

    def constrain(self, candidates: llama_cpp.llama_token_data_array) -> None:
        """Give every candidate that may not come next a logit of minus infinity."""
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(candidates))

    def accept(self, token: int) -> None:
        """Go on with `token`, which is allowed."""
        llama_cpp.llama_sampler_accept(self._sampler, token)

    def clone(self) -> GrammarState:
        """Return a copy that goes its own way, to be closed."""
        return GrammarState(llama_cpp.llama_sampler_clone(self._sampler))

    def close(self) -> None:
        """Give the C library's memory back."""
        llama_cpp.llama_sampler_free(self._sampler)


class GrammarGate:
    """A grammar that applies from the first token on, or, if lazy, from what wakes it on (see `Grammar`).

    Raises:
        InvalidRequestError: llama.cpp cannot read the grammar.
    """

    def __init__(self, grammar: Grammar, vocab: Vocab) -> None:
        self._vocab = vocab
        self._gbnf = grammar.gbnf
        self._alarm = Alarm(grammar) if grammar.lazy else None
        self._text = b""  # what the grammar has accepted
        self.awake = not grammar.lazy
        sampler = llama_cpp.llama_sampler_init_grammar(vocab.pointer, grammar.gbnf.encode(), b"root")
        if not sampler:
            raise InvalidRequestError("the schemas of this request cannot be turned into a grammar")
        self._state = GrammarState(sampler)

    def allows(self, token: int) -> bool:
        """Return whether `token` may come next."""
        return self._state.allows(token)

    def constrain(self, candidates: llama_cpp.llama_token_data_array) -> None:
        """Give every candidate that may not come next a logit of minus infinity."""
        self._state.constrain(candidates)

    def accept(self, token: int) -> None:
        """Go on with `token`, which `allows` has admitted if the grammar is awake."""
        if self.awake:
            self._text += self._vocab.piece(token)
            self._state.accept(token)
        elif self._alarm is not None:
            text = self._alarm.feed(self._vocab.piece(token))
            if text is not None:
                self._wake(text)

    def forced(self, jump: JumpForward) -> tuple[int, ...]:
        """Return the tokens that must follow; they are not accepted yet."""
        return jump.tokens(self._state, self._gbnf, self._text) if self.awake else ()

    def close(self) -> None:
        """Give the C library's memory back."""
        self._state.close()

    def _wake(self, text: bytes) -> None:
        """Start with `text`, what woke the grammar and what came in the same token."""
        self._alarm, self._text = None, text
        for token in exact_tokens(self._vocab, text):
            if not self.allows(token):
                _LOG.warning("the text %r does not fit the grammar that it starts; the answer stays free", text)
                return
            self._state.accept(token)
        self.awake = True


def exact_tokens(vocab: Vocab, text: bytes) -> list[int]:
    """Return tokens that are exactly `text`; some vocabularies put a space before the first word of what they read."""
    for before in (b"", b"\n"):
        tokens = vocab.tokenize(before + text)
        for n in range(len(tokens)):
            if vocab.detokenize(tokens[n:]) == text:
                return tokens[n:]
    return vocab.tokenize(text)
