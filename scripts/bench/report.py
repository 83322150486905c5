"""`docs/benchmarks.md`: the last results, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import llama_cpp

from bench.concurrency import plot_path
from bench.figure import Figure, rounded
from zoe_server.llama.config import physical_cores

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
_COLUMNS: Final = ("figure", "Zoe", "baseline", "llama-server", "ratio", "unit", "target", "met")
_HEAD: Final = """\
# Benchmarks

Written by `./scripts/bench/run --write`, which measures everything; with names, it measures those anew and leaves the
other tables. All figures of one table are of one run, and of the commit that it names.
*llama-server* is llama.cpp's own server, built by `./scripts/bench/peer` from the very source that Zoe's engine uses,
with the same compiler options, model, threads, room and slots. *Baseline* is Zoe itself without what is measured. A
ratio is to llama-server where there is a figure of it, else to the baseline; a target is for the ratio, or for the
figure where there is none. Weights are random where a figure names no model: speed does not depend on the numbers.

- Measured on {cpu}, {cores} cores, {memory_gib:.0f} GiB of memory, {system}
- llama-cpp-python {library}, Python {python}

![Seconds until every one of 1, 2, 4 and 8 simultaneous requests has its first token](images/first-token.svg)
"""


def write(title: str, figures: Sequence[Figure], *, anew: bool) -> Path:
    """Write the table of one benchmark; return the document's path.

    A table is written as soon as it is measured, since all of them take more than an hour. Begun `anew`, the document
    has no other table; else the others stay. The plot is that of the last `concurrency`.

    Raises:
        RuntimeError: the document that the table belongs into is of another machine, or not there.
    """
    path = DOCS / "benchmarks.md"
    tables = {} if anew else _others(path)
    tables[title[:1].upper() + title[1:]] = _section(figures)
    if plot_path().is_file():
        shutil.copy(plot_path(), DOCS / "images" / plot_path().name)
    path.write_text(_head() + "".join(f"\n## {title}\n\n{text}" for title, text in tables.items()), encoding="utf-8")
    return path


def _others(path: Path) -> dict[str, str]:
    """Return the tables of the document by their titles."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    head, *sections = text.split("\n## ")
    if head != _head():
        raise RuntimeError(f"{path} is not of this machine; measure everything with ./scripts/bench/run --write")
    return dict(section.split("\n\n", 1) for section in sections)


def _section(figures: Sequence[Figure]) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}\n\n{_table(figures)}"


@cache
def commit() -> str:
    """Return the commit of the working tree as the program began, with a mark if the tree was not exactly that."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(command, cwd=DOCS, capture_output=True, text=True, check=True).stdout.strip()


def _head() -> str:
    return _HEAD.format(
        cpu=_cpu_name(),
        cores=physical_cores(),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        system=f"{platform.system()} {platform.machine()}",
        library=llama_cpp.__version__,
        python=platform.python_version(),
    )


def _cpu_name() -> str:
    """Return what the kernel calls the processor; ARM boards have no such line, but a model of their own."""
    board = Path("/proc/device-tree/model")
    if board.is_file():
        return board.read_text(encoding="utf-8").rstrip("\0")
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "an unknown processor")


def _table(figures: Sequence[Figure]) -> str:
    rows = [_COLUMNS, *(_row(figure) for figure in figures)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---|--:|--:|--:|--:|---|---|---|")
    return "\n".join(lines) + "\n"


def _row(figure: Figure) -> tuple[str, ...]:
    numbers = (figure.value, figure.baseline, figure.peer, figure.ratio)
    met = "" if figure.met is None else "yes" if figure.met else "**no**"
    return (figure.name, *map(_number, numbers), figure.unit, str(figure.target or ""), met)


def _number(number: float | None) -> str:
    return "" if number is None else f"{rounded(number):,g}"
