"""From a request for embeddings to the tokens of its texts."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from zoe_server.errors import ContextSizeError, InvalidRequestError
from zoe_server.llama.embedding.queue import EmbedJob
from zoe_server.llama.prompt.text_intake import TextIntake

if TYPE_CHECKING:
    from zoe_server.protocol import EmbedRequest


class EmbeddingIntake(TextIntake):
    """Reads for an embedding model, whose context bounds one text."""

    def prepare(self, request: EmbedRequest, arrived_s: float) -> EmbedJob:
        """Return the job of `request`, which came at `arrived_s`.

        Raises:
            InvalidRequestError: an input is empty, or holds what is no token.
            ContextSizeError: an input is too long, and the request does not want it cut.
        """
        several = len(request.inputs) > 1
        texts = [
            self._tokens(item, f"input[{index}]" if several else "input", truncate=request.truncate)
            for index, item in enumerate(request.inputs)
        ]
        return EmbedJob(request.id, texts, arrived_s)

    def _tokens(self, item: str | tuple[int, ...], path: str, *, truncate: bool) -> array[int]:
        tokens = self._text_tokens(item, path, truncate=truncate) if isinstance(item, str) else list(item)
        if not item or not tokens:
            raise InvalidRequestError(f"{path}: an empty text has no embedding", param=path)
        if len(tokens) > self._n_ctx_tokens:
            if not truncate:
                raise ContextSizeError(len(tokens), self._n_ctx_tokens, path)
            tokens = self._cut(tokens)
        self.check_tokens(tokens, path)
        return array("i", tokens)  # many wait at once, and a list takes nine times the memory

    def _text_tokens(self, text: str, path: str, *, truncate: bool) -> list[int]:
        if truncate:
            text = self.beginning(text)
        else:
            self.check_length(text, path)
        return self.tokenize(text, add_special=True, parse_special=False)

    def _cut(self, tokens: list[int]) -> list[int]:
        """Return as many tokens as fit, with what the vocabulary puts at the end of a text where it ended so before."""
        ends = self.tokenize("", add_special=True, parse_special=True)[-1:]
        last = ends if ends == tokens[-1:] else []
        return tokens[: self._n_ctx_tokens - len(last)] + last
