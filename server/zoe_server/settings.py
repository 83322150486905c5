"""The configuration: `zoe.toml`, overridden by environment variables `ZOE_...`, overridden by the command line.

    api_key = "..."                 # or [server] api_key, or ZOE_API_KEY
    provider = "ollama"             # or ZOE_PROVIDER: whose models answer first
    [server]
    host = "127.0.0.1"              # or ZOE_SERVER__HOST
    port = 11434
    announce = true                 # so that Home Assistant finds it, where it listens for others
    [models.zoe-nano]               # a model of the catalogue needs no path
    [models.qwen]
    path = "qwen2.5-coder-7b.gguf"  # relative to the file's own folder
    roles = ["tools"]
    adapters.jokes = "jokes.gguf"   # or [models.qwen.adapters.jokes] with path and scale
    [catalogue.mine]                # a model that `zoe models pull` can get; see `catalogue.entry`

Every unknown key is an error that names the key's path. This module knows no engine, no HTTP framework and no process.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableEnvironmentError

from zoe_server.catalogue import known, served
from zoe_server.catalogue.engine_options import PROVIDERS
from zoe_server.catalogue.entry import Entry, ModelName
from zoe_server.catalogue.spec import BUNDLED_MODEL, TOOLS_ROLE, ModelSpec
from zoe_server.catalogue.store import Store
from zoe_server.model_settings import ModelSettings
from zoe_server.model_tables import AUTOMATIC_MODEL, ModelTables
from zoe_server.server_settings import ServerSettings, check_bind, is_loopback
from zoe_server.settings_file import SettingsError, usual_file
from zoe_server.settings_file import read as read_file

__all__ = [
    "AUTOMATIC_MODEL",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "check_bind",
    "is_loopback",
    "load",
    "read",
]

_ENV_PREFIX: Final = "ZOE_"
_OTHERS_PROVIDER: Final = "LLM_PROVIDER"
"""What containers of several programs call it; `ZOE_PROVIDER` and zoe.toml win."""


class Settings(BaseSettings):
    """The whole configuration. Read it with `load`; `api_key` at the top is the same as `server.api_key`."""

    model_config = SettingsConfigDict(
        env_prefix=_ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    api_key: str | None = None
    provider: Literal["llamacpp", "vllm", "ollama", "openai"] | None = None
    """Whose models answer first; the others stand by. None is by the order of the tables."""
    server: ServerSettings = ServerSettings()
    models: dict[ModelName, ModelSettings] = Field(
        default_factory=lambda: {BUNDLED_MODEL: ModelSettings()}, min_length=1
    )
    catalogue: dict[ModelName, Entry] = Field(default_factory=lambda: dict(known.shipped()))
    _is_closed: bool = PrivateAttr(default=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose values arrive as arguments."""
        return env_settings, init_settings

    @field_validator("catalogue", mode="before")
    @classmethod
    def _user_models_lie_on_top(cls, tables: object) -> object:
        return known.overlaid(tables) if isinstance(tables, Mapping) else tables

    @model_validator(mode="after")
    def _tables_fit_together(self) -> Settings:
        try:
            known.Catalogue(self.catalogue)
        except ValueError as error:
            raise ValueError(f"catalogue.{error}") from error
        self._own_tables().check()
        if self.provider and all(model.engine != self.preferred_engine for model in self.models.values()):
            raise ValueError(
                f"provider: no model here is run by {self.provider!r}; add one, with engine = "
                f'"{self.preferred_engine}" in its table'
            )
        return self

    @property
    def key(self) -> str | None:
        """The API key that requests must carry, or None when everybody on this machine may ask."""
        return self.server.api_key or (self.api_key or "").strip() or None

    @property
    def preferred_engine(self) -> str | None:
        """The engine whose models answer first, None if that is by the order of the tables."""
        return None if self.provider is None else PROVIDERS[self.provider]

    @property
    def store(self) -> Store:
        """The models folder."""
        return Store(self.server.models_folder or _data_folder() / "models")

    @property
    def is_closed(self) -> bool:
        """Whether no other models are to be served than those that are named."""
        return self._is_closed

    def closed(self) -> Settings:
        """Return a copy that is."""
        copy = self.model_copy()
        copy._is_closed = True
        return copy

    @property
    def pulled(self) -> tuple[str, ...]:
        """The models of the catalogue that are served because they were pulled, and not because zoe.toml names them."""
        return tuple(name for name in self._tables().models if name not in self.models)

    def serves(self, name: str) -> bool:
        """Whether the model called `name`, here or in the catalogue, is served."""
        return self._tables().serves(name)

    @property
    def server_id_file(self) -> Path:
        """The file that says who this server is."""
        return _data_folder() / "server-id"

    @property
    def memory_measurements(self) -> Path:
        """The file that remembers how much memory models took."""
        return _cache_folder() / "memory.json"

    def missing_models(self) -> list[str]:
        """Return for each model without a path whose file is not in the models folder what to do."""
        return list(self._own_tables().missing(self.store))

    def left_out(self) -> list[str]:
        """Return for each model that was pulled and cannot be served any more why, and what to do."""
        return list(self._own_tables().left_out(self._remembered, self.store))

    def objection(self, name: str) -> str | None:
        """Return why the catalogue's model `name` may not be served beside the user's models, None if it may."""
        return self._own_tables().objection(name)

    def specs(self, pulled: Sequence[str] | None = None) -> tuple[ModelSpec, ...]:
        """Return the configured models in the order they are to be loaded, and those that were pulled.

        Args:
            pulled: what counts as pulled; by default the models that are remembered as that.

        Raises:
            SettingsError: the file of a model is not here, or it is and cannot be read.
        """
        try:
            specs = self._tables(pulled).specs(self.store)
        except served.ModelMissingError as error:
            raise SettingsError(str(error)) from error
        return tuple(self._with_server_limits(spec) for spec in specs)

    def shortcomings(self) -> list[str]:
        """Return what does not keep models from being served but takes something from them, and what to do.

        Raises:
            SettingsError: as of `specs`.
        """
        try:
            return list(self._tables().shortcomings(self.store))
        except served.ModelMissingError as error:
            raise SettingsError(str(error)) from error

    def _with_server_limits(self, spec: ModelSpec) -> ModelSpec:
        kept_bytes = self.server.saved_prefix_bytes
        return dataclasses.replace(
            spec,
            queue_limit=self.server.queue_limit,
            stuck_load_s=self.server.stuck_load_after_s,
            prefix_folder=_cache_folder() / "prefixes" if kept_bytes else None,
            prefix_limit_bytes=kept_bytes,
        )

    @property
    def _remembered(self) -> tuple[str, ...]:
        return () if self._is_closed else self.store.pulled_models.names

    def _tables(self, pulled: Sequence[str] | None = None) -> ModelTables:
        """Return all tables. Where the user named no model, the one that is served then is the least there is."""
        names = self._remembered if pulled is None else pulled
        return self._own_tables().with_pulled(names, self.store, first="models" not in self.model_fields_set)

    def _own_tables(self) -> ModelTables:
        return ModelTables(self.models, known.Catalogue(self.catalogue))


