"""`zoe.toml` as plain data: where it is looked for, with its paths made absolute and its names put together.

What the keys mean and which exist is for `settings` to say.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any


class SettingsError(Exception):
    """The configuration cannot be used; the message names the key and says what to do."""


def usual_files() -> tuple[Path, ...]:
    """Return where the configuration is looked for; the first that exists counts."""
    return (Path("zoe.toml"), Path.home() / ".config" / "zoe" / "zoe.toml")


def usual_file() -> Path | None:
    """Return the configuration that counts, None if there is none."""
    return next((path for path in usual_files() if path.is_file()), None)


def read(path: Path, named: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return the tables of the file at `path`.

    Args:
        path: the file.
        named: the tables whose tables have names that the user chose, with the keys that are no such names.

    Raises:
        SettingsError: the file cannot be read or is not valid TOML.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the configuration {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    for table, keys in named.items():
        if isinstance(data.get(table), dict):
            data[table] = _with_whole_names(data[table], keys)
    _resolve_paths(data, path.parent)
    return data


def _with_whole_names(tables: dict[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Put names together that TOML took apart: `[models.llama-3.2-3b]`, without quotes, is a table within a table.

    A table that has nothing but tables, none of them under one of `keys`, is the first part of such a name.
    """
    whole: dict[str, Any] = {}
    for name, table in tables.items():
        if isinstance(table, dict) and table and _is_part_of_name(table, keys):
            rest = _with_whole_names(table, keys)
            whole |= {f"{name}.{ending}": inner for ending, inner in rest.items()}
        else:
            whole[name] = table
    return whole


def _is_part_of_name(table: dict[str, Any], keys: Collection[str]) -> bool:
    return all(isinstance(inner, dict) and key not in keys for key, inner in table.items())


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Make the paths absolute, read from the folder of the file that names them."""
    _resolve(data.get("server"), "models_folder", folder)
    for model in _values(data.get("models")):
        _resolve(model, "path", folder)
        _resolve(model, "projector", folder)
        adapters = model.get("adapters") if isinstance(model, dict) else None
        for name in adapters if isinstance(adapters, dict) else ():
            _resolve(adapters, name, folder)
        for adapter in _values(adapters):
            _resolve(adapter, "path", folder)


def _values(data: object) -> list[Any]:
    return list(data.values()) if isinstance(data, dict) else []


def _resolve(table: object, key: str, folder: Path) -> None:
    if isinstance(table, dict) and isinstance(path := table.get(key), str):
        table[key] = str((folder / Path(path).expanduser()).absolute())
