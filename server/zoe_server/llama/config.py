"""What one engine process is told at its start: `--config` JSON, checked, with units in the names."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from zoe_server.llama.scheduling.prompt_lookup import MAX_GUESSED_TOKENS


def physical_cores() -> int:
    """Return how many physical cores this process may run on; two threads on one core only slow llama.cpp down."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = [Path(topology.format(cpu)) for cpu in os.sched_getaffinity(0)]
    return len({path.read_text() if path.is_file() else str(path) for path in siblings})


class SamplingDefaults(BaseModel):
    """What a request gets that does not say how to draw tokens; None leaves it to the model file, then the engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float | None = Field(default=None, ge=0)
    top_k: int | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0)


class AdapterConfig(BaseModel):
    """A LoRA adapter's file, and how strongly it changes the model: 1 as it was trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    scale: float = Field(default=1.0, allow_inf_nan=False)


class EngineConfig(BaseModel):
    """Everything an engine process needs; an unknown key is an error that names it.

    `n_slots` sequences share `n_ctx_tokens` KV cells, and each of them may use all; a step computes at most
    `n_batch_tokens`. `n_threads` None means one per physical core. A negative `n_gpu_layers` means all layers.
    With the picture encoder of `projector_path` (a file called mmproj), a picture takes at most `max_picture_tokens`;
    the encoder uses a GPU if the model does, unless `projector_on_gpu` says otherwise.
    `dialect` and `chat_template` replace what the model file says. With `jump_forward`, text that a grammar leaves no
    choice about is tried at once; with `speculation`, so are tokens that the prompt suggests.
    In `prefix_folder`, if one is given, the beginning that requests share is kept through a restart; together with
    those of other models it takes at most `prefix_limit_bytes`. A request may name one of the `adapters`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_path: Path
    adapters: dict[str, AdapterConfig] = Field(default_factory=dict)
    socket_path: Path
    projector_path: Path | None = None
    projector_on_gpu: bool | None = None
    max_picture_tokens: int = Field(default=1024, ge=16)
    n_ctx_tokens: int = Field(default=4096, ge=256)
    n_slots: int = Field(default=8, ge=1, le=64)
    n_batch_tokens: int = Field(default=512, ge=32)
    n_threads: int | None = Field(default=None, ge=1)
    n_gpu_layers: int = -1
    prefix_cache: bool = True
    jump_forward: bool = True
    speculation: bool = True
    prefix_folder: Path | None = None
    prefix_limit_bytes: int = Field(default=2 << 30, ge=0)
    queue_limit: int = Field(default=64, ge=1)
    sampling: SamplingDefaults = SamplingDefaults()
    chat_template: str | None = None
    dialect: str | None = None

    @property
    def encodes_on_gpu(self) -> bool:
        """Whether the picture encoder is to use a GPU."""
        return self.n_gpu_layers != 0 if self.projector_on_gpu is None else self.projector_on_gpu

    @property
    def n_guessed_tokens(self) -> int:
        """How many tokens may be guessed for one sequence in one step."""
        return MAX_GUESSED_TOKENS if self.speculation or self.jump_forward else 0

    @model_validator(mode="after")
    def _batch_holds_a_token_of_every_slot(self) -> EngineConfig:
        if self.n_batch_tokens < self.n_slots:
            raise ValueError("n_batch_tokens must be at least n_slots")
        return self
