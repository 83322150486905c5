"""What happens to the models of a fleet, told to whoever counts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class FleetEvent:
    """Something that happened to a model; `detail` is for people."""

    kind: Literal["loaded", "load_failed", "evicted", "lost", "refused", "fell_back"]
    model: str
    detail: str = ""
