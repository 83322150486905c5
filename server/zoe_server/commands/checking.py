"""Is what lies in the models folder still what came from the hub?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoe_server.catalogue import gguf_file
from zoe_server.catalogue.download import sha256_of
from zoe_server.catalogue.entry import Entry, HubFile
from zoe_server.catalogue.store import Store, parts_of
from zoe_server.commands.transfer import Bars, bars


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one file; `text` says what to do where `ok` is false."""

    ok: bool
    text: str


def check_entry(entry: Entry, store: Store) -> Iterator[Line]:
    """Yield what became of every file of `entry`."""
    if entry.bundled:
        yield from check_file(store.weights_path(entry))
    for file in entry.files:
        yield _check_pulled(entry, file, store)


def check_file(path: Path) -> Iterator[Line]:
    """Yield for a file whose sum nobody knows, part by part, whether it is whole, and its sum."""
    for part in parts_of(path):
        try:
            gguf_file.read(part)
        except gguf_file.GgufError as error:
            yield Line(False, str(error))
        else:
            yield Line(True, f"{part.name} is whole, sha256 {_sum(part)} (there is none to compare it with)")


def _check_pulled(entry: Entry, file: HubFile, store: Store) -> Line:
    path = store.path(file)
    receipt = store.receipt(file.name)
    if not path.is_file():
        return Line(False, f"{file.name} is not here; run `zoe models pull {entry.name}`")
    promised = file.sha256 or (receipt.sha256 if receipt else None)
    if promised is None:
        return Line(False, f"{file.name} did not come from the hub; `zoe models pull {entry.name}` compares it")
    found = _sum(path)
    if found == promised:
        return Line(True, f"{file.name} sha256 {found}")
    again = f"run `zoe models rm {entry.name}`, then `zoe models pull {entry.name}`"
    return Line(False, f"{file.name} is damaged: its sha256 is {found}, it was {promised}; {again}")


def _sum(path: Path) -> str:
    size_bytes = path.stat().st_size
    with bars() as progress:
        show = Bars(progress)
        return sha256_of(path, lambda done: show("check", path.name, done, size_bytes))
