"""A model's file in the C library: loads it, refuses what cannot be served, and reads its header."""

from __future__ import annotations

import ctypes
import math
import re
from typing import TYPE_CHECKING, Any, Final

import llama_cpp

from zoe_server.llama import library_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_METADATA_BYTES: Final = 1 << 20
_TEMPLATE: Final = "tokenizer.chat_template"
_NUMBERS_OF_GENERAL: Final = re.compile(r"general\.(alignment|file_type|quantization_version|sampling\..+|\w+\.count)")
_WHOLE: Final = re.compile(r"-?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"-?[0-9]+\.[0-9]+")
_FTYPE_PREFIX: Final = re.compile("LLAMA_FTYPE_(MOSTLY|ALL)_")
_QUANTIZATIONS: Final = {
    value: _FTYPE_PREFIX.sub("", name) for name, value in vars(llama_cpp).items() if _FTYPE_PREFIX.match(name)
}
_POOLINGS: Final = {
    llama_cpp.LLAMA_POOLING_TYPE_MEAN: "mean",
    llama_cpp.LLAMA_POOLING_TYPE_CLS: "cls",
    llama_cpp.LLAMA_POOLING_TYPE_LAST: "last",
}

HeaderValue = str | int | float | bool


class ModelLoadError(Exception):
    """The model file cannot be used; the message says why and what to do."""


def load(path: Path, n_gpu_layers: int, progress: Callable[[float], None] | None = None) -> int:
    """Return the loaded model, the library's pointer; a negative `n_gpu_layers` means all layers.

    `progress` is called with how much of it is loaded, 0 to 1, with every percent.

    Raises:
        ModelLoadError: the file is missing, broken, or of an unsupported architecture.
    """
    library_log.install()
    llama_cpp.llama_backend_init()
    if not path.is_file():
        raise ModelLoadError(f"the model file {path} does not exist")
    _refuse_unsupported(path.name, bytes(path))
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = n_gpu_layers
    watcher = _progress_callback(progress)
    if progress is not None:
        params.progress_callback = watcher
    model: int | None = llama_cpp.llama_model_load_from_file(bytes(path), params)
    if not model:
        raise ModelLoadError(f"{path.name} cannot be loaded: {library_log.reasons()}")
    return model


def make_context(model: int, params: llama_cpp.llama_context_params, path: Path) -> int:
    """Return a context of the `model` that was loaded from `path`; without one the model is given back.

    Raises:
        ModelLoadError: there is too little memory.
    """
    context: int | None = llama_cpp.llama_init_from_model(model, params)
    if not context:
        llama_cpp.llama_model_free(model)
        raise ModelLoadError(
            f"no context of {params.n_ctx} tokens for {path.name}: {library_log.reasons()}. "
            "If memory is short, give the model a smaller context."
        )
    return context


def _progress_callback(progress: Callable[[float], None] | None) -> Any:  # noqa: ANN401 -- a type that ctypes builds
    """Return what the library calls, which has to live as long as it loads."""
    percent = -1

    def take(share: float, _user_data: object) -> bool:
        nonlocal percent
        if progress is not None and int(100 * share) != percent:
            percent = int(100 * share)
            progress(percent / 100)
        return True

    return llama_cpp.llama_progress_callback(take)


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
        _refuse_other_encoders(model, name)
    finally:
        llama_cpp.llama_model_free(model)


def _refuse_other_encoders(model: int, name: str) -> None:
    """Raise ModelLoadError for a model that neither writes nor says how to make a text's vector."""
    given = _architecture_value(model, "pooling_type")
    if given == str(llama_cpp.LLAMA_POOLING_TYPE_RANK):
        raise ModelLoadError(f"{name} is a reranker, which makes neither text nor embeddings")
    if pooling(model) is None and _architecture_value(model, "attention.causal") == "false":
        raise ModelLoadError(
            f"{name} is an encoder whose file does not say how a text's vector is made of those of its tokens "
            "(no pooling type); get a file that was converted as an embedding model"
        )


def pooling(model: int) -> str | None:
    """Return how a text's vector is made of those of its tokens: `mean`, `cls`, `last`; None: it makes none.

    Files say so of embedding models only, be they encoders or causal models trained for it.
    """
    given = _architecture_value(model, "pooling_type")
    return _POOLINGS.get(int(given)) if given is not None and given.isdecimal() else None


def is_causal(model: int) -> bool:
    """Whether a token sees only those before it, as far as the header says."""
    return _architecture_value(model, "attention.causal") != "false"


def _architecture_value(model: int, key: str) -> str | None:
    return metadata(model, f"{metadata(model, 'general.architecture')}.{key}")


def facts(model: int, path: Path, n_gpu_layers: int) -> dict[str, Any]:
    """Return what can be told of every model; sizes in bytes, times in seconds since 1970."""
    file = path.stat()
    return {
        "name": metadata(model, "general.name") or path.stem,
        "architecture": metadata(model, "general.architecture"),
        "n_parameters": llama_cpp.llama_model_n_params(model),
        "weights_bytes": llama_cpp.llama_model_size(model),
        "file_bytes": file.st_size,
        "file_modified_s": int(file.st_mtime),
        "quantization": _QUANTIZATIONS.get(llama_cpp.llama_model_ftype(model) & ~llama_cpp.LLAMA_FTYPE_GUESSED),
        "gpu_share": _gpu_share(model, n_gpu_layers),
    }


def _gpu_share(model: int, n_gpu_layers: int) -> float:
    """Return the part of the layers that a GPU computes; the output counts as one of them, as in llama.cpp."""
    if not llama_cpp.llama_supports_gpu_offload():
        return 0.0
    n_layers: int = llama_cpp.llama_model_n_layer(model) + 1
    n_on_gpu = n_gpu_layers if n_gpu_layers >= 0 else n_layers
    return min(n_on_gpu, n_layers) / n_layers


def metadata(model: int, key: str) -> str | None:
    """Return a value of the header as text, None if it is not there."""
    return _text(lambda buffer, size: llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, size))


def header(model: int) -> dict[str, HeaderValue]:
    """Return the values of the header; lists and chat templates, which are programs, are not among them."""
    keys = [_key(model, index) for index in range(llama_cpp.llama_model_meta_count(model))]
    texts = {key: value for key in keys if key and (value := metadata(model, key)) is not None}
    return {key: typed(key, text) for key, text in texts.items() if not key.startswith(_TEMPLATE)}


def typed(key: str, text: str) -> HeaderValue:
    """Return what the text of a value means: the library gives numbers and truth values as text, too.

    In `general.*` nearly everything is text, also where it looks like a number (a version, a name); elsewhere what
    looks like a number is one. Source: ggml, `docs/gguf.md`.
    """
    if key.startswith("general.") and not _NUMBERS_OF_GENERAL.fullmatch(key):
        return text
    if text in ("true", "false"):
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    number = float(text) if _DECIMAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text  # JSON has no infinity


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
