"""The model in the C library: computes batches, copies and drops sequences, and audits what it remembers.

The runner knows no policy: it does what a batch says. It is used by one thread at a time.
"""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import llama_cpp
import numpy as np

from zoe_server.llama import library_log, model_file
from zoe_server.llama.adapters import Adapters
from zoe_server.llama.compute_threads import ComputeThreads
from zoe_server.llama.config import physical_cores
from zoe_server.llama.model_file import ModelLoadError
from zoe_server.llama.prompt.tokenizer import Vocab
from zoe_server.llama.vision.picture_encoder import PictureEncoder

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from zoe_server.llama.cache.kv_cache import MemoryOperation
    from zoe_server.llama.config import EngineConfig
    from zoe_server.llama.model_file import HeaderValue
    from zoe_server.llama.scheduling.batch import Batch, Chunk
    from zoe_server.llama.scheduling.sequence import Sequence
    from zoe_server.llama.vision.picture_encoder import PromptPicture

_NO_FREE_CELL: Final = 1
_WARM_UP_TOKENS: Final = 64
_F32_BYTES: Final = 4
_MAX_SCORES_BYTES: Final = 128 << 20
_MIN_ATTENDED_TOKENS: Final = 32


class NoFreeCellError(Exception):
    """The library found no KV cells for a batch; nothing has changed."""


class FatalDecodeError(Exception):
    """The library's state is unknown after a failure: the process has to be restarted."""


@dataclass(frozen=True, slots=True)
class LogitsRow:
    """The logits in row `index` of the last decode belong to `sequence`, which wants a token.

    Those in the rows after it come after each token of the `draft`.
    """

    sequence: Sequence
    index: int
    draft: tuple[int, ...] = ()


class TokenBatch:
    """A `llama_batch` over our own arrays, filled by slices instead of token by token."""

    def __init__(self, n_tokens: int) -> None:
        self._tokens = np.zeros(n_tokens, dtype=np.int32)
        self._positions = np.zeros(n_tokens, dtype=np.int32)
        self._slots = np.zeros(n_tokens, dtype=np.int32)
        self._wants_logits = np.zeros(n_tokens, dtype=np.int8)
        self._one_slot = np.ones(n_tokens, dtype=np.int32)
        slot_pointers = self._slots.ctypes.data + 4 * np.arange(n_tokens, dtype=np.uintp)
        self._slot_pointers = np.ascontiguousarray(slot_pointers, dtype=np.uintp)
        self._batch = llama_cpp.llama_batch()
        ints = ctypes.POINTER(ctypes.c_int32)
        self._batch.token = _pointer(self._tokens, ints)
        self._batch.pos = _pointer(self._positions, ints)
        self._batch.n_seq_id = _pointer(self._one_slot, ints)
        self._batch.seq_id = _pointer(self._slot_pointers, ctypes.POINTER(ints))
        self._batch.logits = _pointer(self._wants_logits, ctypes.POINTER(ctypes.c_int8))
        self.n_tokens = 0

    def clear(self) -> None:
        """Remove all tokens."""
        self.n_tokens = 0

    def add(self, tokens: list[int] | array[int], start: int, slot: int, *, n_logits: int) -> int:
        """Append tokens at positions `start`...; the last `n_logits` want logits. Return the row of the last."""
        first, end = self.n_tokens, self.n_tokens + len(tokens)
        self._tokens[first:end] = tokens
        self._positions[first:end] = range(start, start + len(tokens))
        self._slots[first:end] = slot
        self._wants_logits[first:end] = 0
        self._wants_logits[end - n_logits : end] = 1
        self.n_tokens = end
        return end - 1

    def native(self) -> llama_cpp.llama_batch:
        """Return the batch as the library wants it; it lives as long as this object and follows its changes."""
        self._batch.n_tokens = self.n_tokens
        return self._batch