def load(
    config: Path | None = None, *, host: str | None = None, port: int | None = None, model: Path | None = None
) -> Settings:
    """Read the configuration with `read`, and see that no model is missing.

    Raises:
        SettingsError: as of `read`; or a model without a path is not in the models folder.
    """
    settings = read(config, host=host, port=port, model=model)
    if problems := settings.missing_models():
        raise SettingsError(_report(problems, config or usual_file()))
    return settings


def read(
    config: Path | None = None, *, host: str | None = None, port: int | None = None, model: Path | None = None
) -> Settings:
    """Read the configuration from `config`, or from the first of the usual places that exists.

    Args:
        config: the file to read; it must exist. None looks for ./zoe.toml, then ~/.config/zoe/zoe.toml.
        host, port: win over file and environment; None means "not given".
        model: a model file that replaces all configured models, and those that were pulled.

    Raises:
        SettingsError: the file cannot be read, a key is unknown, or a value is out of range.
    """
    path = config or usual_file()
    named = {"models": ModelSettings.keys(), "catalogue": Entry.model_fields}
    data = read_file(path, named) if path else {}
    _refuse_unknown_environment(os.environ)
    if provider := os.environ.get(_OTHERS_PROVIDER):
        data.setdefault("provider", provider)
    if model is not None:
        data["models"] = _only_model(model)
    try:
        settings = Settings(**data)
        changes = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
        server = ServerSettings(**{**settings.server.model_dump(), **changes})
    except ValidationError as error:
        raise SettingsError(_report(_problems(error), path)) from error
    except UnreadableEnvironmentError as error:
        raise SettingsError(f"the environment cannot be read: {error}") from error
    settings = settings.model_copy(update={"server": server})
    return settings if model is None else settings.closed()


def _cache_folder() -> Path:
    """Return where this user's programs keep what they can make again (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoe"


def _data_folder() -> Path:
    """Return where this user's programs keep their data (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "zoe"


def _only_model(path: Path) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem).lstrip("._-")[:128]
    if name in ("", AUTOMATIC_MODEL):
        name = f"{AUTOMATIC_MODEL}-model"
    return {name: {"path": str(path.expanduser().absolute()), "roles": [TOOLS_ROLE]}}


def _refuse_unknown_environment(environment: Mapping[str, str]) -> None:
    """A nested variable for a section that does not exist is a typing error; pydantic would pass over it in silence."""
    for name in environment:
        if name.upper().startswith(_ENV_PREFIX) and "__" in name:
            section = name[len(_ENV_PREFIX) :].split("__")[0].lower()
            if section not in Settings.model_fields:
                raise SettingsError(f"unknown configuration key {section} (from the environment variable {name})")


def _problems(error: ValidationError) -> list[str]:
    """Return what is wrong, each with the path of its key."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        unknown = problem["type"] == "extra_forbidden"
        text = "unknown key" if unknown else problem["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {text}" if where else text)
    return lines


def _report(problems: list[str], path: Path | None) -> str:
    source = f"in {path} or the environment" if path else "in the environment"
    return f"the configuration ({source}) has errors:\n  " + "\n  ".join(problems)
