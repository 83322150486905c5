"""`ModelState` and `ModelStatus`: where one model of the fleet stands, for those who decide and those who are told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from zoe_server.catalogue.model_info import ModelInfo
from zoe_server.engines.base import Health, Loading


class ModelState(Enum):
    """The only states that there are; `model.Model` says what leads from one to the next."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    RESTARTING = "restarting"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    LOST = "lost"
    """Its process does not end, not even when it is killed."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where one model stands; `reason` says why it is not ready (it may name files of this machine).

    It `is_starting` while the server has just begun and loads it. `info` is what the last engine that was ready told of
    the model. `size_bytes` is what the model takes, or would; `resident_bytes` is 0 while it is not in memory.
    `checked_ago_s` is the age of the last look at its health, None if there was none; `quarantined_s` is how long it
    will still be left alone. `loading` is how far it is while it is being loaded, where that is known.
    """

    name: str
    state: ModelState
    reason: str
    crashes: int
    load_s: float
    open_requests: int
    health: Health
    info: ModelInfo | None
    is_starting: bool = False
    restarts: int = 0
    waiting_requests: int = 0
    pinned: bool = False
    size_bytes: int = 0
    resident_bytes: int = 0
    checked_ago_s: float | None = None
    quarantined_s: float = 0.0
    loading: Loading | None = None
