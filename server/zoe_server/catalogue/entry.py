"""`Entry`: one model of the catalogue: where its files come from, what it is good at and what it needs.

Checked data; it knows neither the models folder nor the network.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from zoe_server.catalogue.engine_options import Dialect, SamplingDefaults
from zoe_server.catalogue.spec import BUNDLED_MODEL, EMBEDDINGS_ROLE, VISION_ROLE, bundled_model_path

ENGINE_OVERHEAD_BYTES: Final = 256 << 20
"""What an engine process takes besides weights and KV cache: the library and its buffers for computing."""
_PART: Final = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


def _embeddings_stand_alone(roles: tuple[Role, ...]) -> tuple[Role, ...]:
    if EMBEDDINGS_ROLE in roles and len(roles) > 1:
        raise ValueError(f"a model with the role {EMBEDDINGS_ROLE!r} cannot have another")
    return roles


ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]
Role = Literal["tools", "chat", "vision", "embeddings"]
Roles = Annotated[tuple[Role, ...], AfterValidator(_embeddings_stand_alone)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HubFile(_Table):
    """A GGUF file in a repository of the hub, or the first part of one that was split."""

    repository: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    file: str = Field(pattern=r"^[\w][\w. +-]*(/[\w][\w. +-]*)*\.gguf$")
    revision: str = Field(default="main", pattern=r"^[\w][\w./-]*$")
    size_bytes: int | None = Field(default=None, ge=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _a_checksum_is_of_one_file(self) -> HubFile:
        if self.sha256 is not None and len(self.parts) > 1:
            raise ValueError("a file in several parts has no single sha256; leave it out, the hub's are used")
        return self

    @property
    def name(self) -> str:
        """What the file is called in the models folder."""
        return PurePosixPath(self.file).name

    @property
    def parts(self) -> tuple[HubFile, ...]:
        """The files to fetch: this one, or all parts of `...-00001-of-0000N.gguf`; their single sizes are unknown."""
        match = _PART.search(self.file)
        if match is None:
            return (self,)
        names = (f"{self.file[: match.start()]}-{n:05}-of-{match[2]}.gguf" for n in range(1, int(match[2]) + 1))
        return tuple(self.model_copy(update={"file": name, "size_bytes": None}) for name in names)


class AwqRepository(_Table):
    """The same model for vLLM, with weights quantized by AWQ."""

    repository: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    size_bytes: int | None = Field(default=None, ge=1)


class Scores(_Table):
    """How good a model is, 0 to 100; None where nobody measured."""

    tools: int | None = Field(default=None, ge=0, le=100)
    speed: int | None = Field(default=None, ge=0, le=100)


class Entry(_Table):
    """One model. Only the bundled one has no `weights`; `projector` is what lets a vision model see.

    One that does not converse takes everything for a command, so it gets no tools for what is none.
    """

    name: ModelName
    description: str = ""
    weights: HubFile | None = None
    projector: HubFile | None = None
    awq: AwqRepository | None = None
    licence: str = "unknown"
    roles: Roles = Field(min_length=1)
    context_tokens: int = Field(default=4096, ge=256, le=1_048_576)
    kv_bytes_per_token: int = Field(default=0, ge=0)
    dialect: Dialect | None = None
    sampling: SamplingDefaults = SamplingDefaults()
    scores: Scores = Scores()
    aliases: tuple[ModelName, ...] = ()
    fallback: ModelName | None = None
    converses: bool = True

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Entry:
        if self.weights is None and self.name != BUNDLED_MODEL:
            raise ValueError('weights are missing; add weights = { repository = "...", file = "....gguf" }')
        if VISION_ROLE in self.roles and self.projector is None:
            raise ValueError(
                'a model with the role "vision" sees with a second file; add projector = { repository = "...", '
                'file = "mmproj-....gguf" }'
            )
        return self

    @property
    def bundled(self) -> bool:
        """Whether the model is part of this package."""
        return self.weights is None

    @property
    def files(self) -> tuple[HubFile, ...]:
        """Every file the model needs in the models folder, that of the weights first."""
        return tuple(part for file in (self.weights, self.projector) if file for part in file.parts)

    @property
    def size_bytes(self) -> int | None:
        """The size of all files, None where it is not known."""
        if self.bundled:
            path = bundled_model_path()
            return path.stat().st_size if path.is_file() else None
        sizes = [file.size_bytes for file in (self.weights, self.projector) if file]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def memory_bytes(self) -> int | None:
        """About what the model takes when it runs with its whole context, None where its size is not known."""
        size_bytes = self.size_bytes
        if size_bytes is None:
            return None
        return size_bytes + self.kv_bytes_per_token * self.context_tokens + ENGINE_OVERHEAD_BYTES
