"""Holds an answer to its grammar: which tokens may come next, and which must.

llguidance computes a mask over the whole vocabulary in some ten microseconds, in time and memory that its limits bound
whatever the grammar is (an Earley parser over lexemes, whose automaton is built as it is needed). A lazy grammar is
started here.
Source: llguidance, `docs/optimizations.md`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from zoe_server.errors import InvalidRequestError
from zoe_server.llama.constraint.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from zoe_server.llama.constraint.grammar import Grammar
    from zoe_server.llama.prompt.tokenizer import Vocab

_LOG: Final = logging.getLogger(__name__)
_REMEMBERED_BYTES: Final = 24 << 20
_INITIAL_FUEL: Final = 20_000_000
"""How much of a grammar is compiled at most, about 0.4 s of work; sixty tools with 330 KB of schemas take a tenth."""
_BITS: Final = 32
_MAX_FORCED_BYTES: Final = 64 * 1024
_N_FORCED: Final = 64
"""More of what must come next is not told at once; nobody computes that much in a step."""
_MORE_SPACE: Final = 64
"""How many bytes a line may be longer than the longest JSON opening, and still become one."""


class Constraint(Protocol):
    """What one answer is held to."""

    def mask(self) -> NDArray[np.uint32] | None:
        """Return which tokens may come next, one bit each from the lowest on; None: any.

        All zeros: none may come, not even an end. It is valid until the next call of any method.
        """
        ...

    def forced(self) -> list[int]:
        """Return some tokens that spell what must come next, as far as the grammar leaves no choice; often none."""
        ...

    def accept(self, token: int) -> None:
        """Go on with `token`, which the mask admits."""
        ...

    @property
    def problem(self) -> str | None:
        """Why nothing may come next any more, where that is not the end of the answer."""
        ...


class Compiler:
    """Makes constraints for one vocabulary; equal grammars are compiled once. It may be used by several threads.

    `markers` are texts of control tokens that grammars speak of: as other control tokens never do, they may be drawn
    where a grammar has their text.
    """

    def __init__(self, vocab: Vocab, markers: Iterable[str] = ()) -> None:
        self._vocab = vocab
        self._guided = _guided_tokenizer(vocab, tuple(markers))
        self._limits = LLParserLimits(initial_lexer_fuel=_INITIAL_FUEL, verbose_errors=False)
        self._known: Recent[str, LLMatcher] = Recent(_REMEMBERED_BYTES)

    def constraint(self, grammar: Grammar) -> GuidedConstraint:
        """Return a constraint at the beginning of `grammar`.

        Raises:
            InvalidRequestError: the grammar makes no sense, is too large, or admits nothing.
        """
        return GuidedConstraint(grammar, self._matcher(grammar.lark), self._vocab)

    def _matcher(self, lark: str) -> LLMatcher:
        known = self._known.get(lark)
        if known is not None:
            return known.deep_copy()
        made = LLMatcher(self._guided, lark, log_level=0, limits=self._limits)
        if made.is_error():
            raise InvalidRequestError(f"the schemas of this request cannot be held to: {_reason(made.get_error())}")
        if len(made.compute_ff_bytes()) > _MAX_FORCED_BYTES:
            text = f"an answer to this request begins with more than {_MAX_FORCED_BYTES} bytes that are given already"
            raise InvalidRequestError(text)
        made.compute_bitmask()
        if made.is_error():
            raise InvalidRequestError("the schemas of this request cannot be held to: no text satisfies them")
        self._known.put(lark, made, _compiled_bytes(lark))
        return made.deep_copy()


class GuidedConstraint:
    """A `Constraint` by llguidance; a lazy one admits anything until it is `is_active`."""

    def __init__(self, grammar: Grammar, matcher: LLMatcher, vocab: Vocab) -> None:
        self._vocab = vocab
        self._matcher = matcher
        self._trigger = LazyTrigger(grammar) if grammar.lazy else None
        self._mask = np.zeros(-(-vocab.n_tokens // _BITS), dtype=np.uint32)
        self._forced: list[int] = []  # what must come next, the next token last; llguidance reads all of it every time
        self.is_active = not grammar.lazy

    def mask(self) -> NDArray[np.uint32] | None:
        """Return which tokens may come next. See `Constraint`."""
        if not self.is_active:
            return None
        if self._forced:
            self._mask[:] = 0
            self._mask[self._forced[-1] // _BITS] = 1 << self._forced[-1] % _BITS
            return self._mask
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        if self._matcher.is_error():  # the mask would admit the end of the answer
            self._mask[:] = 0
        return self._mask

    def forced(self) -> list[int]:
        """Return tokens that must come next. See `Constraint`."""
        if self.is_active and not self._forced:
            self._forced = self._matcher.compute_ff_tokens()[::-1]
        return self._forced[: -_N_FORCED - 1 : -1]

    def accept(self, token: int) -> None:
        """Go on with `token`."""
        if self.is_active:
            self._matcher.consume_token(token)
            if self._forced and self._forced.pop() != token:
                self._forced.clear()
        elif self._trigger is not None:
            text = self._trigger.feed(self._vocab.piece(token))
            if text is not None:
                self._activate(text)

    @property
    def problem(self) -> str | None:
        """Why nothing may come next any more. See `Constraint`."""
        return _reason(self._matcher.get_error()) if self._matcher.is_error() else None

    def _activate(self, text: bytes) -> None:
        """Start with `text`, what started the grammar and what came in the same token."""
        self._trigger = None
        tokens = exact_tokens(self._vocab, text)
        self.is_active = self._matcher.validate_tokens(tokens) == len(tokens)
        if self.is_active:
            self._matcher.consume_tokens(tokens)
        else:
            _LOG.warning("the text %r does not fit the grammar that it starts; the answer stays free", text)


class LazyTrigger:
    """Watches an answer for what starts its grammar: a marker anywhere, or a line that begins like a call.

    Lines of reasoning do not count; see `Grammar`.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._triggers = _encoded(grammar.triggers)
        self._openings = _encoded(grammar.openings)
        self._json_openings = {_packed(opening): opening for opening in _encoded(grammar.json_openings)}
        self._n_json = max(map(len, self._json_openings.values()), default=0) + _MORE_SPACE
        self._starts = _encoded(start for start, _ in grammar.thinking)
        self._ends = _encoded(end for _, end in grammar.thinking)
        self._n_kept = max(map(len, (*self._triggers, *self._ends)), default=1) - 1
        self._recent = b""  # what a trigger may still begin in
        self._line = b""  # what is read of the line, or of the reasoning
        self._thinking = grammar.reasoning_open
        self._blank = self._at_start_of_line = True

    def feed(self, piece: bytes) -> bytes | None:
        """Take the next piece of the answer; return the text that starts the grammar, None if nothing does."""
        self._recent += piece
        found = [at for trigger in self._triggers if (at := self._recent.find(trigger)) >= 0]
        if found:
            return self._recent[min(found) :]
        self._recent = self._recent[-self._n_kept :] if self._n_kept else b""
        if not (self._openings or self._json_openings):
            return None
        self._line += piece
        while self._read_reasoning() or self._read_rest_of_line():
            self._line = begun = self._line.lstrip()
            if begun.startswith(self._openings):
                return begun
            if (opened := self._opened_json(begun)) is not None:
                return opened
            if self._may_begin(begun):
                return None
        return None

    def _opened_json(self, begun: bytes) -> bytes | None:
        """Return the JSON opening that `begun` has, as the grammar writes it, and what follows; None if it has none."""
        if not begun.startswith((b"{", b"[")):
            return None
        packed = b""
        for end in range(1, min(len(begun), self._n_json) + 1):
            packed += begun[end - 1 : end].strip()
            opening = self._json_openings.get(packed)
            if opening is not None:
                return opening + begun[end:].lstrip()
        return None

    def _read_reasoning(self) -> bool:
        """Return whether a line begins here, behind reasoning or where there is none."""
        if self._blank and not self._thinking:
            begun = self._line.lstrip()
            start = next((start for start in self._starts if begun.startswith(start)), None)
            if start is not None:
                self._thinking, self._blank, self._line = True, False, begun[len(start) :]
        if self._thinking:
            ends = [at + len(end) for end in self._ends if (at := self._line.find(end)) >= 0]
            if not ends:
                self._line = self._line[-self._n_kept :] if self._n_kept else b""
                return False
            self._thinking, self._blank, self._at_start_of_line = False, False, True
            self._line = self._line[min(ends) :]
        return self._at_start_of_line

    def _read_rest_of_line(self) -> bool:
        """Return whether another line begins; what stands before it is forgotten."""
        if self._thinking:
            return False
        _, line_break, self._line = self._line.rpartition(b"\n") if b"\n" in self._line else (b"", b"", b"")
        self._at_start_of_line = bool(line_break)
        return self._at_start_of_line

    def _may_begin(self, begun: bytes) -> bool:
        """Return whether what a line begins with may still become an opening; if not, the line does not count."""
        texts = (*self._openings, *(self._starts if self._blank else ()))
        if any(text.startswith(begun) for text in texts):
            return True
        packed = _packed(begun) if len(begun) < self._n_json else begun
        if any(text.startswith(packed) for text in self._json_openings):
            return True
        self._at_start_of_line = self._blank = False
        return False


