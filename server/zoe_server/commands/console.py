"""What every command prints with: results on stdout, errors on stderr as one clear line, sizes as people read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from rich.console import Console
from rich.markup import escape

OUT: Final = Console(highlight=False)
ERR: Final = Console(stderr=True, highlight=False)
_INTERRUPTED: Final = 130


class CommandError(Exception):
    """The command cannot do what it was asked; the message says why and what to do."""


@contextmanager
def reported(*expected: type[Exception]) -> Iterator[None]:
    """End the command with exit code 1 and one clear message when one of the `expected` errors happens."""
    errors: tuple[type[Exception], ...] = (CommandError, *expected)
    try:
        yield
    except errors as error:
        fail(str(error))
    except KeyboardInterrupt as error:
        ERR.print("interrupted")
        raise typer.Exit(_INTERRUPTED) from error


def fail(message: str) -> None:
    """Print the error and end with exit code 1."""
    ERR.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    raise typer.Exit(1)


def size(n_bytes: int | None) -> str:
    """Return a size as people read it, in units of 1000."""
    if n_bytes is None:
        return "?"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"  # noqa: PLR2004 -- a billion


def print_json(data: Any) -> None:  # noqa: ANN401 -- JSON
    """Print `data` for programs."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
