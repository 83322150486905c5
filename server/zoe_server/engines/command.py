"""How an engine process of llama.cpp is started: its command line and its configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.child import python_command

EngineCommand = Callable[[Mapping[str, Any]], list[str]]


def llama_command(config: Mapping[str, Any]) -> list[str]:
    """Return the command that runs a llama.cpp engine process with `config`."""
    return python_command("zoe_server.llama", "--config", json.dumps(config))


def engine_config(spec: ModelSpec, socket_path: Path) -> dict[str, Any]:
    """Return the engine process's configuration; what `spec` leaves open is left out.

    The process counts every request that no step has taken yet as waiting, even while slots are free, so its bound is
    wider by the slots: a burst that fits is never refused.
    """
    config = {
        "model_path": str(spec.path),
        "adapters": {name: {"path": str(one.path), "scale": one.scale} for name, one in spec.adapters.items()},
        "socket_path": str(socket_path),
        "projector_path": None if spec.projector_path is None else str(spec.projector_path),
        "max_picture_tokens": spec.max_picture_tokens,
        "n_ctx_tokens": spec.n_ctx_tokens,
        "n_slots": spec.n_slots,
        "n_batch_tokens": spec.n_batch_tokens,
        "n_threads": spec.n_threads,
        "n_gpu_layers": spec.n_gpu_layers,
        "prefix_cache": spec.prefix_cache,
        "jump_forward": spec.jump_forward,
        "speculation": spec.speculation,
        "prefix_folder": None if spec.prefix_folder is None else str(spec.prefix_folder),
        "prefix_limit_bytes": spec.prefix_limit_bytes,
        "queue_limit": spec.queue_limit + spec.n_slots,
        "sampling": dict(spec.sampling),
        "chat_template": spec.chat_template,
        "dialect": spec.dialect,
    }
    return {key: value for key, value in config.items() if value is not None}
