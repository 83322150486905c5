"""The real library with too little memory: a context that this process may not have."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest

from zoe_server import errors
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec, bundled_model_path
from zoe_server.engines.local import LocalEngine, llama_command

pytestmark = pytest.mark.skipif(find_spec("llama_cpp") is None, reason="needs the llama.cpp engine")
ALLOWED_KB = 4_000_000
HUGE_TOKENS = 1 << 20
"""6 GB of KV cache."""


def with_little_memory(config: Mapping[str, Any]) -> list[str]:
    return ["sh", "-c", f'ulimit -v {ALLOWED_KB}; exec "$@"', "sh", *llama_command(config)]


async def test_a_context_that_finds_no_memory_is_told_apart() -> None:
    spec = ModelSpec(
        "m", bundled_model_path(), options=LlamaOptions(n_ctx_tokens=HUGE_TOKENS, n_threads=1, n_gpu_layers=0)
    )
    engine = LocalEngine(spec, with_little_memory)
    with pytest.raises(errors.OutOfMemoryError, match=r"allocate|memory"):
        await engine.start()


async def test_a_context_that_fits_is_loaded_within_the_same_limit() -> None:
    engine = LocalEngine(
        ModelSpec("m", bundled_model_path(), options=LlamaOptions(n_threads=1, n_gpu_layers=0)), with_little_memory
    )
    try:
        await engine.start()
    finally:
        await engine.stop()
