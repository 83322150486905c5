"""How a model is to be run, by the kind of its engine: `LlamaOptions` and those below.

Each field is a key of the model's table in `zoe.toml` (by its alias, where it has one) and reaches the engine as it is:
nothing else has to know of it. A new option is one line here, and what uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

DEFAULT_CONTEXT_TOKENS: Final = 4096
"""Enough for a home; more costs memory."""
LLAMA: Final = "llama"
OPENAI: Final = "openai"
OLLAMA: Final = "ollama"
VLLM: Final = "vllm"
DIALECTS: Final = (
    *("hermes", "llama3", "mistral", "harmony", "gemma", "functiongemma", "gemma4"),
    *("functionary-v3.1", "functionary-v3.2", "json", "plain"),
)
"""The ways of writing tool calls that the llama engine knows; without a choice, the chat template tells."""


def _known_dialect(name: str) -> str:
    if name not in DIALECTS:
        raise ValueError(f"no dialect is called {name!r}; there are {', '.join(DIALECTS)}")
    return name


Dialect = Annotated[str, AfterValidator(_known_dialect)]
AdapterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]


class SamplingDefaults(BaseModel):
    """How a model draws tokens when the request does not say; None leaves it to the model's file, then the engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_k: int | None = Field(default=None, ge=0, le=1_000_000)
    top_p: float | None = Field(default=None, gt=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0, le=10)


class Adapter(BaseModel):
    """A LoRA adapter: its file, and how strongly it changes the model; 1 is as it was trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    scale: float = Field(default=1.0, ge=-100, le=100)


def _table(adapter: object) -> object:
    return {"path": adapter} if isinstance(adapter, str) else adapter


class LlamaOptions(BaseModel):
    """`n_slots` sequences share `n_ctx_tokens` KV cells, and each may use all; a step computes `n_batch_tokens`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    adapters: Mapping[AdapterName, Annotated[Adapter, BeforeValidator(_table)]] = Field(default_factory=dict)
    """Behind any of the model's names and a colon, a request may name one of them."""
    projector_path: Path | None = Field(default=None, validation_alias="projector")
    """The picture encoder, a file called mmproj, of a model that sees."""
    projector_on_gpu: bool | None = Field(default=None, validation_alias="projector_gpu")
    """Whether the picture encoder uses the GPU; None is as the model does."""
    max_picture_tokens: int = Field(default=1024, ge=16, le=16_384, validation_alias="picture_tokens")
    """How many tokens a picture takes at most, where a model gives large ones more."""
    n_ctx_tokens: int = Field(default=DEFAULT_CONTEXT_TOKENS, ge=256, le=1_048_576, validation_alias="context_tokens")
    n_slots: int = Field(default=8, ge=1, le=64, validation_alias="slots")
    n_batch_tokens: int = Field(default=512, ge=32, le=16_384, validation_alias="batch_tokens")
    n_threads: int | None = Field(default=None, ge=1, le=512, validation_alias="threads")
    """None is one per physical core, within what a container may use."""
    n_gpu_layers: int = Field(default=-1, ge=-1, le=1000, validation_alias="gpu_layers")
    """-1 is all of them."""
    flash_attention: bool | None = None
    """None is where it is faster: on a GPU, and on processors that are no x86."""
    prefix_cache: bool = True
    jump_forward: bool = True
    """Text that a grammar leaves no choice about is tried at once."""
    speculation: bool = True
    """Tokens that the prompt suggests are tried together."""
    sampling: SamplingDefaults = SamplingDefaults()
    chat_template: str | None = None
    """Replaces what the model file says, as `dialect` does."""
    dialect: Dialect | None = None

    @property
    def encodes_on_gpu(self) -> bool:
        """Whether the picture encoder uses a GPU where there is one."""
        return self.n_gpu_layers != 0 if self.projector_on_gpu is None else self.projector_on_gpu

    @model_validator(mode="after")
    def _batch_holds_a_token_of_every_slot(self) -> Self:
        if self.n_batch_tokens < self.n_slots:
            raise ValueError("batch_tokens must be at least as many as slots")
        return self


