"""Fetch a model of the catalogue while a progress bar is shown."""

from __future__ import annotations

from typing import Final

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from zoe_server.catalogue.download import DownloadError, pull
from zoe_server.catalogue.entry import Entry
from zoe_server.catalogue.hub import Hub
from zoe_server.catalogue.store import Receipt, Store
from zoe_server.commands.console import ERR, CommandError

_VERBS: Final = {"fetch": "fetching", "check": "checking"}


class Bars:
    """One progress bar for each thing that is done with a file."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def __call__(self, step: str, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Show that `done_bytes` of the file `name` are done in this step."""
        task = self._tasks.get((step, name))
        if task is None:
            task = self._progress.add_task(f"{_VERBS[step]} {name}", total=total_bytes)
            self._tasks[step, name] = task
        self._progress.update(task, completed=done_bytes)


def bars() -> Progress:
    """Return progress bars with size, speed and remaining time; nothing of them is left where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=ERR, disable=not ERR.is_terminal)


def fetch(entry: Entry, store: Store) -> list[Receipt]:
    """Bring the files of `entry` into the models folder.

    Raises:
        CommandError: that is impossible; the message begins with the model's name.
    """
    try:
        with bars() as progress:
            return pull(entry.files, store, Hub(), Bars(progress))
    except DownloadError as error:
        raise CommandError(f"{entry.name}: {error}") from error
