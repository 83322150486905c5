"""Prefixes on disk: the tokens of a prompt's beginning and the model's state after them, one file each.

A file is an uncompressed `.npz`, whose reader checks every byte's sum. It belongs to one identity: the files of model
and adapter, the build of the library and the settings that shape its state; files of another identity are left alone.
This module knows files; it knows no model.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LOG: Final = logging.getLogger(__name__)
_DIGEST_BYTES: Final = 12
_UNUSABLE: Final = (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile)
"""What numpy's reader raises for files that it cannot read; those that were not written to the end are empty."""


@dataclass(frozen=True, slots=True)
class SavedPrefix:
    """`state` is what the library had after `tokens`."""

    tokens: list[int]
    state: NDArray[np.uint8]


class PrefixStore:
    """A folder of prefixes, at most `limit_bytes` of them; those of no use for the longest time go first."""

    def __init__(self, folder: Path, identity: Mapping[str, str | int | float], limit_bytes: int) -> None:
        self._folder = folder
        self._identity = json.dumps(identity, sort_keys=True)
        self._model = _digest(self._identity.encode())
        self.limit_bytes = limit_bytes

    def save(self, tokens: list[int], state: NDArray[np.uint8]) -> None:
        """Write a prefix.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(tokens)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, identity=np.array(self._identity), tokens=np.array(tokens, np.int32), state=state)
        part.replace(path)
        self._shrink()

    def touch(self, tokens: list[int]) -> bool:
        """Note that the prefix of `tokens` was of use now; return False if it is not there, or not any more.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            os.utime(self._path(tokens))
        except FileNotFoundError:
            return False
        return True

    def load(self) -> Iterator[SavedPrefix]:
        """Yield the prefixes of this identity, the one that was of use last first; a broken file is removed.

        Raises:
            OSError: the folder cannot be written.
        """
        for path in self._folder.glob(f"{self._model}-*.part"):
            path.unlink(missing_ok=True)
        for path in self._newest_first(f"{self._model}-*.npz"):
            try:
                yield self._read(path)
            except _UNUSABLE as error:
                _LOG.warning("the saved prefix %s is unusable and is removed: %s", path.name, error)
                path.unlink(missing_ok=True)

    def _read(self, path: Path) -> SavedPrefix:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if str(file["identity"]) != self._identity:
                raise ValueError("it was written for another model, build or setting")
            saved = SavedPrefix(file["tokens"].tolist(), file["state"])
        if self._path(saved.tokens) != path or saved.state.dtype != np.uint8:
            raise ValueError("its content is not what its name says")
        return saved

    def _path(self, tokens: list[int]) -> Path:
        return self._folder / f"{self._model}-{_digest(np.array(tokens, np.int32).tobytes())}.npz"

    def _shrink(self) -> None:
        """Remove files of any model until the folder is within its limit; the newest one stays."""
        kept_bytes = 0
        for path in self._newest_first("*.npz"):
            kept_bytes += _status(path).st_size
            if kept_bytes > self.limit_bytes:
                path.unlink(missing_ok=True)

    def _newest_first(self, pattern: str) -> list[Path]:
        return sorted(self._folder.glob(pattern), key=lambda path: _status(path).st_mtime_ns, reverse=True)


def _status(path: Path) -> os.stat_result:
    """Return the file's status, or an empty one if another process has just removed it."""
    try:
        return path.stat()
    except FileNotFoundError:
        return os.stat_result((0,) * 19)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()