def _url(url: str) -> str:
    """Return the address of a server, without a slash at its end."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be the address of a server, such as http://nas:8080")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


Url = Annotated[str, AfterValidator(_url)]


def several(urls: object) -> object:
    """Return a list of one for what is no list."""
    return (urls,) if isinstance(urls, str) else urls


class RemoteOptions(BaseModel):
    """Where a model of another server is, and how it is asked there."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    urls: Annotated[tuple[Url, ...], BeforeValidator(several)] = Field(
        validation_alias="url", min_length=1, max_length=64
    )
    """Of several servers that have the model, the beginning of the prompt chooses who answers."""
    api_key: SecretStr | None = Field(default=None, validation_alias="key")
    model: str | None = Field(default=None, min_length=1, max_length=256)
    """What the model is called there; None is the only one."""
    n_ctx_tokens: int | None = Field(default=None, ge=256, le=1_048_576, validation_alias="context_tokens")
    n_slots: int = Field(default=8, ge=1, le=64, validation_alias="slots")
    """How many of our requests run there at once."""
    silence_s: float = Field(default=120.0, gt=0, le=3600)
    """How long an answer may pause, or wait for its beginning."""

    @field_validator("urls")
    @classmethod
    def _each_once(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(urls)) < len(urls):
            raise ValueError("each server is to be there once")
        return urls


class OpenAIOptions(RemoteOptions):
    """A model of servers that speak OpenAI's API, and what it can do there; None is what they say or show."""

    tools: bool | None = None
    schemas: bool | None = None
    pictures: bool | None = None
    priming: bool = False
    """Whether a prompt that is to be computed for later is worth a request of one token: where the server keeps what
    it has computed, and nobody pays for it."""


class OllamaOptions(RemoteOptions):
    """A model of Ollama's servers; `pull` has them download what they do not have."""

    pull: bool = True


class VllmOptions(BaseModel):
    """A model that `vllm serve` runs on this machine. None leaves it to vLLM, or to what is known of the model."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    model: str | None = Field(default=None, min_length=1, max_length=256)
    """Its name on the hub; weights that are here have a path, their folder."""
    program: str = "vllm"
    """Where vLLM is, if it is not to be found by its name: it has an environment of its own."""
    n_ctx_tokens: int | None = Field(default=None, ge=256, le=1_048_576, validation_alias="context_tokens")
    n_slots: int = Field(default=8, ge=1, le=1024, validation_alias="slots")
    n_batch_tokens: int = Field(default=4096, ge=32, le=1_048_576, validation_alias="batch_tokens")
    memory_share: float = Field(default=0.35, gt=0, le=1)
    """Of each GPU's memory, all of which the model takes at once: weights and the rest of it for caches."""
    cache_bytes: int = Field(default=1 << 30, ge=1 << 24, validation_alias="cpu_cache_bytes")
    """For the cache where no GPU computes."""
    prefix_cache: bool = True
    chunked_prefill: bool = True
    quantization: str | None = None
    dtype: str | None = None
    kv_cache_dtype: str | None = None
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    chat_template: str | None = None
    """A file, or the template itself."""
    tensor_parallel: int = Field(default=1, ge=1, le=64)
    pipeline_parallel: int = Field(default=1, ge=1, le=64)
    distributed_executor: Literal["mp", "ray"] | None = None
    eager: bool = False
    """Without compiling, which loads faster and computes slower."""
    arguments: tuple[str, ...] = ()
    """Any others for `vllm serve`."""
    silence_s: float = Field(default=120.0, gt=0, le=3600)
    pictures: bool | None = None


EngineOptions = LlamaOptions | OpenAIOptions | OllamaOptions | VllmOptions
ENGINES: Final[dict[str, type[EngineOptions]]] = {
    LLAMA: LlamaOptions,
    OPENAI: OpenAIOptions,
    OLLAMA: OllamaOptions,
    VLLM: VllmOptions,
}
"""The kinds of engines that a model's table may name, with their options."""


PROVIDERS: Final = {"llamacpp": LLAMA, "vllm": VLLM, "ollama": OLLAMA, "openai": OPENAI}
"""What users call whoever runs a model, with the engine that this is."""


def provider_of(engine: str) -> str:
    """Return what users call whoever runs models of this engine."""
    return next((provider for provider, own in PROVIDERS.items() if own == engine), engine)


def _known_engine(name: str) -> str:
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r}, only {', '.join(sorted(ENGINES))}")
    return name


EngineName = Annotated[str, AfterValidator(_known_engine)]
