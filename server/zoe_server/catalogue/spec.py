"""`ModelSpec`: everything the server knows about one model before it runs.

Plain data; it knows no engine, no process and no configuration format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from zoe_server.catalogue.engine_options import (
    DEFAULT_CONTEXT_TOKENS,
    LLAMA,
    Adapter,
    EngineOptions,
    LlamaOptions,
    OpenAIOptions,
    VllmOptions,
)
from zoe_server.catalogue.model_info import Capabilities

BUNDLED_MODEL: Final = "zoe-nano"
TOOLS_ROLE: Final = "tools"
CHAT_ROLE: Final = "chat"
VISION_ROLE: Final = "vision"
EMBEDDINGS_ROLE: Final = "embeddings"
"""Of a model that makes embeddings, and therefore does nothing else."""
Load = Literal["start", "demand"]
"""When a model gets into memory: with the server, or when somebody asks for it."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One configured model: its names, its file, and how its engine is to run it.

    `queue_limit` requests may wait besides the `n_slots` that run. `fallback` is the name of the model that answers
    where this one cannot. Where `converses` is false, it takes everything for a command. A `pinned` model stays once it
    is loaded; others leave after `keep_alive_s` without a request, with None only when their room is needed. A load
    that comes no further for `stuck_load_s` is given up. In `prefix_folder`, if one is given, the beginning that
    requests share is kept through a restart; together with those of other models it takes at most `prefix_limit_bytes`.
    """

    name: str
    path: Path
    engine: str = LLAMA
    aliases: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    fallback: str | None = None
    converses: bool = True
    load: Load = "start"
    pinned: bool = False
    keep_alive_s: float | None = None
    queue_limit: int = 64
    stuck_load_s: float = 1800.0
    prefix_folder: Path | None = None
    prefix_limit_bytes: int = 0
    options: EngineOptions = field(default_factory=LlamaOptions)

    @property
    def capabilities(self) -> Capabilities:
        """What it can be asked for, as far as that is known before it is loaded.

        Tools are for every model that may answer with calls: one whose file has no place for them is told in words.
        """
        writes = EMBEDDINGS_ROLE not in self.roles
        if isinstance(self.options, VllmOptions):
            sees = writes and VISION_ROLE in self.roles
            return Capabilities(
                tools=writes, pictures=sees, embeddings=not writes, schemas=writes, logprobs=writes, raw_prompts=writes
            )
        if not isinstance(self.options, LlamaOptions):
            known = self.options if isinstance(self.options, OpenAIOptions) else OpenAIOptions(urls=self.options.urls)
            return Capabilities(
                tools=writes and known.tools is not False,
                pictures=writes and VISION_ROLE in self.roles,
                embeddings=not writes,
                schemas=writes and known.schemas is not False,
            )
        is_constrained = writes and self.engine == LLAMA
        return Capabilities(
            tools=writes and self.options.dialect != "plain",
            pictures=self.options.projector_path is not None,
            embeddings=not writes,
            schemas=is_constrained,
            logprobs=is_constrained,
            raw_prompts=writes,
            tokenizer=True,
            argument_values=is_constrained,
            adapters=bool(self.options.adapters),
        )

    @property
    def n_ctx_tokens(self) -> int:
        """How many tokens prompt and answer may have, as far as that is known before it is loaded."""
        return self.options.n_ctx_tokens or DEFAULT_CONTEXT_TOKENS

    @property
    def n_slots(self) -> int:
        """How many requests run at once."""
        return self.options.n_slots

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """The LoRA adapters by their names."""
        return self.options.adapters if isinstance(self.options, LlamaOptions) else {}

    @property
    def llama(self) -> LlamaOptions:
        """The options of llama.cpp.

        Raises:
            TypeError: another engine runs this model.
        """
        if not isinstance(self.options, LlamaOptions):
            raise TypeError(f"llama.cpp does not run {self.name}")
        return self.options


def bundled_model_path() -> Path:
    """Return where the model that is part of this package lies; the file may be missing in a broken installation."""
    return Path(str(resources.files("zoe_server.catalogue") / f"{BUNDLED_MODEL}.gguf"))
