"""What one engine process is told at its start: `--config` JSON, checked, with units in the names."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.llama.scheduling.prompt_lookup import MAX_DRAFT_TOKENS


def physical_cores() -> int:
    """Return how many physical cores this process may run on; two threads on one core only slow llama.cpp down."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = [Path(topology.format(cpu)) for cpu in os.sched_getaffinity(0)]
    return len({path.read_text() if path.is_file() else str(path) for path in siblings})


class EngineConfig(LlamaOptions):
    """The model's options, and what else an engine process needs; an unknown key is an error that names it.

    In `prefix_folder`, if one is given, the beginning that requests share is kept through a restart; together with
    those of other models it takes at most `prefix_limit_bytes`.
    """

    model_path: Path
    socket_path: Path
    prefix_folder: Path | None = None
    prefix_limit_bytes: int = Field(default=2 << 30, ge=0)
    queue_limit: int = Field(default=64, ge=1)

    @property
    def n_draft_tokens(self) -> int:
        """How many tokens a draft may have."""
        return MAX_DRAFT_TOKENS if self.speculation or self.jump_forward else 0
