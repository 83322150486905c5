"""Text to tokens and back for those who ask: what every kind of model can do. It runs beside the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoe_server.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoe_server.llama.prompt.tokenizer import Vocab


class TextIntake:
    """Knows one model's vocabulary."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab

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
