"""A model's vocabulary: text to tokens and back, through the C library."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

import llama_cpp

from zoe_server.llama.prompt.control_text import ControlText, Strips

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE_BYTES = 256
_MORE_ENDS = (b"<start_function_response>",)
"""Tokens with which a model hands over to a tool, and which llama.cpp does not know to end the generation."""


class Vocab:
    """Wraps a `llama_vocab`, which lives as long as its model. Reading it is safe from any thread."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer
        self.n_tokens = llama_cpp.llama_vocab_n_tokens(pointer)
        self._pieces: dict[int, bytes] = {}
        ends = (t for t in range(self.n_tokens) if llama_cpp.llama_vocab_is_eog(pointer, t))
        self.eog_tokens = frozenset(ends) | self._more_ends()

    @property
    def tokenize_address(self) -> int:
        """Where the library's `llama_tokenize` lies, for libraries that call it themselves."""
        address = ctypes.cast(llama_cpp.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value
        return address or 0

    @property
    def bos_text(self) -> str:
        """The text of the token that begins a prompt, empty if there is none."""
        return self._text(llama_cpp.llama_vocab_bos(self.pointer))

    @property
    def eos_text(self) -> str:
        """The text of the token that ends an answer, empty if there is none."""
        return self._text(llama_cpp.llama_vocab_eos(self.pointer))

    @functools.cached_property
    def control_tokens(self) -> frozenset[int]:
        """The tokens that steer the model and are no text."""
        attributes = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        return frozenset(
            t for t in range(self.n_tokens) if llama_cpp.llama_vocab_get_attr(self.pointer, t) & attributes
        )

    @functools.cached_property
    def control_text(self) -> ControlText:
        """What tells these tokens from content that looks like them."""
        return ControlText({self._text(token): self._strips(token) for token in self.control_tokens})

    def tokenize_chat(self, prompt: str) -> list[int]:
        """Return the tokens of a rendered chat, or of some of it, in which sentinels mark what is content."""
        pieces = self.control_text.pieces(prompt)
        return [token for piece in pieces for token in self._tokens(piece.text, parse_special=piece.has_markers)]

    def tokenize_raw(self, text: str) -> list[int]:
        """Return the tokens of a whole prompt whose writer knows the model's control tokens."""
        return self.opening(text) + self._tokens(text)

    def _tokens(self, text: str, *, parse_special: bool = True) -> list[int]:
        """Return the tokens of `text`; lone surrogates, which JSON allows, become question marks."""
        return self.tokenize(text.encode("utf-8", errors="replace"), parse_special=parse_special)

    def _strips(self, token: int) -> Strips:
        attributes = llama_cpp.llama_vocab_get_attr(self.pointer, token)
        left, right = llama_cpp.LLAMA_TOKEN_ATTR_LSTRIP, llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP
        return Strips(bool(attributes & left), bool(attributes & right))

    def opening(self, text: str) -> list[int]:
        """Return the beginning-of-sequence token if the vocabulary asks for it and the prompt `text` lacks it."""
        bos = self.bos_text
        add_bos = llama_cpp.llama_vocab_get_add_bos(self.pointer) and bos and not text.startswith(bos)
        return [llama_cpp.llama_vocab_bos(self.pointer)] if add_bos else []

    def tokenize(self, text: bytes, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
        """Return the tokens of `text`.

        `add_special` adds those that the vocabulary wants at the ends of a text; `parse_special` recognises the texts
        of special tokens.
        """
        capacity = len(text) + 16
        while True:
            buffer = (llama_cpp.llama_token * capacity)()
            count = llama_cpp.llama_tokenize(
                self.pointer, text, len(text), buffer, capacity, add_special, parse_special
            )
            if count >= 0:
                return buffer[:count]
            capacity = -count

    def piece(self, token: int) -> bytes:
        """Return the bytes that `token` adds to a text; special tokens such as `<tool_call>` are written out."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._read_piece(token)
        return known

    def detokenize(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes of `tokens` in a row."""
        return b"".join(self.piece(token) for token in tokens)

    def _more_ends(self) -> frozenset[int]:
        if llama_cpp.llama_vocab_type(self.pointer) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            return frozenset()
        found = ((text, self.tokenize(text)) for text in _MORE_ENDS)
        return frozenset(tokens[0] for text, tokens in found if len(tokens) == 1 and self.piece(tokens[0]) == text)

    def _read_piece(self, token: int) -> bytes:
        capacity = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(capacity)
            count = llama_cpp.llama_token_to_piece(self.pointer, token, buffer, capacity, 0, True)
            if count >= 0:
                return buffer.raw[:count]
            capacity = -count

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        text: bytes = llama_cpp.llama_vocab_get_text(self.pointer, token) or b""
        return text.decode("utf-8", errors="replace")
