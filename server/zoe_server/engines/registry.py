"""Which class runs which kind of engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from zoe_server.catalogue.engine_options import LLAMA, OPENAI
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.local import LocalEngine
from zoe_server.engines.openai_engine import OpenAIEngine

EngineFactory = Callable[[ModelSpec], Engine]

FACTORIES: Final[dict[str, EngineFactory]] = {LLAMA: LocalEngine, OPENAI: OpenAIEngine}


def create_engine(spec: ModelSpec) -> Engine:
    """Return a new, not yet started engine for `spec`.

    Raises:
        KeyError: no such kind of engine; the configuration admits only kinds that exist.
    """
    return FACTORIES[spec.engine](spec)
