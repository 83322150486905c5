"""What a benchmark yields: named figures, shown as a table or as JSON lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure's ratio to its peer, or the figure itself where there is no peer, must keep to."""

    limit: float
    kind: Literal["at most", "at least"] = "at most"

    def is_met(self, number: float) -> bool:
        """Return whether `number` keeps to it."""
        return number <= self.limit if self.kind == "at most" else number >= self.limit

    def __str__(self) -> str:
        return f"{self.kind} {self.limit:,.4g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, None if it could not be measured; `unit` then says why.

    `baseline` is the same number of Zoe without what the benchmark is about, `peer` that of llama-server; None if there
    is no such thing. `target` is for the ratio to the peer, or else to the baseline, or else for the number itself.
    `paired_ratio` is the ratio where both were measured in pairs: each pair has seen the same moments of the machine.
    """

    name: str
    value: float | None
    unit: str
    baseline: float | None = None
    peer: float | None = None
    target: Target | None = None
    paired_ratio: float | None = None

    @property
    def ratio(self) -> float | None:
        """`value` over the peer's number, or the baseline's, unless it was found by pairs; None without any."""
        if self.paired_ratio is not None:
            return self.paired_ratio
        base = self.baseline if self.peer is None else self.peer
        return self.value / base if base and self.value is not None else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none."""
        number = self.value if self.ratio is None else self.ratio
        return None if self.target is None or number is None else self.target.is_met(number)

    def json(self) -> str:
        """Return the figure as one line of JSON."""
        return json.dumps(
            {
                "name": self.name,
                "value": rounded(self.value),
                "unit": self.unit,
                "baseline": rounded(self.baseline),
                "peer_value": rounded(self.peer),
                "ratio": rounded(self.ratio),
                "target": str(self.target) if self.target else None,
                "met": self.met,
            }
        )


def print_table(title: str, figures: list[Figure]) -> None:
    """Show figures beside what they are compared with."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for column in ("value", "baseline", "llama-server", "ratio"):
        table.add_column(column, justify="right")
    for column in ("unit", "target", "met"):
        table.add_column(column)
    for figure in figures:
        numbers = (figure.value, figure.baseline, figure.peer, figure.ratio)
        met = "" if figure.met is None else "[green]yes" if figure.met else "[red]no"
        target = str(figure.target) if figure.target else ""
        table.add_row(figure.name, *(_text(number) for number in numbers), figure.unit, target, met)
    Console(width=140).print(table)


def rounded(number: float | None) -> float | None:
    """Return `number` with the four digits that a measurement is good for."""
    return None if number is None else float(f"{number:.4g}")


def _text(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:,.4g}"  # noqa: PLR2004 -- four digits in all
