"""`Catalogue`: all models we know by their names, those of the package and those that the user adds.

It knows neither which of them are on the disk nor which are served.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, Final

from zoe_server.catalogue.entry import Entry
from zoe_server.catalogue.spec import BUNDLED_MODEL

_FILE: Final = "catalogue.toml"


class Catalogue:
    """The models by name and alias, in the order of the catalogue."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        """Take `entries` by their names.

        Raises:
            ValueError: two models claim one name or one file, or a fallback leads nowhere; the message begins with the
                path of the key, as `NAME.fallback`.
        """
        self._entries = dict(entries)
        self._names = _unique_names(self._entries)
        _refuse_shared_files(self._entries)
        for name in self._entries:
            self.fallbacks(name)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all models, without aliases."""
        return tuple(self._entries)

    def find(self, name: str) -> Entry | None:
        """Return the model of that name or alias, None if there is none."""
        return self._entries.get(self._names.get(name, ""))

    def fallbacks(self, name: str) -> tuple[str, ...]:
        """Return the models that answer where `name` cannot, best first.

        Raises:
            ValueError: a fallback does not exist, or the models fall back on each other in a circle.
        """
        chain = [name]
        while (following := self._entries[chain[-1]].fallback) is not None:
            entry = self.find(following)
            if entry is None:
                raise ValueError(f"{chain[-1]}.fallback: no model is called {following!r}")
            if entry.name in chain:
                raise ValueError(f"{chain[-1]}.fallback: {following!r} falls back on {name!r} itself")
            chain.append(entry.name)
        return tuple(chain[1:])


def overlaid(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of the package with those of the user on top, unchecked, by name.

    A key of the user replaces that key of the same model; a name that the package does not have is a new model.

    Raises:
        ValueError: a table has a key `name`.
    """
    tables = {name: {**table, "name": name} for name, table in _shipped_tables().items()}
    for name, change in changes.items():
        if isinstance(change, Mapping) and "name" in change:
            raise ValueError(f"{name}.name: unknown key; the name of the table is the model's name")
        is_table = isinstance(change, Mapping)
        tables[name] = {**tables.get(name, {}), **change, "name": name} if is_table else change
    return tables


@functools.cache
def shipped() -> Mapping[str, Entry]:
    """Return the models of the package by name, the bundled one first."""
    return {name: Entry(**table) for name, table in overlaid({}).items()}


@functools.cache
def _shipped_tables() -> Mapping[str, Mapping[str, Any]]:
    text = (resources.files("zoe_server.catalogue") / _FILE).read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return {BUNDLED_MODEL: tables[BUNDLED_MODEL], **tables}


def _unique_names(entries: Mapping[str, Entry]) -> dict[str, str]:
    owners: dict[str, str] = {name: name for name in entries}
    for entry in entries.values():
        for alias in entry.aliases:
            if owners.setdefault(alias, entry.name) != entry.name:
                raise ValueError(f"{entry.name}.aliases: the name {alias!r} is already used by {owners[alias]!r}")
    return owners


def _refuse_shared_files(entries: Mapping[str, Entry]) -> None:
    """In the models folder, files have only their last name; two sources of one name would overwrite each other."""
    owners: dict[str, tuple[str, str]] = {}
    for entry in entries.values():
        for file in entry.files:
            source = f"{file.repository}/{file.file}"
            owner, other = owners.setdefault(file.name, (entry.name, source))
            if other != source:
                raise ValueError(f"{entry.name}: the file name {file.name!r} is already used by {owner!r}")
