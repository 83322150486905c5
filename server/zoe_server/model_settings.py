"""The tables `[models.NAME]` of the configuration; `settings` reads them, and knows where they come from.

This module knows no engine and no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from zoe_server.catalogue.engine_options import (
    ENGINES,
    LLAMA,
    VLLM,
    Adapter,
    EngineName,
    EngineOptions,
    LlamaOptions,
    OllamaOptions,
    OpenAIOptions,
    RemoteOptions,
    Url,
    VllmOptions,
    several,
)
from zoe_server.catalogue.entry import ModelName, Roles
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, Load

_LATEST: Final = "latest"


class Section(BaseModel):
    """A table of the configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Serving(Section):
    """What the server has to know of a model, whatever its engine is."""

    engine: EngineName = LLAMA
    path: Path | None = None
    aliases: tuple[ModelName, ...] = ()
    roles: Roles = ()
    fallback: ModelName | None = None
    """The model that answers where this one cannot; None is the catalogue's choice."""
    converses: bool | None = None
    """Whether it takes some sentences for talk; None is what the catalogue says."""
    load: Load | None = None
    """When the model gets into memory; None is "start", but "demand" for a model that only sees."""
    pinned: bool = False
    """Once loaded, it stays, whoever needs room."""
    keep_alive_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """How long it may be idle before it leaves memory; None is until somebody needs its room."""


class ModelSettings(LlamaOptions, OpenAIOptions, OllamaOptions, VllmOptions, _Serving):  # type: ignore[misc]  # their defaults differ
    """One table `[models.NAME]`: what the server has to know, and the options of its engine."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    urls: Annotated[tuple[Url, ...], BeforeValidator(several)] = Field(
        default=(), validation_alias="url", max_length=64
    )
    """Only tables of models on other servers have one."""

    @model_validator(mode="after")
    def _options_are_those_of_the_engine(self) -> Self:
        others = self.model_fields_set - ENGINES[self.engine].model_fields.keys() - _Serving.model_fields.keys()
        if others:
            keys = ", ".join(sorted(self._key(name) for name in others))
            raise ValueError(f"{keys}: no options of a model with the engine {self.engine!r}")
        is_remote = issubclass(ENGINES[self.engine], RemoteOptions)
        if is_remote and (not self.urls or self.path is not None):
            raise ValueError(f"a model with the engine {self.engine!r} is on another server: it has a url, and no path")
        if self.engine == VLLM and (self.path is None) == (self.model is None):
            raise ValueError("vLLM needs a path, the folder with the weights, or a model, their name on the hub")
        return self

    @field_validator("keep_alive_s")
    @classmethod
    def _pinned_models_stay(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        if seconds is not None and info.data.get("pinned"):
            raise ValueError("a pinned model never leaves memory; leave out one of the two")
        return seconds

    @field_validator("adapters")
    @classmethod
    def _adapters_fit(cls, adapters: Mapping[str, Adapter], info: ValidationInfo) -> Mapping[str, Adapter]:
        if _LATEST in adapters:
            raise ValueError(f"{_LATEST!r} is what Ollama's clients put behind any model's name; choose another name")
        if adapters and EMBEDDINGS_ROLE in info.data.get("roles", ()):
            raise ValueError(f"a model with the role {EMBEDDINGS_ROLE!r} takes none")
        if adapters and info.data.get("engine") not in {LLAMA, None}:
            raise ValueError(f"a model with the engine {info.data['engine']!r} takes none")
        return adapters

    @classmethod
    def keys(cls) -> frozenset[str]:
        """Return the keys that a table may have."""
        return frozenset(map(cls._key, cls.model_fields))

    @classmethod
    def _key(cls, name: str) -> str:
        return str(cls.model_fields[name].validation_alias or name)

    @property
    def is_elsewhere(self) -> bool:
        """Whether no file of the model is known here: it is on another server, or on the hub."""
        return self.engine != LLAMA and self.path is None

    def options(self, **otherwise: Any) -> EngineOptions:  # noqa: ANN401 -- any of the fields
        """Return the engine's options; those of `otherwise` hold where the table does not say."""
        kind = ENGINES[self.engine]
        given = {name: getattr(self, name) for name in kind.model_fields if name in self.model_fields_set}
        known = {} if self.is_elsewhere else {name: otherwise[name] for name in otherwise if name in kind.model_fields}
        said = known | {name: value for name, value in given.items() if value is not None}
        return kind.model_validate({name: value for name, value in said.items() if value is not None})

    def names(self, name: str) -> tuple[str, ...]:
        """Return every name of the model and its adapters, where it is called `name`."""
        return tuple(spelling for own in (name, *self.aliases) for spelling in self.spellings(own))

    def spellings(self, own: str) -> tuple[str, ...]:
        """Return the name `own` of the model and, behind it, those of its adapters."""
        return (own, *(f"{own}:{adapter}" for adapter in self.adapters))
