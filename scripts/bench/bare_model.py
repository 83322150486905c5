"""The bare library on one sequence: what a step costs where nothing is served."""

from __future__ import annotations

import ctypes
import statistics
import time
from pathlib import Path
from typing import Final

import llama_cpp

from zoe_server.llama import library_log

N_PROMPT_TOKENS: Final = 32
N_STEPS: Final = 300


def step_s(path: Path, n_threads: int) -> float:
    """Return the median time in seconds in which the library computes one token after a short prompt."""
    library_log.install()
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    if not model:
        raise RuntimeError(f"llama.cpp could not load {path}")
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = 512
    parameters.n_threads = parameters.n_threads_batch = n_threads
    context = llama_cpp.llama_init_from_model(model, parameters)
    if not context:
        raise RuntimeError("llama.cpp could not make a context")
    try:
        return statistics.median(_steps_s(context))
    finally:
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)


def _steps_s(context: llama_cpp.llama_context_p) -> list[float]:
    """Compute a prompt, then its next token again and again; return the seconds that each took."""
    memory = llama_cpp.llama_get_memory(context)
    _decode(context, [1] * N_PROMPT_TOKENS)
    times = []
    for _ in range(N_STEPS):
        began_s = time.perf_counter()
        _decode(context, [1])
        times.append(time.perf_counter() - began_s)
        llama_cpp.llama_memory_seq_rm(memory, 0, N_PROMPT_TOKENS, -1)
    return times


def _decode(context: llama_cpp.llama_context_p, tokens: list[int]) -> None:
    array = (llama_cpp.llama_token * len(tokens))(*tokens)
    pointer = ctypes.cast(array, ctypes.POINTER(llama_cpp.llama_token))
    if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(pointer, len(tokens))) != 0:
        raise RuntimeError("llama.cpp could not compute a step")
    llama_cpp.llama_synchronize(context)
