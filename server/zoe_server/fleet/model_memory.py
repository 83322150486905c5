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


def model_facts(spec: ModelSpec, *, on_gpu: bool, unified: bool = False) -> memory.ModelFacts:
    """Return what decides the model's size; of what is no GGUF file, the sizes of the files are all there is.

    `on_gpu`, it is the size in the memory of the GPU, which has one of its own unless it is `unified`. Blocks for as
    long as it takes to read a header: keep it out of an event loop.

    Raises:
        OSError: a file is not there.
    """
    from zoe_server.catalogue import gguf_file  # noqa: PLC0415 -- numpy costs time that few servers need

    encoder_bytes = 0 if on_gpu and not unified and not spec.options.encodes_on_gpu else _picture_encoder_bytes(spec)
    files_bytes = _files_bytes(spec)
    if spec.engine != "llama":
        return memory.ModelFacts(files_bytes, 0, spec.n_ctx_tokens, overhead_bytes=0)
    try:
        facts = memory.facts_of(gguf_file.read(spec.path), spec.n_ctx_tokens, on_gpu=on_gpu)
    except gguf_file.GgufError as error:
        _LOGGER.debug("model %s: %s", spec.name, error)
        facts = memory.ModelFacts(files_bytes, 0, spec.n_ctx_tokens)
    return replace(facts, weights_bytes=files_bytes, overhead_bytes=facts.overhead_bytes + encoder_bytes)


def _files_bytes(spec: ModelSpec) -> int:
    paths = (*parts_of(spec.path), *(adapter.path for adapter in spec.adapters.values()))
    return sum(path.stat().st_size for path in paths)


def _picture_encoder_bytes(spec: ModelSpec) -> int:
    """Return what the picture encoder takes: its weights, and the buffer that it computes in."""
    from zoe_server.catalogue import gguf_file  # noqa: PLC0415 -- as above

    if spec.options.projector_path is None:
        return 0
    weights_bytes = spec.options.projector_path.stat().st_size
    try:
        encoder = gguf_file.read(spec.options.projector_path).picture_encoder
    except gguf_file.GgufError as error:
        _LOGGER.debug("the picture encoder of %s: %s", spec.name, error)
        return weights_bytes
    compute_bytes = 0 if encoder is None else memory.picture_compute_bytes(encoder, spec.options.max_picture_tokens)
    return weights_bytes + compute_bytes
