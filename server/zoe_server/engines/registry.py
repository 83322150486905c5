"""Which class runs which kind of engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from zoe_server.catalogue.engine_options import LLAMA, OLLAMA, OPENAI, VLLM, RemoteOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.local import LocalEngine
from zoe_server.engines.ollama_engine import OllamaEngine
from zoe_server.engines.openai_engine import OpenAIEngine
from zoe_server.engines.remote_engine import RemoteEngine
from zoe_server.engines.upstreams import Upstreams
from zoe_server.engines.vllm_engine import VllmEngine

EngineFactory = Callable[[ModelSpec], Engine]


def _remote(kind: Callable[[ModelSpec, str], RemoteEngine]) -> EngineFactory:
    """Return what makes an engine of this `kind`, on one server or on several."""

    def make(spec: ModelSpec) -> Engine:
        if not isinstance(spec.options, RemoteOptions):
            raise TypeError(f"model {spec.name} is on no other server")
        urls = spec.options.urls
        return kind(spec, urls[0]) if len(urls) == 1 else Upstreams(spec, urls, kind)

    return make


FACTORIES: Final[dict[str, EngineFactory]] = {
    LLAMA: LocalEngine,
    OPENAI: _remote(OpenAIEngine),
    OLLAMA: _remote(OllamaEngine),
    VLLM: VllmEngine,
}


def create_engine(spec: ModelSpec) -> Engine:
    """Return a new, not yet started engine for `spec`.

    Raises:
        KeyError: no such kind of engine; the configuration admits only kinds that exist.
    """
    return FACTORIES[spec.engine](spec)
