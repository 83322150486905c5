"""Errors that travel between processes, and what tells that memory ran out."""

import pytest

from zoe_server import errors


@pytest.mark.parametrize(
    "words",
    [
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        "failed to allocate buffer for kv cache",
        "failed to allocate compute pp buffers",
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9.00 MiB on device 0: cudaMalloc failed: out of memory",
        "CUDA error: out of memory",
        "mmap failed: Cannot allocate memory",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_words_of_too_little_memory_are_understood(words: str) -> None:
    assert errors.OutOfMemoryError.is_told_by(words)


@pytest.mark.parametrize("words", ["", "it is no readable GGUF model", "No such file or directory"])
def test_other_words_are_not(words: str) -> None:
    assert not errors.OutOfMemoryError.is_told_by(words)


@pytest.mark.parametrize("kind", [errors.OutOfMemoryError, errors.ModelBusyError, errors.EngineCrashedError])
def test_an_error_is_the_same_on_the_other_side(kind: type[errors.ZoeError]) -> None:
    sent = kind("it is so", retry_after_s=2.0)
    arrived = errors.from_wire(errors.to_wire(sent))
    assert type(arrived) is kind
    assert (arrived.message, arrived.code, arrived.status, arrived.retry_after_s) == (
        sent.message,
        sent.code,
        sent.status,
        sent.retry_after_s,
    )
