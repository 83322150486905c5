"""A model's LoRA adapters in the C library: loads them all at start, and lets one of them at most be at work.

The model owns them: they end with it, after the context. All must be loaded before the context is made, which sizes its
graphs for them. A change makes the library plan its graphs anew before the next step, so none is made without need.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp

from zoe_server.llama import library_log
from zoe_server.llama.model_file import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoe_server.catalogue.engine_options import Adapter


class Adapters:
    """The loaded adapters by their names; the context works without one until `use` says otherwise.

    Raises:
        ModelLoadError: one of them is missing, broken, or not for this model; the message names it. The model with
            those that were loaded is still to be freed.
    """

    def __init__(self, model: int, configs: Mapping[str, Adapter]) -> None:
        self._configs = configs
        self._loaded = {name: _load(model, name, config) for name, config in configs.items()}
        self._in_use: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every adapter."""
        return tuple(self._loaded)

    def use(self, context: int, name: str | None) -> None:
        """Let `context` compute with the adapter `name` from now on; None is the model without one."""
        if name == self._in_use:
            return
        names = () if name is None else (name,)
        pointers = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(*(self._loaded[each] for each in names))
        scales = (ctypes.c_float * 1)(*(self._configs[each].scale for each in names))
        llama_cpp.llama_set_adapters_lora(context, pointers, len(names), scales)
        self._in_use = name

    def identity(self, name: str) -> dict[str, str | int | float]:
        """Return what a state that was computed with the adapter `name` depends on, besides the model."""
        config = self._configs[name]
        stat = config.path.stat()
        return {
            "adapter": config.path.name,
            "adapter_bytes": stat.st_size,
            "adapter_changed_ns": stat.st_mtime_ns,
            "adapter_scale": config.scale,
        }


def _load(model: int, name: str, config: Adapter) -> Any:  # noqa: ANN401 -- a pointer type that ctypes builds
    subject = f"the adapter {name!r} ({config.path})"
    if not config.path.is_file():
        raise ModelLoadError(f"{subject} cannot be loaded: there is no such file")
    library_log.install()
    adapter = llama_cpp.llama_adapter_lora_init(model, bytes(config.path))
    if not adapter:
        raise ModelLoadError(f"{subject} cannot be used with this model: {library_log.reasons()}")
    if llama_cpp.llama_adapter_get_alora_n_invocation_tokens(adapter):
        raise ModelLoadError(
            f"{subject} is an activated LoRA, which works from certain words on only; that is not served, "
            "use a plain LoRA instead"
        )
    return adapter
