"""How warm the machine is, by the names that its sensors have."""

from __future__ import annotations

from typing import Final

from zoe_server.fleet.file_tree import FileTree

_COLDEST_C: Final = -60.0
_WARMEST_C: Final = 200.0


def temperatures_c(tree: FileTree) -> dict[str, float]:
    """Return the temperatures of the thermal zones in °C; a sensor that is off, or absurd, is left out."""
    readings: dict[str, float] = {}
    for path in tree.matches("sys/class/thermal/thermal_zone*"):
        name, millidegrees = tree.text(f"{path}/type"), tree.number(f"{path}/temp")
        if name is None or millidegrees is None or not _COLDEST_C < millidegrees / 1000 < _WARMEST_C:
            continue
        unique = name if name not in readings else f"{name} ({path.rpartition('/')[2]})"
        readings[unique] = millidegrees / 1000
    return readings
