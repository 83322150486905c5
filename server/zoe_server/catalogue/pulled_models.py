"""`PulledModels`: the models of the catalogue that are served because somebody pulled them through a running server.

It lies beside the models, in `.zoe/served.json` of their folder, since no server writes to the user's zoe.toml.

    {"version": 1, "models": ["qwen2.5-coder-7b"]}
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from zoe_server.catalogue.entry import ModelName

_LOGGER: Final = logging.getLogger(__name__)


class _List(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    models: tuple[ModelName, ...] = ()


class PulledModels:
    """The names in the file at `path`, which is read whenever somebody asks; a damaged one counts as none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def names(self) -> tuple[str, ...]:
        """The models in the order in which they were pulled, each once."""
        try:
            return tuple(dict.fromkeys(_List.model_validate_json(self.path.read_bytes()).models))
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            _LOGGER.warning("which models were pulled is unknown, %s is unusable: %s", self.path, error)
            return ()

    def add(self, name: str) -> None:
        """Remember the model `name`.

        Raises:
            OSError: the file cannot be written.
        """
        if name not in self.names:
            self._write((*self.names, name))

    def remove(self, name: str) -> None:
        """Forget the model `name`, if it is there.

        Raises:
            OSError: the file cannot be written.
        """
        if name in self.names:
            self._write([other for other in self.names if other != name])

    def _write(self, names: Sequence[str]) -> None:
        if not names:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        arriving = self.path.with_suffix(".json.new")
        arriving.write_text(_List(models=tuple(names)).model_dump_json(indent=1), encoding="utf-8")
        arriving.replace(self.path)
