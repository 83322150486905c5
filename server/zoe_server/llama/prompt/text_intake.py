"""Text to tokens and back for those who ask: what every kind of model can do. It runs beside the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zoe_server.errors import ContextSizeError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoe_server.llama.prompt.tokenizer import Vocab


_SHORT_CHARACTERS: Final = 8
"""A text of so many characters for each token of the context is read as a whole: it may well fit."""

_PART_CHARACTERS: Final = 1 << 14
_CUT_TOKENS: Final = 8
"""More tokens than a cut between two parts of a text adds."""


class TextIntake:
    """Knows one model's vocabulary, and its context of `n_ctx_tokens`."""

    def __init__(self, vocab: Vocab, n_ctx_tokens: int) -> None:
        self._vocab = vocab
        self._n_ctx_tokens = n_ctx_tokens

    def check_length(self, text: str, param: str | None = None) -> None:
        """Raise a `ContextSizeError` that names `param` if a long text has more tokens than the context holds.

        It reads no more of the text than is necessary, so that megabytes that cannot be used cost nobody any time.
        """
        read = self._too_many(text)
        if read is not None:
            n_characters, n_tokens = read
            estimate = n_tokens * len(text) // n_characters
            raise ContextSizeError(estimate, self._n_ctx_tokens, param, estimated=True)

    def beginning(self, text: str) -> str:
        """Return as much of a long text as fills the context for sure."""
        read = self._too_many(text)
        return text if read is None else text[: read[0]]

    def _too_many(self, text: str) -> tuple[int, int] | None:
        """Return how many characters of a long text have more tokens than the context, and how many; None: all fit."""
        if len(text) <= _SHORT_CHARACTERS * self._n_ctx_tokens:
            return None
        n_tokens = 0
        for end in range(_PART_CHARACTERS, len(text) + _PART_CHARACTERS, _PART_CHARACTERS):
            n_tokens += len(self.tokenize(text[end - _PART_CHARACTERS : end], add_special=False, parse_special=True))
            if n_tokens - end // _PART_CHARACTERS * _CUT_TOKENS > self._n_ctx_tokens:
                return min(end, len(text)), n_tokens
        return None

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Return the tokens of `text`; see `Vocab.tokenize`."""
        return self._vocab.tokenize(
            text.encode("utf-8", errors="replace"), add_special=add_special, parse_special=parse_special
        )

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`.

        Raises:
            InvalidRequestError: one of them is not in the vocabulary.
        """
        self.check_tokens(tokens, "tokens")
        return self._vocab.detokenize(tokens).decode("utf-8", errors="replace")

    def check_tokens(self, tokens: Sequence[int], param: str) -> None:
        """Raise an `InvalidRequestError` that names `param` if one of `tokens` is not in the vocabulary."""
        for token in tokens:
            if not 0 <= token < self._vocab.n_tokens:
                raise InvalidRequestError(
                    f"{param}: {token} is not a token of this model; they go from 0 to {self._vocab.n_tokens - 1}",
                    param=param,
                )