def _packed(text: bytes) -> bytes:
    return b"".join(text.split())


def exact_tokens(vocab: Vocab, text: bytes) -> list[int]:
    """Return tokens that are exactly `text`; some vocabularies put a space before the first word of what they read."""
    for before in (b"", b"\n"):
        tokens = vocab.tokenize(before + text)
        for n in range(len(tokens)):
            if vocab.detokenize(tokens[n:]) == text:
                return tokens[n:]
    return vocab.tokenize(text)


def allowed_tokens(mask: NDArray[np.uint32], n_tokens: int) -> NDArray[np.int32]:
    """Return the tokens, int32[n], whose bits are set."""
    words = np.flatnonzero(mask)
    bits = np.unpackbits(mask[words].astype("<u4", copy=False).view(np.uint8), bitorder="little").reshape(-1, _BITS)
    rows, columns = np.nonzero(bits)
    tokens = (words[rows] * _BITS + columns).astype(np.int32)
    return tokens[tokens < n_tokens]


def _compiled_bytes(lark: str) -> int:
    """Return what a compiled grammar takes at most, about: measured were 10 to 30 times its source, and 0.1 MB."""
    return (128 << 10) + 32 * len(lark)


def _guided_tokenizer(vocab: Vocab, markers: tuple[str, ...]) -> LLTokenizer:
    """Return the vocabulary as llguidance wants it: special tokens, which no text can be, begin with 0xFF."""
    pieces = [
        b"\xff" + piece if token in vocab.control_tokens and piece.decode(errors="replace") not in markers else piece
        for token, piece in enumerate(map(vocab.piece, range(vocab.n_tokens)))
    ]
    native: Any = LLTokenizer  # its stubs lack this constructor
    made: LLTokenizer = native.from_llamacpp(
        tokens=pieces,
        vocab_ptr=vocab.pointer,
        tokenize_fptr=vocab.tokenize_address,
        eos_token=sorted(vocab.eog_tokens),
        slices=None,
    )
    return made


def _reason(told: str) -> str:
    """Return the first line of what llguidance tells, without the place in our own grammar."""
    first = told.split("\n", 1)[0]
    return first.split("failed to compile JSON schema: ", 1)[-1][:300]


def _encoded(texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)
