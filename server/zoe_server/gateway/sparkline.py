"""Small line charts for the status page, as points of an SVG polyline. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WIDTH: Final = 160
HEIGHT: Final = 32
_MARGIN: Final = 2.0


def points(values: Sequence[float]) -> str:
    """Return the attribute `points` of a line through `values`, oldest first, from zero up; "" without any.

    A single value is a level line, so that there is something to see.
    """
    if not values:
        return ""
    if len(values) == 1:
        values = (values[0], values[0])
    top = max(*values, 0.0) or 1.0
    across = (WIDTH - 2 * _MARGIN) / (len(values) - 1)
    height = HEIGHT - 2 * _MARGIN
    placed = (
        (_MARGIN + index * across, HEIGHT - _MARGIN - height * max(0.0, value) / top)
        for index, value in enumerate(values)
    )
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
