"""The model in the C library: loads it, computes batches, copies and drops sequences, and audits what it remembers.

The runner knows no policy: it does what a batch says. It is used by one thread at a time.
"""

from __future__ import annotations

import ctypes
import logging
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import llama_cpp
import numpy as np

from zoe_server.llama.config import physical_cores
from zoe_server.llama.tokenizer import Vocab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zoe_server.llama.config import EngineConfig
    from zoe_server.llama.memory import MemoryOperation
    from zoe_server.llama.scheduler import Batch
    from zoe_server.llama.sequence import Sequence

_LOG: Final = logging.getLogger(__name__)
_GGML_LEVELS: Final = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}
_CONTINUES_LAST: Final = 5
_FTYPE_PREFIX: Final = re.compile("LLAMA_FTYPE_(MOSTLY|ALL)_")
_QUANTIZATIONS: Final = {
    value: _FTYPE_PREFIX.sub("", name) for name, value in vars(llama_cpp).items() if _FTYPE_PREFIX.match(name)
}
_MAX_METADATA_BYTES: Final = 1 << 20
_NO_FREE_CELL: Final = 1
_WARM_UP_TOKENS: Final = 64


class ModelLoadError(Exception):
    """The model file cannot be used; the message says why and what to do."""


class NoFreeCellError(Exception):
    """The library found no KV cells for a batch; nothing has changed."""


class FatalDecodeError(Exception):
    """The library's state is unknown after a failure: the process has to be restarted."""


@dataclass(frozen=True, slots=True)
class Output:
    """The logits in `row` of the last decode belong to `sequence`, which wants a token."""

    sequence: Sequence
    row: int


