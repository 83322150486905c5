"""`zoe models list|show|pull|rm|verify`.

What reads GGUF headers and what talks to the hub is imported where it is used: together they take longer to import than
all the rest of `zoe`, which is in a hurry when it serves.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from zoe_server import settings
from zoe_server.catalogue.entry import Entry, HubFile
from zoe_server.catalogue.known import Catalogue
from zoe_server.catalogue.store import Receipt, Store, parts_of
from zoe_server.commands.console import OUT, CommandError, print_json, reported, size

app = typer.Typer(help="The models that Zoe knows and those that are here.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option("--config", "-c", help="The configuration file (default: ./zoe.toml).")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names or aliases of models.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command(name="list")
def list_models(config: Config = None, as_json: _Json = False) -> None:
    """List the models of the catalogue and the GGUF files in the models folder."""
    with reported(settings.SettingsError):
        from zoe_server.commands.listing import rows

        chosen = settings.read(config)
        found = list(rows(chosen))
        if as_json:
            print_json(found)
            return
        OUT.print(_table(found))
        OUT.print(f"served: {escape(', '.join(_served(found)) or 'none of these')}", soft_wrap=True)
        OUT.print(f"models folder: {escape(str(chosen.store.folder))}", soft_wrap=True)


@app.command()
def show(name: str, config: Config = None, as_json: _Json = False) -> None:
    """Show everything that is known of one model."""
    with reported(settings.SettingsError):
        from zoe_server.catalogue.gguf_file import GgufError
        from zoe_server.commands.listing import facts, file_facts

        catalogue, store = _open(config)
        entry = catalogue.find(name)
        with reported(GgufError):
            found = facts(entry, catalogue, store) if entry else file_facts(_file(name, catalogue, store), store)
        if as_json:
            print_json(found)
            return
        for key, value in found.items():
            OUT.print(f"[bold]{key}[/]: {escape(_text(key, value))}", soft_wrap=True)


@app.command()
def pull(names: _Names, config: Config = None) -> None:
    """Download models of the catalogue; what was interrupted goes on where it stopped."""
    with reported(settings.SettingsError):
        from zoe_server.commands.transfer import fetch

        catalogue, store = _open(config)
        for entry in [_entry(name, catalogue) for name in names]:
            if entry.bundled:
                OUT.print(f"{entry.name} is part of Zoe; there is nothing to pull")
                continue
            received = _received(fetch(entry, store))
            OUT.print(f"[green]ready[/] {entry.name}: {received}, in {escape(str(store.folder))}", soft_wrap=True)
            OUT.print(f'to serve it, zoe.toml needs \\[models."{entry.name}"]', soft_wrap=True)


@app.command(name="rm")
def remove(name: str, config: Config = None, yes: _Yes = False) -> None:
    """Delete the files of one model from the models folder, and serve it no more because it was pulled."""
    with reported(settings.SettingsError, OSError, ValueError):
        chosen = settings.read(config)
        paths = _removable(name, chosen)
        for path in paths:
            OUT.print(escape(str(path)), soft_wrap=True)
        question = f"Delete {'this file' if len(paths) == 1 else 'these files'}?" if paths else f"Forget {name}?"
        if not yes and not typer.confirm(question):
            OUT.print("nothing was deleted")
            return
        for path in paths:
            chosen.store.remove(path)
        entry = Catalogue(chosen.catalogue).find(name)
        chosen.store.pulled_models.remove(name if entry is None else entry.name)
        OUT.print(f"{'deleted' if paths else 'forgot'} {escape(name)}")


@app.command()
def verify(names: Annotated[list[str] | None, typer.Argument()] = None, config: Config = None) -> None:
    """Compute the sums of the models' files again and compare; by default of all that are here."""
    with reported(settings.SettingsError, OSError):
        from zoe_server.commands.checking import check_entry, check_file

        catalogue, store = _open(config)
        wanted = names or [entry.name for entry in catalogue if store.files_of(entry)]
        sound = True
        for name in wanted:
            entry = catalogue.find(name)
            found = check_entry(entry, store) if entry else check_file(_file(name, catalogue, store))
            for line in found:
                sound = sound and line.ok
                OUT.print(f"{'[green]ok[/]  ' if line.ok else '[bold red]FAIL[/]'} {escape(line.text)}", soft_wrap=True)
        if not wanted:
            OUT.print("no model was pulled yet")
        raise typer.Exit(0 if sound else 1)


def _open(config: Path | None) -> tuple[Catalogue, Store]:
    chosen = settings.read(config)
    return Catalogue(chosen.catalogue), chosen.store


def _entry(name: str, catalogue: Catalogue) -> Entry:
    entry = catalogue.find(name)
    if entry is None:
        raise CommandError(f"the catalogue has no model {name!r}; it has {', '.join(catalogue.names)}")
    return entry


def _file(name: str, catalogue: Catalogue, store: Store) -> Path:
    path = store.named(name)
    if path is None:
        raise CommandError(
            f"no model is called {name!r}: the catalogue has {', '.join(catalogue.names)}, and {store.folder} has no "
            f"{name}.gguf"
        )
    return path


def _removable(name: str, chosen: settings.Settings) -> list[Path]:
    """Return the files to delete; there may be none of a model that a server remembers.

    Raises:
        CommandError: the model is part of Zoe, lies elsewhere, or is not here, and no server remembers it.
    """
    catalogue, store = Catalogue(chosen.catalogue), chosen.store
    configured = chosen.models.get(name)
    if configured is not None and configured.path is not None and configured.path.parent != store.folder:
        raise CommandError(f"{configured.path} is not in the models folder {store.folder}; delete it yourself")
    entry = catalogue.find(name)
    if entry is None:
        return parts_of(_file(name, catalogue, store))
    is_remembered = entry.name in store.pulled_models.names
    if entry.bundled and not is_remembered:
        raise CommandError(f"{entry.name} is part of Zoe and stays")
    shared = {store.path(part) for other in catalogue if other is not entry for part in _projector(other, store)}
    paths = [path for path in store.files_of(entry) if path not in shared]
    if not paths and not is_remembered:
        raise CommandError(f"{entry.name} is not in the models folder {store.folder}")
    return paths


def _projector(entry: Entry, store: Store) -> tuple[HubFile, ...]:
    """Return the files that `entry` sees with, if it could be served now."""
    return entry.projector.parts if entry.projector and store.has_weights(entry) else ()


def _received(receipts: list[Receipt]) -> str:
    total = size(sum(receipt.size_bytes for receipt in receipts))
    if all(receipt.promised for receipt in receipts):
        return f"{total}, checked"
    return f"{total}, of the right size (the server told no sha256)"


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("name", "roles", "size", "state", "context", "tools", "speed"):
        table.add_column(heading, justify="right" if heading in ("size", "context", "tools", "speed") else "left")
    for row in found:
        scores = row.get("scores", {})
        cells = [row["name"], " ".join(row["roles"]), size(row["size_bytes"]), row["state"]]
        numbers = [row.get("context_tokens"), scores.get("tools"), scores.get("speed")]
        table.add_row(*map(escape, cells), *("-" if number is None else str(number) for number in numbers))
    return table


def _served(found: list[dict[str, Any]]) -> list[str]:
    marks = {"configured": "", "pulled": " (pulled through a server)"}
    return [f"{row['name']}{marks[row['served']]}" for row in found if row["served"] is not None]


def _text(key: str, value: Any) -> str:  # noqa: ANN401 -- JSON
    if key.endswith("_bytes"):
        return size(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "".join("\n  " + ", ".join(f"{k} {v}" for k, v in item.items() if v is not None) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items() if v is not None) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)
