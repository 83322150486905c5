"""Where the tokens of a prompt with pictures stand: which of them are pictures, and the positions of all of them.

A picture takes cells of the KV cache like so many tokens. In a sequence it is tokens, too: numbers below zero, made of
its content, so that equal pictures are equal tokens and no vocabulary has them. Its cells are computed in one step of
its own. A model with positions in several dimensions (M-RoPE; Qwen2-VL, Wang et al. 2024) gives all of a picture's
cells the same position in the dimension that counts, and goes on behind it as many positions further as the picture
is wide or high. This module knows no pictures, only how many cells they take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_INDEX_BITS: Final = 20
_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class PictureSpan:
    """Tokens `start` up to `end` are a picture, behind which positions go on `n_positions` further.

    The highest position among its cells is `n_top` - 1 further than the first.
    """

    start: int
    n_tokens: int
    n_positions: int
    n_top: int

    @property
    def end(self) -> int:
        """Index of the first token behind it."""
        return self.start + self.n_tokens


class Layout:
    """The pictures of one sequence, in their order."""

    def __init__(self, spans: Sequence[PictureSpan] = ()) -> None:
        self.spans = tuple(spans)

    def position(self, index: int) -> int:
        """Return the position of token `index`, which is not inside a picture; its first token is not."""
        return index - sum(span.n_tokens - span.n_positions for span in self.spans if span.end <= index)

    def top(self, length: int) -> int:
        """Return by how many positions the first `length` tokens reach, 0 for none; no picture is cut by them."""
        last = next((span for span in self.spans if span.end == length), None)
        return self.position(length) if last is None else self.position(last.start) + last.n_top

    def n_text(self, index: int, limit: int) -> int:
        """Return how many tokens from `index` on are text, at most `limit`."""
        ahead = (span.start - index for span in self.spans if span.start >= index)
        return min([limit, *ahead])


TEXT_ONLY: Final = Layout()


def picture_tokens(key: bytes, count: int) -> list[int]:
    """Return the tokens of a picture; `key` is a digest of its content of at least 16 bytes."""
    base = int.from_bytes(key[:_KEY_BYTES]) << _INDEX_BITS
    return [-1 - (base | index) for index in range(count)]


def is_text(token: int) -> bool:
    """Return whether a token is one of the vocabulary, and no part of a picture."""
    return token >= 0
