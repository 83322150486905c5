"""An embedding model in the C library: computes the vectors of texts, several at a time.

It knows no policy and no text, only tokens, and is used by one thread at a time. An encoder keeps nothing between two
calls; a causal model's cache is emptied before each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import llama_cpp
import numpy as np

from zoe_server.llama import library_log, model_file
from zoe_server.llama.config import physical_cores
from zoe_server.llama.prompt.tokenizer import Vocab
from zoe_server.llama.runner import FatalDecodeError, TokenBatch

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoe_server.llama.config import EngineConfig
    from zoe_server.llama.model_file import HeaderValue

_MAX_TEXTS: Final = 64
_WARM_UP_TOKENS: Final = 64


class EmbeddingRunner:
    """One loaded embedding model and its context. `n_ctx_tokens` bounds one text.

    `n_batch_tokens` and `n_texts` bound those that are computed together; a longer text is computed alone.

    Raises:
        ModelLoadError: there is too little memory.
    """

    def __init__(self, config: EngineConfig, model: int) -> None:
        self._config = config
        self._model = model
        self.vocab = Vocab(llama_cpp.llama_model_get_vocab(model))
        self.pooling = model_file.pooling(model)
        self.n_ctx_tokens = min(config.n_ctx_tokens, llama_cpp.llama_model_n_ctx_train(model) or config.n_ctx_tokens)
        self.n_batch_tokens = min(config.n_batch_tokens, self.n_ctx_tokens)
        self.n_texts = min(_MAX_TEXTS, self.n_batch_tokens)
        self.dimensions: int = llama_cpp.llama_model_n_embd_out(model)
        # In a causal model the last token has seen all others, however many calls computed them. All else needs the
        # whole text in one call.
        in_pieces = self.pooling == "last" and model_file.is_causal(model)
        self._n_call_tokens = self.n_batch_tokens if in_pieces else self.n_ctx_tokens
        self._batch = TokenBatch(self._n_call_tokens)
        self._context = self._make_context()
        self._memory = llama_cpp.llama_get_memory(self._context)

    def header(self) -> dict[str, HeaderValue]:
        """Return the header of the model file."""
        return model_file.header(self._model)

    def info(self) -> dict[str, Any]:
        """Return what the engine reports about its model, besides the `model_file.facts`; sizes in tokens."""
        return {
            **model_file.facts(self._model, self._config.model_path, self._config.n_gpu_layers),
            "n_ctx_tokens": self.n_ctx_tokens,
            "n_vocab": self.vocab.n_tokens,
            "dimensions": self.dimensions,
            "pooling": self.pooling,
        }

    def embed(self, texts: Sequence[list[int] | array[int]]) -> NDArray[np.float32]:
        """Return the vectors of `texts`, of shape (texts, dimensions), each of length 1; one that has none is NaN.

        Raises:
            FatalDecodeError: the library failed.
        """
        if self._memory:
            llama_cpp.llama_memory_clear(self._memory, True)
        if len(texts) == 1:
            for start in range(0, len(texts[0]), self._n_call_tokens):
                self._compute([texts[0][start : start + self._n_call_tokens]], start)
        else:
            self._compute(texts)
        return np.stack([self._vector(slot) for slot in range(len(texts))])

    def warm_up(self) -> None:
        """Compute a text for real, so that a broken build fails now and not in a request."""
        token = max(0, llama_cpp.llama_vocab_bos(self.vocab.pointer))
        self.embed([[token] * min(_WARM_UP_TOKENS, self.n_batch_tokens)])

    def close(self) -> None:
        """Give context and model back; nothing of the runner may be used afterwards."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def _compute(self, texts: Sequence[list[int] | array[int]], start: int = 0) -> None:
        self._batch.clear()
        for slot, tokens in enumerate(texts):
            self._batch.add(tokens, start, slot, n_logits=len(tokens))
        compute = llama_cpp.llama_decode if self._memory else llama_cpp.llama_encode
        code = compute(self._context, self._batch.native())
        if code != 0:
            raise FatalDecodeError(f"llama.cpp computed no embeddings, code {code}: {library_log.reasons()}")

    def _vector(self, slot: int) -> NDArray[np.float32]:
        pointer = llama_cpp.llama_get_embeddings_seq(self._context, slot)
        if not pointer:
            raise FatalDecodeError("llama.cpp has no embedding of a text that it computed")
        vector = np.ctypeslib.as_array(pointer, (self.dimensions,)).astype(np.float64)
        length = float(np.linalg.norm(vector))
        return (vector / (length if 0 < length < np.inf else np.nan)).astype(np.float32)

    def _make_context(self) -> int:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = self.n_ctx_tokens
        params.n_batch = params.n_ubatch = self._n_call_tokens
        params.n_seq_max = self.n_texts
        params.n_threads = params.n_threads_batch = self._config.n_threads or physical_cores()
        params.embeddings = True
        params.kv_unified = True
        params.no_perf = True
        return model_file.make_context(self._model, params, self._config.model_path)
