"""`zoe migrate ollama`: serve the models of an Ollama installation, under the names that its clients use.

Nothing is copied and nothing of Ollama is changed: links in the models folder lead to its files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from zoe_server import settings
from zoe_server.catalogue import ollama_folder
from zoe_server.catalogue.engine_options import SamplingDefaults
from zoe_server.catalogue.ollama_folder import BrokenManifestError, OllamaModel
from zoe_server.catalogue.store import Store
from zoe_server.commands.console import OUT, CommandError, reported, size
from zoe_server.commands.models import Config
from zoe_server.settings_file import usual_file, usual_files

app = typer.Typer(help="Take over what another server has.", no_args_is_help=True)

_From = Annotated[
    Path | None, typer.Option("--from", help="Ollama's models folder (default: OLLAMA_MODELS, or where it usually is).")
]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_KEYS: Final = {
    "num_ctx": "context_tokens",
    "num_thread": "threads",
    "num_gpu": "gpu_layers",
    "num_batch": "batch_tokens",
}
_SET_ELSEWHERE: Final = {
    "system": "its system prompt stays behind: clients say it, as Home Assistant does",
    "template": "its template stays behind: the one in the model's own file counts",
    "messages": "its example messages stay behind: clients say them",
}


@dataclass(frozen=True, slots=True)
class Taken:
    """A model to be served: its name here, its links (from, to), its table, and what a user should know of it."""

    model: OllamaModel
    name: str
    links: Mapping[Path, Path]
    table: str
    notes: tuple[str, ...]


@app.callback()
def _group() -> None:
    """Keep `ollama` a command of its own though there is no other one yet."""


@app.command()
def ollama(folder: _From = None, config: Config = None, yes: _Yes = False) -> None:
    """Link the models of an Ollama installation and write zoe.toml; say what changes."""
    with reported(settings.SettingsError, OSError):
        found = folder or next((path for path in ollama_folder.usual_folders() if path.is_dir()), None)
        if found is None or not ollama_folder.manifests(found):
            looked = found or ", ".join(map(str, ollama_folder.usual_folders()))
            raise CommandError(f"no models of Ollama in {looked}; say where they are with --from")
        chosen_file = config or usual_file()
        store = settings.read(chosen_file if chosen_file and chosen_file.exists() else None).store
        taken, left = _plan(found, store)
        _explain(taken, left)
        if not taken:
            raise CommandError("none of these models can be served")
        target = chosen_file or usual_files()[-1]
        if not yes and not typer.confirm(f"Link them into {store.folder} and write {target}?", default=True):
            OUT.print("nothing was changed")
            return
        for one in taken:
            for link, file in one.links.items():
                _link(link, file)
        _configure(target, taken)
        OUT.print(
            "Ollama listens where Zoe does, on port 11434: stop it (`systemctl stop ollama`), or serve Zoe elsewhere "
            "with `zoe serve --port`",
            soft_wrap=True,
        )


def _plan(folder: Path, store: Store) -> tuple[list[Taken], dict[str, str]]:
    """Return what can be served, and why the others cannot, by their names."""
    from zoe_server.catalogue import gguf_file  # noqa: PLC0415 -- numpy costs time that few commands need

    taken: list[Taken] = []
    left: dict[str, str] = {}
    for manifest in ollama_folder.manifests(folder):
        try:
            model = ollama_folder.read(folder, manifest)
            if model.weights is None:
                left[model.name] = "it has no weights here: it runs in Ollama's cloud"
                continue
            taken.append(_taken(model, model.weights, gguf_file.read(model.weights), store))
        except (BrokenManifestError, gguf_file.GgufError) as error:
            left[":".join(manifest.parts[-2:])] = str(error)
    return taken, left


def _taken(model: OllamaModel, file: Path, facts: Any, store: Store) -> Taken:  # noqa: ANN401 -- of a module that is imported late
    from zoe_server.catalogue import proposal  # noqa: PLC0415 -- as above

    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model.name.removesuffix(":latest")).strip("-._")
    weights = store.folder / f"{name}.gguf"
    links = {weights: file}
    if model.projector is not None:
        links[store.folder / f"mmproj-{name}.gguf"] = model.projector
    adapters = [store.folder / f"{name}-adapter-{index}.gguf" for index, _ in enumerate(model.adapters)]
    links |= dict(zip(adapters, model.adapters, strict=True))
    keys: dict[str, object] = {"path": str(weights)}
    if model.projector is not None:
        keys["projector"] = str(store.folder / f"mmproj-{name}.gguf")
    names = [other for other in (model.name, model.name.removesuffix(":latest")) if other != name]
    keys["aliases"] = list(dict.fromkeys(names))
    keys["roles"] = list(proposal.roles(facts, sees=model.projector is not None))
    keys |= {ours: model.parameters[theirs] for theirs, ours in _KEYS.items() if theirs in model.parameters}
    sampling, others = _sampling(model.parameters)
    tables = f'[models."{name}"]\n' + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
    if sampling:
        tables += f'[models."{name}".sampling]\n' + "".join(f"{key} = {value}\n" for key, value in sampling.items())
    notes = [text for kind, text in _SET_ELSEWHERE.items() if kind in model.sets]
    if adapters:
        tables += f'[models."{name}".adapters]\n' + "".join(f"{path.stem} = {_toml(str(path))}\n" for path in adapters)
        notes.append(f"its adapter is a model of its own here: {name}:{adapters[0].stem}")
    if others:
        notes.append(f"set per request, or not at all: {', '.join(sorted(others))}")
    return Taken(model, name, links, tables, tuple(notes))


def _sampling(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return how tokens are drawn, and the parameters that have no place in a table."""
    known: dict[str, Any] = {}
    for key in parameters.keys() & SamplingDefaults.model_fields.keys():
        try:
            SamplingDefaults.model_validate({key: parameters[key]})
        except ValidationError:
            continue
        known[key] = parameters[key]
    return known, set(parameters) - known.keys() - _KEYS.keys()


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _explain(taken: list[Taken], left: Mapping[str, str]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("Ollama's name", "here", "size", "for"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    for one in taken:
        weights_bytes = 0 if one.model.weights is None else one.model.weights.stat().st_size
        roles = re.search(r"^roles = \[(.*)\]$", one.table, re.MULTILINE)
        table.add_row(one.model.name, one.name, size(weights_bytes), (roles[1] if roles else "").replace('"', ""))
    OUT.print(table)
    for line in _notes(taken, left):
        OUT.print(escape(line), soft_wrap=True)


def _notes(taken: list[Taken], left: Mapping[str, str]) -> Iterator[str]:
    for one in taken:
        yield from (f"{one.model.name}: {note}" for note in one.notes)
    yield from (f"{name} stays with Ollama: {reason}" for name, reason in left.items())


def _link(link: Path, file: Path) -> None:
    """Make a link, unless it is there.

    Raises:
        CommandError: something else is in its place.
    """
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(file.resolve())
    except FileExistsError as error:
        if link.resolve() != file.resolve():
            raise CommandError(f"{link} exists and is another file; remove it first") from error


def _configure(target: Path, taken: list[Taken]) -> None:
    """Write a new `target`; a file of the user's own is never changed, what it lacks is printed."""
    tables = "\n".join(one.table for one in taken)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(
                f"# Models of Ollama, taken over by `zoe migrate ollama`. The first one answers commands.\n{tables}"
            )
    except FileExistsError:
        OUT.print(f"{escape(str(target))} exists and stays as it is. To serve these models, it needs", soft_wrap=True)
        OUT.print(escape(tables), soft_wrap=True, end="")
        return
    OUT.print(f"[green]wrote[/] {escape(str(target))}; start the server with `zoe serve`", soft_wrap=True)
