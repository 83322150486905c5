"""The configuration: `zoe.toml`, overridden by environment variables `ZOE_...`, overridden by the command line.

    api_key = "..."                 # or [server] api_key, or ZOE_API_KEY
    [server]
    host = "127.0.0.1"              # or ZOE_SERVER__HOST
    port = 11434
    [models.zoe-nano]               # the model in the package needs no path
    [models.qwen]
    path = "qwen2.5-coder-7b.gguf"  # relative to the file's own folder
    roles = ["tools"]

Every unknown key is an error that names the key's path. This module knows no engine, no HTTP framework and no process.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableEnvironmentError

from zoe_server.catalogue.spec import (
    BUNDLED_MODEL,
    DIALECTS,
    EMBEDDINGS_ROLE,
    TOOLS_ROLE,
    ModelSpec,
    bundled_model_path,
)

AUTOMATIC_MODEL: Final = "zoe"
_ENV_PREFIX: Final = "ZOE_"
_GREEDY: Final = {"temperature": 0.0}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def _origin(text: str) -> str:
    """Return `text` as a browser writes an origin: in small letters, without the port that goes without saying."""
    url = urlsplit(text.rstrip("/").lower())
    if not (url.scheme and url.netloc) or "*" in text or url.geturl() != f"{url.scheme}://{url.netloc}":
        raise ValueError(f"{text!r} is not an origin; write it as https://home.example:8123")
    if url.port is not None and url.port == _DEFAULT_PORTS.get(url.scheme):
        return f"{url.scheme}://{url.netloc.rpartition(':')[0]}"
    return url.geturl()


_Origin = Annotated[str, AfterValidator(_origin)]
_ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]


class SettingsError(Exception):
    """The configuration cannot be used; the message names the key and says what to do."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SamplingDefaults(_Section):
    """How a model draws tokens when the request does not say; unset values are the engine's own defaults."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_k: int | None = Field(default=None, ge=0, le=1_000_000)
    top_p: float | None = Field(default=None, gt=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0, le=10)


class ModelSettings(_Section):
    """One table `[models.NAME]`."""

    engine: Literal["llama", "scripted"] = "llama"
    path: Path | None = None
    aliases: tuple[_ModelName, ...] = ()
    roles: tuple[Literal["tools", "chat", "vision", "embeddings"], ...] = ()
    context_tokens: int = Field(default=4096, ge=256, le=1_048_576)
    slots: int = Field(default=8, ge=1, le=64)
    batch_tokens: int = Field(default=512, ge=64, le=16_384)
    threads: int | None = Field(default=None, ge=1, le=512)
    gpu_layers: int | None = Field(default=None, ge=-1, le=1000)
    prefix_cache: bool = True
    jump_forward: bool = True
    speculation: bool = True
    sampling: SamplingDefaults = SamplingDefaults()
    chat_template: str | None = None
    dialect: str | None = None

    @field_validator("dialect")
    @classmethod
    def _dialect_exists(cls, name: str | None) -> str | None:
        if name is not None and name not in DIALECTS:
            raise ValueError(f"no dialect is called {name!r}; there are {', '.join(DIALECTS)}")
        return name

    @field_validator("roles")
    @classmethod
    def _embeddings_stand_alone(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        if EMBEDDINGS_ROLE in roles and len(roles) > 1:
            raise ValueError(f"a model with the role {EMBEDDINGS_ROLE!r} cannot have another")
        return roles


class ServerSettings(_Section):
    """The table `[server]`."""

    host: str = "127.0.0.1"
    port: int = Field(default=11434, ge=0, le=65_535)
    api_key: str | None = None
    allowed_origins: tuple[_Origin, ...] = ()
    """The web pages that may use the server from a browser, as `https://home.example:8123`; others are refused."""
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024, le=1024**3)
    queue_limit: int = Field(default=64, ge=1, le=100_000)
    saved_prefix_bytes: int = Field(default=2 * 1024**3, ge=0)
    """How much of what requests begin with is kept on disk through a restart; 0 keeps nothing."""
    keep_alive_interval_s: float = Field(default=10.0, gt=0, le=3600)
    ready_wait_s: float = Field(default=30.0, ge=0, le=3600)
    shutdown_grace_s: float = Field(default=15.0, ge=0, le=3600)

    @field_validator("api_key")
    @classmethod
    def _blank_is_no_key(cls, key: str | None) -> str | None:
        return (key or "").strip() or None


class Settings(BaseSettings):
    """The whole configuration. Read it with `load`; `api_key` at the top is the same as `server.api_key`."""

    model_config = SettingsConfigDict(
        env_prefix=_ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    api_key: str | None = None
    server: ServerSettings = ServerSettings()
    models: dict[_ModelName, ModelSettings] = Field(
        default_factory=lambda: {BUNDLED_MODEL: ModelSettings()}, min_length=1
    )

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

    @model_validator(mode="after")
    def _names_are_unique(self) -> Settings:
        taken = {AUTOMATIC_MODEL: "the automatic choice"}
        for name, model in self.models.items():
            for spelling in (name, *model.aliases):
                if spelling in taken:
                    raise ValueError(f"models.{name}: the name {spelling!r} is already used by {taken[spelling]}")
                taken[spelling] = f"model {name!r}"
            if model.path is None and name != BUNDLED_MODEL:
                raise ValueError(f"models.{name}.path: missing; say where the model's file is")
        return self

    @property
    def key(self) -> str | None:
        """The API key that requests must carry, or None when everybody on this machine may ask."""
        return self.server.api_key or (self.api_key or "").strip() or None

    def specs(self) -> tuple[ModelSpec, ...]:
        """Return the configured models in the order they are to be loaded."""
        return tuple(_spec(name, model, self.server) for name, model in self.models.items())


def load(
    config: Path | None = None, *, host: str | None = None, port: int | None = None, model: Path | None = None
) -> Settings:
    """Read the configuration from `config`, or from the first of the usual places that exists.

    Args:
        config: the file to read; it must exist. None looks for ./zoe.toml, then ~/.config/zoe/zoe.toml.
        host, port: win over file and environment; None means "not given".
        model: a model file that replaces all configured models.

    Raises:
        SettingsError: the file cannot be read, a key is unknown, or a value is out of range.
    """
    path = config or _usual_file()
    data = _read(path) if path else {}
    _refuse_unknown_environment(os.environ)
    if model is not None:
        data["models"] = _only_model(model)
    try:
        settings = Settings(**data)
        changes = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
        server = ServerSettings(**{**settings.server.model_dump(), **changes})
    except ValidationError as error:
        raise SettingsError(_explain(error, path)) from error
    except UnreadableEnvironmentError as error:
        raise SettingsError(f"the environment cannot be read: {error}") from error
    return settings.model_copy(update={"server": server})


def check_bind(host: str, key: str | None) -> None:
    """Refuse to serve other machines without a key.

    Raises:
        SettingsError: `host` is reachable from outside and there is no API key.
    """
    if key is None and not is_loopback(host):
        raise SettingsError(
            f"refusing to listen on {host} without an API key: everybody on the network could use this server. "
            "Set one with ZOE_API_KEY=... (or `api_key` in zoe.toml), or listen on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than localhost counts as reachable from outside."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _spec(name: str, model: ModelSettings, server: ServerSettings) -> ModelSpec:
    sampling: dict[str, float | int] = model.sampling.model_dump(exclude_none=True)
    bundled = name == BUNDLED_MODEL
    return ModelSpec(
        name=name,
        path=model.path or bundled_model_path(),
        engine=model.engine,
        aliases=model.aliases,
        roles=model.roles or ((TOOLS_ROLE,) if bundled else ()),
        n_ctx_tokens=model.context_tokens,
        n_slots=model.slots,
        n_batch_tokens=model.batch_tokens,
        n_threads=model.threads,
        n_gpu_layers=model.gpu_layers,
        prefix_cache=model.prefix_cache,
        jump_forward=model.jump_forward,
        speculation=model.speculation,
        prefix_folder=_cache_folder() / "prefixes" if server.saved_prefix_bytes else None,
        prefix_limit_bytes=server.saved_prefix_bytes,
        queue_limit=server.queue_limit,
        sampling=sampling or (dict(_GREEDY) if bundled else {}),
        chat_template=model.chat_template,
        dialect=model.dialect,
    )


def _cache_folder() -> Path:
    """Return where this user's programs keep what they can make again (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoe"


def _usual_file() -> Path | None:
    places = (Path("zoe.toml"), Path.home() / ".config" / "zoe" / "zoe.toml")
    return next((path for path in places if path.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the configuration {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    _resolve_paths(data, path.parent)
    return data


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Make the models' paths absolute, read from the folder of the file that names them."""
    models = data.get("models")
    for model in models.values() if isinstance(models, dict) else ():
        if isinstance(model, dict) and isinstance(model.get("path"), str):
            model["path"] = str((folder / Path(model["path"]).expanduser()).absolute())


def _only_model(path: Path) -> dict[str, Any]:
    name = "".join(char if char.isalnum() or char in "._-" else "-" for char in path.stem).lstrip("._-")
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


def _explain(error: ValidationError, path: Path | None) -> str:
    """Return all problems, one per line, each with the path of its key."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        unknown = problem["type"] == "extra_forbidden"
        text = "unknown key" if unknown else problem["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {text}" if where else text)
    source = f"in {path} or the environment" if path else "in the environment"
    return f"the configuration ({source}) has errors:\n  " + "\n  ".join(lines)
