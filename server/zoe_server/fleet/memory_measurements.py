"""`MemoryMeasurements`: how much memory models took when they ran, remembered in a file of the cache folder.

A model is known by its name, and its measurements count only for weights of the same size. A file that cannot be read
is as good as none: what is in it can be measured again. It measures nothing itself.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from zoe_server.fleet.memory import ModelFacts, model_bytes

_LOGGER: Final = logging.getLogger(__name__)
_KEPT: Final = 5
"""Measurements of a model that are remembered: an outlier is gone after so many others."""


class _Measurement(BaseModel):
    """A model: what it was when it was measured last, and its latest measurements, the newest last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    facts: ModelFacts
    measured_bytes: tuple[PositiveInt, ...] = Field(min_length=1, max_length=_KEPT)

    @property
    def most_bytes(self) -> int:
        return max(self.measured_bytes)


class _Book(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[2] = 2
    models: dict[str, _Measurement] = {}


class MemoryMeasurements:
    """The estimates of `memory.model_bytes`, corrected by measurement; `path` is the file, which one process writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._measured = _read(path)

    def estimate(self, model: str, facts: ModelFacts) -> int:
        """Return how many bytes the model is to be counted with.

        The most that was measured lately, if it was the same then; with another context or the like, the estimate and
        what it was too low by. (Too high says nothing: memory that was not touched yet is not measured.)
        """
        computed_bytes = model_bytes(facts)
        known = self._measured.models.get(model)
        if known is None or known.facts.weights_bytes != facts.weights_bytes:
            return computed_bytes
        if known.facts == facts:
            return known.most_bytes
        return computed_bytes + max(0, known.most_bytes - model_bytes(known.facts))

    def remember(self, model: str, facts: ModelFacts, measured_bytes: int) -> None:
        """Note what the model took in memory, its weights included; a file that cannot be written is a warning.

        Raises:
            ValueError: nothing takes `measured_bytes`.
        """
        if measured_bytes <= 0:
            raise ValueError(f"a model takes more than {measured_bytes} bytes")
        known = self._measured.models.get(model)
        before = known.measured_bytes if known is not None and known.facts == facts else ()
        self._measured.models[model] = _Measurement(facts=facts, measured_bytes=(*before, measured_bytes)[-_KEPT:])
        try:
            self._write()
        except OSError as error:
            _LOGGER.warning("what models take cannot be remembered in %s: %s", self._path, error)

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._path.with_name(f"{self._path.name}.part")
        part.write_text(self._measured.model_dump_json(indent=1), encoding="utf-8")
        part.replace(self._path)


def _read(path: Path) -> _Book:
    try:
        return _Book.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Book()
    except (OSError, ValidationError) as error:
        _LOGGER.warning("what models took is unknown again, %s is unusable: %s", path, error)
        return _Book()
