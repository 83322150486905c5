"""Which class runs which kind of engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.local import LocalEngine
from zoe_server.engines.scripted import ScriptedEngine

EngineFactory = Callable[[ModelSpec], Engine]

_FACTORIES: Final[dict[str, EngineFactory]] = {"llama": LocalEngine, "scripted": ScriptedEngine}


def create_engine(spec: ModelSpec) -> Engine:
    """Return a new, not yet started engine for `spec`.

    Raises:
        KeyError: no such kind of engine; the configuration admits only kinds that exist.
    """
    return _FACTORIES[spec.engine](spec)
