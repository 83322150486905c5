"""`Store`: the models folder: which files are there, which model they belong to, and what is known of each.

A file under its own name is whole: a download gets that name only when all of it has arrived and was checked. What is
still arriving, a receipt for every file that came from the hub, and the roster lie in the subfolder `.zoe`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from zoe_server.catalogue.entry import Entry, HubFile
from zoe_server.catalogue.pulled_models import PulledModels
from zoe_server.catalogue.spec import bundled_model_path

_OWN_FOLDER: Final = ".zoe"
_ROSTER: Final = "served.json"
_SUFFIX: Final = ".gguf"
_PROJECTOR: Final = "mmproj"
_PART: Final = re.compile(r"-(\d{5})-of-\d{5}$")


class FileState(Enum):
    """Where a model of the catalogue stands."""

    BUNDLED = "bundled"
    PULLED = "pulled"
    PARTLY = "partly here"
    ABSENT = "not here"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a file was when it came from the hub; `promised` says whether the sum was known before the download."""

    repository: str
    file: str
    revision: str
    size_bytes: int
    sha256: str
    promised: bool


class Store:
    """The models in `folder`, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def pulled_models(self) -> PulledModels:
        """What is served of this folder without being in zoe.toml."""
        return PulledModels(self.folder / _OWN_FOLDER / _ROSTER)

    def path(self, file: HubFile) -> Path:
        """Return where `file` lies, or would."""
        return self.folder / file.name

    def weights_path(self, entry: Entry) -> Path:
        """Return the file that the engine is to load for `entry`; of a split one, the first part."""
        return bundled_model_path() if entry.weights is None else self.path(entry.weights)

    def has_weights(self, entry: Entry) -> bool:
        """Whether `entry` can be loaded, though perhaps without its projector."""
        return entry.weights is None or all(self.path(part).is_file() for part in entry.weights.parts)

    def projector_path(self, entry: Entry) -> Path | None:
        """Return the projector of `entry`, None if it has none, or not here."""
        path = None if entry.projector is None else self.path(entry.projector)
        return path if path is not None and path.is_file() else None

    def projectors(self) -> tuple[Path, ...]:
        """Return the files that are called projectors, in order, whoever they belong to."""
        files = sorted(self.folder.glob(f"*{_SUFFIX}")) if self.folder.is_dir() else []
        return tuple(path for path in files if _PROJECTOR in path.name.casefold() and path.is_file())

    def state(self, entry: Entry) -> FileState:
        """Return where `entry` stands."""
        if entry.bundled:
            return FileState.BUNDLED
        there = [self.path(file).is_file() for file in entry.files]
        if all(there):
            return FileState.PULLED
        return (
            FileState.PARTLY if any(there) or any(self.unfinished(file) for file in entry.files) else FileState.ABSENT
        )

    def size_bytes(self, entry: Entry) -> int | None:
        """Return how much the files of `entry` take if they are here; else what the catalogue expects."""
        if entry.bundled or self.state(entry) is not FileState.PULLED:
            return entry.size_bytes
        return sum(self.path(file).stat().st_size for file in entry.files)

    def bytes_to_come(self, entry: Entry) -> int | None:
        """Return how much of the files of `entry` is not here yet, None where their sizes are unknown."""
        if all(self.path(file).is_file() for file in entry.files):
            return 0
        whole_bytes = entry.size_bytes
        if whole_bytes is None:
            return None
        here = [path for path in self.files_of(entry) if path.is_file()]
        return max(0, whole_bytes - sum(path.stat().st_size for path in here))

    def extras(self, entries: Iterable[Entry]) -> tuple[Path, ...]:
        """Return the GGUF files that belong to none of `entries`, in order; of a split one, the first part."""
        known = {file.name for entry in entries for file in entry.files}
        files = sorted(self.folder.glob(f"*{_SUFFIX}")) if self.folder.is_dir() else []
        return tuple(path for path in files if path.name not in known and path.is_file() and _is_first_part(path))

    def named(self, name: str) -> Path | None:
        """Return the GGUF file called `name`, without its ending and the number of its part; None if there is none."""
        files = sorted(self.folder.glob(f"*{_SUFFIX}")) if self.folder.is_dir() else []
        return next((path for path in files if model_name(path) == name and path.is_file()), None)

    def partial_path(self, file: HubFile, version: str) -> Path:
        """Return where `file` arrives; `version` keeps the parts of different contents apart."""
        return self._own_path(file.name, f"{re.sub('[^0-9A-Za-z]', '', version)[:16]}.part")

    def unfinished(self, file: HubFile) -> list[Path]:
        """Return what downloads of `file` have left that did not end."""
        return sorted(self._own_path(file.name, "x").parent.glob(f"{_escaped(file.name)}.*.part"))

    def receipt(self, name: str) -> Receipt | None:
        """Return the receipt of the file called `name`, None if there is none that can be read."""
        try:
            return Receipt(**json.loads(self._own_path(name, "json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def keep(self, name: str, receipt: Receipt) -> None:
        """Write the receipt of the file called `name`."""
        path = self._own_path(name, "json")
        path.parent.mkdir(parents=True, exist_ok=True)
        arriving = path.with_suffix(".json.new")
        arriving.write_text(json.dumps(asdict(receipt), indent=1), encoding="utf-8")
        arriving.replace(path)

    def whole(self, file: HubFile) -> bool:
        """Whether `file` came from where the catalogue says and has still the size it had; a sum would look closer."""
        receipt = self.receipt(file.name)
        path = self.path(file)
        if receipt is None or (receipt.repository, receipt.file) != (file.repository, file.file):
            return False
        same = file.sha256 in (None, receipt.sha256)
        return same and path.is_file() and path.stat().st_size == receipt.size_bytes

    def files_of(self, entry: Entry) -> list[Path]:
        """Return everything in the folder that belongs to `entry`: its files, and those that did not finish."""
        paths = [path for file in entry.files for path in (self.path(file), *self.unfinished(file))]
        return [path for path in paths if os.path.lexists(path)]

    def remove(self, path: Path) -> None:
        """Delete `path` and its receipt; of a link, only the link.

        Raises:
            ValueError: `path` does not lie in the models folder.
            OSError: it cannot be deleted.
        """
        inside = path.parent.resolve() in (self.folder.resolve(), (self.folder / _OWN_FOLDER).resolve())
        if not inside or path.name == _OWN_FOLDER:
            raise ValueError(f"{path} is not in the models folder {self.folder}")
        path.unlink()
        self._own_path(path.name, "json").unlink(missing_ok=True)

    def _own_path(self, name: str, ending: str) -> Path:
        return self.folder / _OWN_FOLDER / f"{name}.{ending}"


def model_name(path: Path) -> str:
    """Return the name under which the file is served: without its ending and the number of its part."""
    return _PART.sub("", path.name.removesuffix(_SUFFIX))


def parts_of(path: Path) -> list[Path]:
    """Return all parts of the model whose first part is `path`, or `path` alone."""
    if not _PART.search(path.stem):
        return [path]
    return [other for other in sorted(path.parent.glob(f"*{_SUFFIX}")) if model_name(other) == model_name(path)]


def _is_first_part(path: Path) -> bool:
    part = _PART.search(path.stem)
    return part is None or int(part[1]) == 1


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
