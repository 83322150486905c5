"""What one engine process is told at its start: `--config` JSON, checked, with units in the names."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.llama.scheduling.prompt_lookup import MAX_DRAFT_TOKENS
from zoe_server.system import cores
from zoe_server.system.file_tree import FileTree


def physical_cores(root: Path = Path("/")) -> int:
    """Return how many threads compute where nobody says: two on one core only slow llama.cpp down."""
    return cores.physical_cores(FileTree(root))


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
