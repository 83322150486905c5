"""`ModelInfo`: what an engine tells of the model that it has loaded, and what can be asked of both: `Capabilities`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class Capabilities(BaseModel):
    """What a model and its engine can do together, besides answering with text."""

    model_config = ConfigDict(frozen=True)

    tools: bool = False
    thinking: bool = False
    pictures: bool = False
    embeddings: bool = False
    """Vectors of texts; such a model does nothing else."""
    schemas: bool = False
    """Answers that are held to a schema or a grammar."""
    logprobs: bool = False
    raw_prompts: bool = False
    """Prompts that are no chat."""
    tokenizer: bool = False
    """It says how a text is cut into tokens."""
    priming: bool = False
    """A prompt whose beginning it has seen costs less."""
    argument_values: bool = False
    """Arguments of calls are held to the values that a request lists."""
    adapters: bool = False

    def covers(self, needed: Capabilities) -> bool:
        """Whether everything that is `needed` is there."""
        return all(getattr(self, name) for name, is_needed in needed if is_needed)


class ModelInfo(BaseModel):
    """Sizes in bytes and tokens, times in seconds (`file_modified_s` since 1970); None is unknown.

    `sampling` is how tokens are drawn where a request does not say; `header` has the plain values of the model's file.
    """

    model_config = ConfigDict(frozen=True)

    name: str = ""
    architecture: str | None = None
    n_parameters: int | None = None
    weights_bytes: int = 0
    file_bytes: int | None = None
    file_modified_s: int | None = None
    quantization: str | None = None
    gpu_share: float = 0.0
    n_ctx_tokens: int | None = None
    n_kv_cells: int | None = None
    n_slots: int | None = None
    n_vocab: int | None = None
    dimensions: int | None = None
    pooling: str | None = None
    dialect: str | None = None
    sampling: Mapping[str, float | int] = {}
    chat_template: str = ""
    header: Mapping[str, str | int | float | bool] = {}
    load_s: float | None = None
    capabilities: Capabilities = Capabilities()

    @property
    def abilities(self) -> list[str]:
        """What the APIs call the capabilities that clients choose models by."""
        able = self.capabilities
        named = {"tools": able.tools, "thinking": able.thinking, "vision": able.pictures, "embeddings": able.embeddings}
        return [name for name, yes in named.items() if yes]