class Runner:
    """One loaded model with one context of `n_cells` unified KV cells; without `model`, the configured one is loaded.

    Raises:
        ModelLoadError: the file, or that of an adapter, is missing, broken, not supported, or too big for the memory.
    """

    def __init__(self, config: EngineConfig, model: int | None = None) -> None:
        self._config = config
        self._model = model_file.load(config.model_path, config.n_gpu_layers) if model is None else model
        self.vocab = Vocab(_not_null(llama_cpp.llama_model_get_vocab(self._model)))
        self._adapters = self._load_adapters()
        self._threads = ComputeThreads(config.n_threads or physical_cores())
        self._has_flash_attention = _has_flash_attention(config)
        self.context = self._make_context()
        self._memory = _not_null(llama_cpp.llama_get_memory(self.context))
        self.n_cells: int = llama_cpp.llama_n_ctx(self.context)
        self.n_ctx_tokens = min(self.n_cells, llama_cpp.llama_model_n_ctx_train(self._model) or self.n_cells)
        self._batch = TokenBatch(config.n_batch_tokens)
        self.picture_encoder = self._load_picture_encoder()

    def metadata(self, key: str) -> str | None:
        """Return a value of the model file's header as text, None if it is not there."""
        return model_file.metadata(self._model, key)

    def header(self) -> dict[str, HeaderValue]:
        """Return the header of the model file."""
        return model_file.header(self._model)

    def info(self) -> dict[str, Any]:
        """Return what the engine reports about its model, besides the `model_file.facts`; sizes in tokens."""
        return {
            **model_file.facts(self._model, self._config.model_path, self._config.n_gpu_layers),
            "n_ctx_tokens": self.n_ctx_tokens,
            "n_kv_cells": self.n_cells,
            "n_slots": self._config.n_slots,
            "n_vocab": self.vocab.n_tokens,
        }

    def apply(self, operations: Iterable[MemoryOperation]) -> None:
        """Copy and drop what `operations` say, in their order."""
        for operation in operations:
            if operation.kind == "copy":
                llama_cpp.llama_memory_seq_cp(self._memory, operation.source, operation.slot, 0, operation.end)
            elif not llama_cpp.llama_memory_seq_rm(self._memory, operation.slot, operation.end, -1):
                raise FatalDecodeError(f"the KV cache cannot cut sequence {operation.slot} at {operation.end}")

    def decode(self, batch: Batch) -> list[LogitsRow]:
        """Do the batch's memory operations, compute its chunks, and return where the wanted logits are.

        Raises:
            NoFreeCellError: too few KV cells; only the memory operations were done.
            FatalDecodeError: anything else went wrong.
        """
        self.apply(batch.operations)
        self._adapters.use(self.context, batch.adapter)
        if batch.chunks[0].picture is not None:
            self._decode_picture(batch.chunks[0], batch.chunks[0].picture)
            return []
        self._batch.clear()
        rows: list[LogitsRow] = []
        for chunk in batch.chunks:
            n_logits = chunk.samples + len(chunk.draft)
            last = self._batch.add([*chunk.tokens, *chunk.draft], chunk.start, chunk.slot, n_logits=n_logits)
            if chunk.samples:
                rows.append(LogitsRow(chunk.sequence, last - len(chunk.draft), chunk.draft))
        self._decode(urgent=not batch.has_prompts and any(c.sequence.priority == "interactive" for c in batch.chunks))
        return rows

    def read_state(self, slot: int, length: int, limit_bytes: int) -> NDArray[np.uint8] | None:
        """Return the library's state of the first `length` tokens of `slot`, for `write_state`.

        None if it has more than `limit_bytes`, for which nothing is allocated.

        Raises:
            MemoryError: there is no memory for it.
            FatalDecodeError: the library wrote less than it said.
        """
        spare = self._config.n_slots
        llama_cpp.llama_memory_seq_cp(self._memory, slot, spare, 0, length)
        try:
            size = llama_cpp.llama_state_seq_get_size(self.context, spare)
            if size > limit_bytes:
                return None
            state = np.empty(size, dtype=np.uint8)
            buffer = _pointer(state, ctypes.POINTER(ctypes.c_uint8))
            n_bytes = llama_cpp.llama_state_seq_get_data(self.context, buffer, state.nbytes, spare)
        finally:
            llama_cpp.llama_memory_seq_rm(self._memory, spare, -1, -1)
        if n_bytes != state.nbytes:
            raise FatalDecodeError(f"the state of a sequence has {n_bytes} bytes instead of {state.nbytes}")
        return state

    def write_state(self, slot: int, state: NDArray[np.uint8], length: int) -> bool:
        """Give the empty `slot` a state of `length` tokens; on False the library refused it, and the slot is empty."""
        buffer = _pointer(np.ascontiguousarray(state), ctypes.POINTER(ctypes.c_uint8))
        read = llama_cpp.llama_state_seq_set_data(self.context, buffer, state.nbytes, slot)
        if read and llama_cpp.llama_memory_seq_pos_max(self._memory, slot) + 1 == length:
            return True
        llama_cpp.llama_memory_seq_rm(self._memory, slot, -1, -1)
        return False

    def identity(self, adapter: str | None = None) -> dict[str, str | int | float]:
        """Return what a saved state depends on: the files, the library's build, and how the context was made."""
        stat = self._config.model_path.stat()
        return {
            "model": self._config.model_path.name,
            "model_bytes": stat.st_size,
            "model_changed_ns": stat.st_mtime_ns,
            "library": llama_cpp.__version__,
            "n_layers": llama_cpp.llama_model_n_layer(self._model),
            "swa_full": 1,
            "flash_attention": int(self._has_flash_attention),
            **({} if adapter is None else self._adapters.identity(adapter)),
        }

    def warm_up(self) -> None:
        """Compute a prompt chunk and a decode step for real, so that a broken build fails now and not in a request.

        With adapters, too: the library ends the process where it has no memory for the graphs of one.
        """
        token = max(0, llama_cpp.llama_vocab_bos(self.vocab.pointer))
        n_tokens = min(_WARM_UP_TOKENS, self._config.n_batch_tokens)
        for adapter in (*self._adapters.names, None):
            self._adapters.use(self.context, adapter)
            for start, tokens in ((0, [token] * n_tokens), (n_tokens, [token])):
                self._batch.clear()
                self._batch.add(tokens, start, 0, n_logits=1)
                self._decode()
            self.clear()

    def audit(self, tops: list[int]) -> list[int]:
        """Return the slots that do not reach by exactly `tops[slot]` positions in the library."""
        held = [llama_cpp.llama_memory_seq_pos_max(self._memory, slot) + 1 for slot in range(len(tops))]
        return [slot for slot, top in enumerate(tops) if held[slot] != top]

    def clear(self) -> None:
        """Drop every sequence."""
        llama_cpp.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Give context and model back, and with it the adapters; nothing of the runner may be used afterwards."""
        if self.picture_encoder is not None:
            self.picture_encoder.close()
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self._model)

    def _decode_picture(self, chunk: Chunk, picture: PromptPicture) -> None:
        if self.picture_encoder is None:
            raise FatalDecodeError("there is a picture, and nothing that could have read it")
        self._check(self.picture_encoder.decode(self.context, picture, chunk.start, chunk.slot))

    def _decode(self, *, urgent: bool = True) -> None:
        n_threads = self._threads.n_threads
        llama_cpp.llama_set_n_threads(self.context, n_threads, n_threads)
        self._threads.begin(urgent=urgent)
        code = llama_cpp.llama_decode(self.context, self._batch.native())
        self._threads.end()
        self._check(code)

    def _check(self, code: int) -> None:
        if code == _NO_FREE_CELL:
            raise NoFreeCellError
        if code != 0:
            raise FatalDecodeError(f"llama_decode failed with code {code}: {library_log.reasons()}")

    def _load_adapters(self) -> Adapters:
        try:
            return Adapters(self._model, self._config.adapters)
        except ModelLoadError:
            llama_cpp.llama_model_free(self._model)
            raise

    def _load_picture_encoder(self) -> PictureEncoder | None:
        if self._config.projector_path is None:
            return None
        return PictureEncoder(self._config, self._model)

    def _make_context(self) -> int:
        config = self._config
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = config.n_ctx_tokens
        params.n_batch = params.n_ubatch = config.n_batch_tokens
        if not self._has_flash_attention:
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
            params.n_ubatch = self._n_attended_tokens()
        params.n_seq_max = config.n_slots + 1  # one to spare, for reading the state of a part of a sequence
        # Rows of logits: one per sequence and token of a draft; the default makes room for n_batch rows.
        n_rows = min(config.n_slots * (1 + config.n_draft_tokens), config.n_batch_tokens)
        params.n_outputs_max = max(n_rows, params.n_seq_max)
        params.n_threads = params.n_threads_batch = self._threads.n_threads
        params.kv_unified = True  # a partial seq_cp aborts the process without it
        params.swa_full = True  # a shared prefix must stay whole where the model's attention has a window
        params.no_perf = True
        return model_file.make_context(self._model, params, config.model_path)

    def _n_attended_tokens(self) -> int:
        """Return how many tokens are computed together where each has a score for each cell and head, which takes room.

        A picture is computed in one piece.
        """
        config = self._config
        if config.projector_path is not None:
            return config.n_batch_tokens
        n_heads: int = llama_cpp.llama_model_n_head(self._model)
        score_bytes = config.n_ctx_tokens * n_heads * _F32_BYTES
        return min(config.n_batch_tokens, max(_MIN_ATTENDED_TOKENS, _MAX_SCORES_BYTES // max(1, score_bytes)))


def _pointer(array: np.ndarray[Any, Any], kind: Any) -> Any:  # noqa: ANN401 -- ctypes builds pointer types at run time
    return array.ctypes.data_as(kind)


def _has_flash_attention(config: EngineConfig) -> bool:
    """Return whether to compute attention without keeping its scores, which a configuration may say.

    Measured on x86 with llama-cpp-python 0.3.36: without scores, a token behind 3,000 others takes two to four times as
    long, a draft of eight three to seven times, and a prompt of 3,000 a tenth less.
    """
    if config.flash_attention is not None:
        return config.flash_attention
    on_gpu = config.n_gpu_layers != 0 and llama_cpp.llama_supports_gpu_offload()
    return bool(on_gpu) or platform.machine() not in ("x86_64", "AMD64")


def _not_null(pointer: int | None) -> int:
    if not pointer:
        raise ModelLoadError("llama.cpp returned a null pointer")
    return pointer
