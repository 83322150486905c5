"""The models that benchmarks run on: random weights, made once and kept in the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fixtures.random_gguf import dimensions_for, write_random_gguf


def cache_folder() -> Path:
    """Return the folder for benchmark files, which exists afterwards."""
    base = Path(
        os.environ.get("ZOE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "zoe"
    )
    folder = base / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def random_model(parameters: int, context_tokens: int) -> Path:
    """Return a Q8_0 model with about so many parameters and room for `context_tokens` per sequence."""
    path = cache_folder() / f"random-{parameters // 10**6}M-{context_tokens}.gguf"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        shape = dimensions_for(parameters)._asdict()
        write_random_gguf(unfinished, **shape, context=context_tokens, q8=True)
        unfinished.rename(path)
    return path
