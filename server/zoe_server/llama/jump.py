"""What a grammar leaves no choice about: tokens that can follow without asking the model.

After `{"name": "` and `Kit`, of the names that exist only `Kitchen light` may follow, and then `"}}`: all of that goes
into the next batch at once, and the model is asked again where it has a choice. The text is forced byte by byte; of its
tokens only those are taken that the model could not have merged with what follows. (Jump-forward decoding, Zheng et
al. 2024, SGLang; for those merges they tokenize the whole answer anew, while we stop before them.)

This module knows the grammar only as a `State` and the vocabulary by three methods; it calls no C library.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FORCED_BYTES: Final = 256
_N_REMEMBERED: Final = 4096
_HIGHEST_BYTE: Final = 0xFF


class State(Protocol):
    """Where in its grammar an answer stands."""

    def clone(self) -> State:
        """Return a copy that goes its own way, to be closed."""

    def allowed(self, tokens: Sequence[int]) -> list[int]:
        """Return those of `tokens` that may come next."""

    def accept(self, token: int) -> None:
        """Go on with `token`, which is allowed."""

    def close(self) -> None:
        """Give its memory back."""


class Pieces(Protocol):
    """A vocabulary: `n_tokens` tokens, of which `eog_tokens` end an answer."""

    n_tokens: int
    eog_tokens: frozenset[int]

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token."""

    def tokenize(self, text: bytes) -> list[int]:
        """Return the tokens of a text."""


class JumpForward:
    """Finds forced tokens; what it found is remembered by grammar and text, for homes say the same things again."""

    def __init__(self, vocab: Pieces) -> None:
        self._vocab = vocab
        ordinary = (token for token in range(vocab.n_tokens) if token not in vocab.eog_tokens)
        pieces = sorted((piece, token) for token in ordinary if (piece := vocab.piece(token)))
        self._pieces = [piece for piece, _ in pieces]
        self._tokens = [token for _, token in pieces]
        self._bytes = {piece[0]: token for piece, token in reversed(pieces) if len(piece) == 1}
        self._probe = [*self._bytes.values(), *sorted(vocab.eog_tokens)]
        self._known: OrderedDict[tuple[str, bytes], tuple[int, ...]] = OrderedDict()

    def tokens(self, state: State, grammar: str, text: bytes) -> tuple[int, ...]:
        """Return the tokens that must follow. `state` is where `grammar` stands after `text`; it is not changed."""
        key = grammar, text
        if key not in self._known:
            self._known[key] = self._find(state)
            if len(self._known) > _N_REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _find(self, state: State) -> tuple[int, ...]:
        forced = self._forced_text(state)
        if not forced:
            return ()
        tokens = self._vocab.tokenize(forced)
        if b"".join(map(self._vocab.piece, tokens)) != forced:  # a vocabulary that puts a space before every text
            return ()
        return self._certain(state, tokens, forced)

    def _forced_text(self, state: State) -> bytes:
        """Return the bytes that must follow, whole characters only."""
        token = self._only(state)
        if token is None:
            return b""
        text = bytearray()
        ahead = state.clone()
        try:
            while token is not None and len(text) < MAX_FORCED_BYTES:
                text += self._vocab.piece(token)
                ahead.accept(token)
                token = self._only(ahead)
        finally:
            ahead.close()
        return bytes(text).decode("utf-8", errors="ignore").encode()

    def _only(self, state: State) -> int | None:
        """Return the token of the only byte that may come next, None if there are several, or the answer may end."""
        allowed = state.allowed(self._probe)
        return allowed[0] if len(allowed) == 1 and allowed[0] not in self._vocab.eog_tokens else None

    def _certain(self, state: State, tokens: list[int], text: bytes) -> tuple[int, ...]:
        """Return the first of `tokens`, up to where a longer token could stand for the rest of `text` and more."""
        ahead = state.clone()
        try:
            for n_certain, token in enumerate(tokens):
                longer = self._longer_than(text)
                if longer and ahead.allowed(longer):
                    return tuple(tokens[:n_certain])
                ahead.accept(token)
                text = text[len(self._vocab.piece(token)) :]
        finally:
            ahead.close()
        return tuple(tokens)

    def _longer_than(self, text: bytes) -> list[int]:
        """Return the tokens that begin with `text` and go on."""
        first = bisect_left(self._pieces, text + b"\0")
        last = bisect_left(self._pieces, text + bytes([_HIGHEST_BYTE]) * 8)
        return self._tokens[first:last]
