"""`ModelSpec`: everything the server knows about one model before it runs.

Plain data; it knows no engine, no process and no configuration format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, Literal

BUNDLED_MODEL: Final = "zoe-nano"
TOOLS_ROLE: Final = "tools"
CHAT_ROLE: Final = "chat"
VISION_ROLE: Final = "vision"
DEFAULT_CONTEXT_TOKENS: Final = 4096
"""Enough for a home; more costs memory."""
DIALECTS: Final = (
    *("hermes", "llama3", "mistral", "harmony", "gemma", "functiongemma", "gemma4"),
    *("functionary-v3.1", "functionary-v3.2", "json", "plain"),
)
"""The ways of writing tool calls that the llama engine knows; without a choice, the chat template tells."""
EMBEDDINGS_ROLE: Final = "embeddings"
"""Of a model that makes embeddings, and therefore does nothing else."""
Load = Literal["start", "demand"]
"""When a model gets into memory: with the server, or when somebody asks for it."""


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """A LoRA adapter: its file, and how strongly it changes the model; 1 is as it was trained."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One configured model: its names, its file, and how its engine is to run it.

    `n_threads` and `n_gpu_layers` None mean "let the engine choose". `sampling` holds the model's defaults, by the
    field names of `protocol.Sampling`. `queue_limit` requests may wait besides the `n_slots` that run. Behind any of
    its names and a colon, a request may name one of the `adapters`. With the picture encoder `projector_path` it sees;
    that uses a GPU if the model does, unless `projector_on_gpu` says otherwise, and a picture takes at most
    `max_picture_tokens`. `fallback` is the name of the model that answers where this one
    cannot. Where `converses` is false, it takes everything for a command. A `pinned` model stays once it is loaded;
    others leave after `keep_alive_s` without a request, with None only when their room is needed.
    """

    name: str
    path: Path
    engine: str = "llama"
    aliases: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    fallback: str | None = None
    converses: bool = True
    load: Load = "start"
    pinned: bool = False
    keep_alive_s: float | None = None
    adapters: Mapping[str, AdapterSpec] = field(default_factory=dict)
    projector_path: Path | None = None
    projector_on_gpu: bool | None = None
    max_picture_tokens: int = 1024
    n_ctx_tokens: int = 4096
    n_slots: int = 8
    n_batch_tokens: int = 512
    n_threads: int | None = None
    n_gpu_layers: int | None = None
    prefix_cache: bool = True
    jump_forward: bool = True
    speculation: bool = True
    prefix_folder: Path | None = None
    prefix_limit_bytes: int = 0
    queue_limit: int = 64
    sampling: Mapping[str, float | int] = field(default_factory=dict)
    chat_template: str | None = None
    dialect: str | None = None

    @property
    def encodes_on_gpu(self) -> bool:
        """Whether the picture encoder uses a GPU where there is one: as wanted, else as the model does."""
        return self.n_gpu_layers != 0 if self.projector_on_gpu is None else self.projector_on_gpu


def bundled_model_path() -> Path:
    """Return where the model that is part of this package lies; the file may be missing in a broken installation."""
    return Path(str(resources.files("zoe_server.catalogue") / f"{BUNDLED_MODEL}.gguf"))
