"""A model's file in the C library: loads it, refuses what cannot be served, and reads its header."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

import llama_cpp

from zoe_server.llama import library_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_METADATA_BYTES: Final = 1 << 20


class ModelLoadError(Exception):
    """The model file cannot be used; the message says why and what to do."""


def load(path: Path, n_gpu_layers: int) -> int:
    """Return the loaded model, the library's pointer; a negative `n_gpu_layers` means all layers.

    Raises:
        ModelLoadError: the file is missing, broken, or of an unsupported architecture.
    """
    if not path.is_file():
        raise ModelLoadError(f"the model file {path} does not exist")
    _refuse_unsupported(path.name, bytes(path))
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = n_gpu_layers
    model: int | None = llama_cpp.llama_model_load_from_file(bytes(path), params)
    if not model:
        raise ModelLoadError(f"{path.name} cannot be loaded: {library_log.reasons()}")
    return model


def _refuse_unsupported(name: str, path: bytes) -> None:
    """Read only the header; raise ModelLoadError for an architecture whose memory cannot be cut and shared by token."""
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(path, params)
    if not model:
        raise ModelLoadError(f"{name} is not a readable GGUF model: {library_log.reasons()}")
    try:
        architecture = metadata(model, "general.architecture")
        if llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model):
            raise ModelLoadError(
                f"{name} is of the recurrent architecture '{architecture}', whose state cannot be shared by prefix; "
                "use a transformer model instead"
            )
        if llama_cpp.llama_model_has_encoder(model) or llama_cpp.llama_model_is_diffusion(model):
            raise ModelLoadError(f"{name} is of the architecture '{architecture}', which is no causal language model")
    finally:
        llama_cpp.llama_model_free(model)


def metadata(model: int, key: str) -> str | None:
    """Return a value of the header as text, None if it is not there."""
    return _text(lambda buffer, size: llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, size))


def header(model: int) -> dict[str, str]:
    """Return the values of the header as text; lists are not among them."""
    keys = [_key(model, index) for index in range(llama_cpp.llama_model_meta_count(model))]
    return {key: value for key in keys if key and (value := metadata(model, key)) is not None}


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
