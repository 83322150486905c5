"""What a benchmark yields: named figures, shown as a table or as JSON lines."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `baseline` is the same number without what the benchmark is about; None if there is no such thing."""

    name: str
    value: float
    unit: str
    baseline: float | None = None

    def json(self) -> str:
        """Return the figure as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))


def print_table(title: str, figures: list[Figure]) -> None:
    """Show figures beside their baselines, and how many times smaller they are."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for column in ("value", "baseline", "times less"):
        table.add_column(column, justify="right")
    table.add_column("unit")
    for figure in figures:
        baseline = "-" if figure.baseline is None else f"{figure.baseline:,.2f}"
        ratio = f"{figure.baseline / figure.value:,.1f}" if figure.baseline is not None and figure.value else "-"
        table.add_row(figure.name, f"{figure.value:,.2f}", baseline, ratio, figure.unit)
    Console(width=110).print(table)
