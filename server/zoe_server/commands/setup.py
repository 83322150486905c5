"""`zoe setup`: choose models that suit this machine, say what they take, download them and write zoe.toml."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.markup import escape
from rich.table import Table

from zoe_server import settings
from zoe_server.catalogue.choice import Choice, choose
from zoe_server.catalogue.entry import Entry, Role
from zoe_server.catalogue.known import Catalogue
from zoe_server.catalogue.offer import Room
from zoe_server.catalogue.store import FileState, Store
from zoe_server.commands.console import OUT, CommandError, reported, size
from zoe_server.commands.models import Config
from zoe_server.fleet.memory import GPU_OVERHEAD_BYTES
from zoe_server.fleet.sizing import recommended_policy
from zoe_server.settings_file import usual_file, usual_files

_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_Roles = Annotated[
    list[str] | None,
    typer.Option("--role", help="What models are wanted for: tools, chat, vision, embeddings (default: tools, chat)."),
]
_Memory = Annotated[
    float | None, typer.Option("--memory", min=0, help="How many GB models may take (default: see `zoe doctor`).")
]


def setup(config: Config = None, role: _Roles = None, memory: _Memory = None, yes: _Yes = False) -> None:
    """Choose models for this machine, download them and write zoe.toml."""
    with reported(settings.SettingsError, OSError):
        chosen_file = config or usual_file()
        known = settings.read(chosen_file if chosen_file and chosen_file.exists() else None)
        store = known.store
        roles = _wanted(role)
        room = _room(None if memory is None else int(memory * 1e9), known.server.memory_budget_bytes)
        choice = choose(list(Catalogue(known.catalogue)), room.budget_bytes, roles, room.extra_bytes)
        _explain(choice, store, room.budget_bytes)
        missing = [model.entry for model in choice.models if not _is_here(model.entry, store)]
        target = chosen_file or usual_files()[-1]
        question = "Download them and write" if missing else "Write"
        if not yes and not typer.confirm(f"{question} {target}?", default=True):
            OUT.print("nothing was changed")
            return
        _fetch(missing, store)
        _configure(target, choice)


def _room(asked_bytes: int | None, configured_bytes: int | None) -> Room:
    """Return the room: what was asked for, else what the configuration says, else what the machine's policy does."""
    policy = asyncio.run(recommended_policy())
    chosen = (size for size in (asked_bytes, configured_bytes, policy.budget_bytes) if size is not None)
    return Room(next(chosen), extra_bytes=GPU_OVERHEAD_BYTES if policy.gpu_layers else 0)


def _wanted(names: list[str] | None) -> list[Role]:
    known: dict[str, Role] = {role: role for role in get_args(Role)}
    for name in names or ():
        if name not in known:
            raise CommandError(f"no role is called {name!r}; there are {', '.join(known)}")
    return [known[name] for name in names or ("tools", "chat")]


def _explain(choice: Choice, store: Store, budget_bytes: int) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("model", "download", "memory", "why"):
        table.add_column(heading, justify="right" if heading in ("download", "memory") else "left")
    for model in choice.models:
        here = _is_here(model.entry, store)
        table.add_row(
            model.entry.name, "-" if here else size(model.entry.size_bytes), size(model.memory_bytes), model.reason
        )
    OUT.print(table)
    OUT.print(f"memory: about {size(choice.memory_bytes)} of {size(budget_bytes)}")
    for reason in choice.unserved:
        OUT.print(f"nothing for {escape(reason)}", soft_wrap=True)


def _is_here(entry: Entry, store: Store) -> bool:
    return store.state(entry) in (FileState.BUNDLED, FileState.PULLED)


def _fetch(missing: list[Entry], store: Store) -> None:
    if not missing:
        return
    from zoe_server.commands.transfer import fetch  # noqa: PLC0415 -- the hub's library is slow to import

    for entry in missing:
        fetch(entry, store)
        OUT.print(f"[green]ready[/] {entry.name}")


def _configure(target: Path, choice: Choice) -> None:
    """Write a new `target`; a file of the user's own is never changed, what it lacks is printed."""
    tables = "".join(f'[models."{model.entry.name}"]  # {model.reason}\n' for model in choice.models)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(f"# Models for this machine, chosen by `zoe setup`. The first one answers commands.\n{tables}")
    except FileExistsError:
        OUT.print(f"{escape(str(target))} exists and stays as it is. To serve these models, it needs", soft_wrap=True)
        OUT.print(escape(tables), soft_wrap=True, end="")
        return
    OUT.print(f"[green]wrote[/] {escape(str(target))}; start the server with `zoe serve`", soft_wrap=True)
