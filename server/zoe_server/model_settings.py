"""The tables `[models.NAME]` of the configuration; `settings` reads them, and knows where they come from.

This module knows no engine and no file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from zoe_server.catalogue.entry import Dialect, ModelName, Roles, Sampling
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, Load

AdapterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
_LATEST: Final = "latest"


class Section(BaseModel):
    """A table of the configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AdapterSettings(Section):
    """One LoRA adapter of a model: a table, or its path alone."""

    path: Path
    scale: float = Field(default=1.0, ge=-100, le=100)


_Adapter = Annotated[AdapterSettings, BeforeValidator(lambda data: {"path": data} if isinstance(data, str) else data)]


class ModelSettings(Section):
    """One table `[models.NAME]`."""

    engine: Literal["llama", "scripted"] = "llama"
    path: Path | None = None
    projector: Path | None = None
    """The picture encoder, a file called mmproj, of a model that sees."""
    projector_gpu: bool | None = None
    """Whether the picture encoder uses the GPU; None is as the model does."""
    picture_tokens: int = Field(default=1024, ge=16, le=16_384)
    """How many tokens a picture takes at most, where a model gives large ones more."""
    aliases: tuple[ModelName, ...] = ()
    roles: Roles = ()
    fallback: ModelName | None = None
    converses: bool | None = None
    """The model that answers where this one cannot; None is the catalogue's choice."""
    load: Load | None = None
    """When the model gets into memory; None is "start", but "demand" for a model that only sees."""
    pinned: bool = False
    """Once loaded, it stays, whoever needs room."""
    keep_alive_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """How long it may be idle before it leaves memory; None is until somebody needs its room."""
    adapters: dict[AdapterName, _Adapter] = Field(default_factory=dict)
    context_tokens: int = Field(default=4096, ge=256, le=1_048_576)
    slots: int = Field(default=8, ge=1, le=64)
    batch_tokens: int = Field(default=512, ge=64, le=16_384)
    threads: int | None = Field(default=None, ge=1, le=512)
    gpu_layers: int | None = Field(default=None, ge=-1, le=1000)
    prefix_cache: bool = True
    jump_forward: bool = True
    speculation: bool = True
    sampling: Sampling = Sampling()
    chat_template: str | None = None
    dialect: Dialect | None = None

    @field_validator("keep_alive_s")
    @classmethod
    def _pinned_models_stay(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        if seconds is not None and info.data.get("pinned"):
            raise ValueError("a pinned model never leaves memory; leave out one of the two")
        return seconds

    @field_validator("adapters")
    @classmethod
    def _adapters_fit(cls, adapters: dict[str, AdapterSettings], info: ValidationInfo) -> dict[str, AdapterSettings]:
        if _LATEST in adapters:
            raise ValueError(f"{_LATEST!r} is what Ollama's clients put behind any model's name; choose another name")
        if adapters and EMBEDDINGS_ROLE in info.data.get("roles", ()):
            raise ValueError(f"a model with the role {EMBEDDINGS_ROLE!r} takes none")
        if adapters and info.data.get("engine") not in {"llama", None}:
            raise ValueError(f"a model with the engine {info.data['engine']!r} takes none")
        return adapters

    def names(self, name: str) -> tuple[str, ...]:
        """Return every name of the model and its adapters, where it is called `name`."""
        return tuple(spelling for own in (name, *self.aliases) for spelling in self.spellings(own))

    def spellings(self, own: str) -> tuple[str, ...]:
        """Return the name `own` of the model and, behind it, those of its adapters."""
        return (own, *(f"{own}:{adapter}" for adapter in self.adapters))
