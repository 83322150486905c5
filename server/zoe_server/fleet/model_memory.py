"""What a configured model takes in memory, from its files: all parts of its weights, its projector, its adapters.

Reads headers only. What it takes to compute is part of the overhead in `memory`, and of what `memory_book` corrects.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from zoe_server.catalogue.spec import ModelSpec
from zoe_server.catalogue.store import parts_of
from zoe_server.fleet import memory

_LOGGER: Final = logging.getLogger(__name__)


def model_facts(spec: ModelSpec, *, on_gpu: bool) -> memory.ModelFacts:
    """Return what decides the model's size; of what is no GGUF file, the sizes of the files are all there is.

    Blocks for as long as it takes to read a header: keep it out of an event loop.

    Raises:
        OSError: a file is not there.
    """
    from zoe_server.catalogue import gguf_file  # noqa: PLC0415 -- numpy costs time that few servers need

    files_bytes = _files_bytes(spec)
    try:
        facts = memory.facts_of(gguf_file.read(spec.path), spec.n_ctx_tokens, on_gpu=on_gpu)
    except gguf_file.GgufError as error:
        _LOGGER.debug("model %s: %s", spec.name, error)
        return memory.ModelFacts(files_bytes, 0, spec.n_ctx_tokens)
    return replace(facts, weights_bytes=files_bytes)


def _files_bytes(spec: ModelSpec) -> int:
    others = [adapter.path for adapter in spec.adapters.values()]
    if spec.projector_path is not None:
        others.append(spec.projector_path)
    return sum(path.stat().st_size for path in (*parts_of(spec.path), *others))