class _LibraryLog:
    """Takes the library's messages: warnings and errors go to `logging`; the last errors explain a failure."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=8)
        self._level = logging.DEBUG
        self._callback = llama_cpp.llama_log_callback(self._take)

    def install(self) -> None:
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes, _user_data: object) -> None:
        if level != _CONTINUES_LAST:
            self._level = _GGML_LEVELS.get(level, logging.DEBUG)
        message = text.decode("utf-8", errors="replace").strip()
        if message and self._level >= logging.ERROR:
            self.errors.append(message)
        if message and self._level >= logging.WARNING:
            _LOG.log(self._level, "llama.cpp: %s", message)


_library_log = _LibraryLog()


class _TokenBatch:
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
        self.n_tokens = 0

    def add(self, tokens: list[int], start: int, slot: int, *, wants_logits: bool) -> int:
        """Append tokens at positions `start`...; return the row of the last one."""
        first, end = self.n_tokens, self.n_tokens + len(tokens)
        self._tokens[first:end] = tokens
        self._positions[first:end] = range(start, start + len(tokens))
        self._slots[first:end] = slot
        self._wants_logits[first:end] = 0
        self._wants_logits[end - 1] = wants_logits
        self.n_tokens = end
        return end - 1

    def native(self) -> llama_cpp.llama_batch:
        self._batch.n_tokens = self.n_tokens
        return self._batch


class Runner:
    """One loaded model with one context of `n_cells` unified KV cells.

    Raises:
        ModelLoadError: the file is missing, broken, of an unsupported architecture, or too big for the memory.
    """

    def __init__(self, config: EngineConfig) -> None:
        _library_log.install()
        _library_log.errors.clear()
        llama_cpp.llama_backend_init()
        self._config = config
        self._model = _load_model(config)
        self.vocab = Vocab(_not_null(llama_cpp.llama_model_get_vocab(self._model)))
        self.context = self._make_context()
        self._memory = _not_null(llama_cpp.llama_get_memory(self.context))
        self.n_cells: int = llama_cpp.llama_n_ctx(self.context)
        self.n_ctx_tokens = min(self.n_cells, llama_cpp.llama_model_n_ctx_train(self._model) or self.n_cells)
        self._batch = _TokenBatch(config.n_batch_tokens)

    def metadata(self, key: str) -> str | None:
        """Return a value of the model file's header as text, None if it is not there."""
        return _metadata(self._model, key)

    def header(self) -> dict[str, str]:
        """Return the values of the model file's header as text; lists are not among them."""
        keys = [_key(self._model, index) for index in range(llama_cpp.llama_model_meta_count(self._model))]
        return {key: value for key in keys if key and (value := self.metadata(key)) is not None}

    def info(self) -> dict[str, Any]:
        """Return what the engine reports about its model; sizes in bytes and tokens, times in seconds since 1970."""
        file = self._config.model_path.stat()
        return {
            "name": self.metadata("general.name") or self._config.model_path.stem,
            "architecture": self.metadata("general.architecture"),
            "n_ctx_tokens": self.n_ctx_tokens,
            "n_kv_cells": self.n_cells,
            "n_slots": self._config.n_slots,
            "n_vocab": self.vocab.n_tokens,
            "n_parameters": llama_cpp.llama_model_n_params(self._model),
            "weights_bytes": llama_cpp.llama_model_size(self._model),
            "file_bytes": file.st_size,
            "file_modified_s": int(file.st_mtime),
            "quantization": _QUANTIZATIONS.get(
                llama_cpp.llama_model_ftype(self._model) & ~llama_cpp.LLAMA_FTYPE_GUESSED
            ),
            "gpu_share": self._gpu_share(),
        }

    def apply(self, operations: Iterable[MemoryOperation]) -> None:
        """Copy and drop what `operations` say, in their order."""
        for operation in operations:
            if operation.kind == "copy":
                llama_cpp.llama_memory_seq_cp(self._memory, operation.source, operation.slot, 0, operation.length)
            elif not llama_cpp.llama_memory_seq_rm(self._memory, operation.slot, operation.length, -1):
                raise FatalDecodeError(f"the KV cache cannot cut sequence {operation.slot} at {operation.length}")

    def decode(self, batch: Batch) -> list[Output]:
        """Do the batch's memory operations, compute its chunks, and return where the wanted logits are.

        Raises:
            NoFreeCellError: too few KV cells; only the memory operations were done.
            FatalDecodeError: anything else went wrong.
        """
        self.apply(batch.operations)
        self._batch.clear()
        outputs: list[Output] = []
        for chunk in batch.chunks:
            row = self._batch.add(chunk.tokens, chunk.start, chunk.slot, wants_logits=chunk.samples)
            if chunk.samples:
                outputs.append(Output(chunk.sequence, row))
        self._decode()
        return outputs

    def warm_up(self) -> None:
        """Compute a prompt chunk and a decode step for real, so that a broken build fails now and not in a request."""
        token = max(0, llama_cpp.llama_vocab_bos(self.vocab.pointer))
        n_tokens = min(_WARM_UP_TOKENS, self._config.n_batch_tokens)
        for start, tokens in ((0, [token] * n_tokens), (n_tokens, [token])):
            self._batch.clear()
            self._batch.add(tokens, start, 0, wants_logits=True)
            self._decode()
        self.clear()

    def audit(self, lengths: list[int]) -> list[int]:
        """Return the slots of which the library does not hold exactly `lengths[slot]` tokens."""
        held = [llama_cpp.llama_memory_seq_pos_max(self._memory, slot) + 1 for slot in range(len(lengths))]
        return [slot for slot, length in enumerate(lengths) if held[slot] != length]

    def clear(self) -> None:
        """Drop every sequence."""
        llama_cpp.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Give context and model back; nothing of the runner may be used afterwards."""
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self._model)

    def _gpu_share(self) -> float:
        """Return the part of the layers that a GPU computes; the output counts as one of them, as in llama.cpp."""
        if not llama_cpp.llama_supports_gpu_offload():
            return 0.0
        n_layers: int = llama_cpp.llama_model_n_layer(self._model) + 1
        n_on_gpu = self._config.n_gpu_layers if self._config.n_gpu_layers >= 0 else n_layers
        return min(n_on_gpu, n_layers) / n_layers

    def _decode(self) -> None:
        code = llama_cpp.llama_decode(self.context, self._batch.native())
        if code == _NO_FREE_CELL:
            raise NoFreeCellError
        if code != 0:
            reasons = "; ".join(_library_log.errors) or "no message"
            raise FatalDecodeError(f"llama_decode failed with code {code}: {reasons}")

    def _make_context(self) -> int:
        config = self._config
        n_threads = config.n_threads or physical_cores()
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = config.n_ctx_tokens
        params.n_batch = params.n_ubatch = config.n_batch_tokens
        params.n_seq_max = config.n_slots
        params.n_outputs_max = config.n_slots  # one row of logits per sequence; the default makes room for n_batch rows
        params.n_threads = params.n_threads_batch = n_threads
        params.kv_unified = True  # a partial seq_cp aborts the process without it
        params.swa_full = True  # a shared prefix must stay whole where the model's attention has a window
        params.no_perf = True
        context: int | None = llama_cpp.llama_init_from_model(self._model, params)
        if not context:
            llama_cpp.llama_model_free(self._model)
            raise ModelLoadError(
                f"no context of {config.n_ctx_tokens} tokens for {config.model_path.name}: {_reasons()}. "
                "If memory is short, give the model a smaller context."
            )
        return context


def _load_model(config: EngineConfig) -> int:
    path = config.model_path
    if not path.is_file():
        raise ModelLoadError(f"the model file {path} does not exist")
    _refuse_unsupported(path.name, bytes(path))
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = config.n_gpu_layers
    model: int | None = llama_cpp.llama_model_load_from_file(bytes(path), params)
    if not model:
        raise ModelLoadError(f"{path.name} cannot be loaded: {_reasons()}")
    return model


def _refuse_unsupported(name: str, path: bytes) -> None:
    """Read only the header; raise ModelLoadError for an architecture whose memory cannot be cut and shared by token."""
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(path, params)
    if not model:
        raise ModelLoadError(f"{name} is not a readable GGUF model: {_reasons()}")
    try:
        architecture = _metadata(model, "general.architecture")
        if llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model):
            raise ModelLoadError(
                f"{name} is of the recurrent architecture '{architecture}', whose state cannot be shared by prefix; "
                "use a transformer model instead"
            )
        if llama_cpp.llama_model_has_encoder(model) or llama_cpp.llama_model_is_diffusion(model):
            raise ModelLoadError(f"{name} is of the architecture '{architecture}', which is no causal language model")
    finally:
        llama_cpp.llama_model_free(model)


def _metadata(model: int, key: str) -> str | None:
    return _text(lambda buffer, size: llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, size))


def _key(model: int, index: int) -> str | None:
    return _text(lambda buffer, size: llama_cpp.llama_model_meta_key_by_index(model, index, buffer, size))


def _text(write: Callable[[ctypes.Array[ctypes.c_char], int], int]) -> str | None:
    """Return what `write` puts in a buffer, which it says the length of; None if that is negative or absurd."""
    capacity = 256
    while capacity <= _MAX_METADATA_BYTES:
        buffer = ctypes.create_string_buffer(capacity)
        needed = write(buffer, capacity)
        if needed < 0:
            return None
        if needed < capacity:
            return buffer.value.decode("utf-8", errors="replace")
        capacity = needed + 1
    return None


def _reasons() -> str:
    return "; ".join(dict.fromkeys(_library_log.errors)) or "llama.cpp gives no reason"


def _pointer(array: np.ndarray[Any, Any], kind: Any) -> Any:  # noqa: ANN401 -- ctypes builds pointer types at run time
    return array.ctypes.data_as(kind)


def _not_null(pointer: int | None) -> int:
    if not pointer:
        raise ModelLoadError("llama.cpp returned a null pointer")
    return pointer
