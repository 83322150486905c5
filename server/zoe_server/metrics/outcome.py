"""`Outcome`: what one HTTP request came to, as far as metrics count it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from zoe_server import protocol

CallResult = Literal["valid", "repaired", "invalid"]
Result = Literal["ok", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request at its end.

    `api` is the path that it asked, as the routes write it. `rule` and `wanted` are what the router chose: the rule's
    name and the best candidate; `model` is the one that answered. All three are None where it did not come so far.
    `code` says what failed. `finishes` are the ends of the engine's answers, of which there may be several.
    """

    api: str
    duration_s: float
    result: Result = "ok"
    rule: str | None = None
    wanted: str | None = None
    model: str | None = None
    code: str | None = None
    finishes: tuple[protocol.Finish, ...] = ()
    calls: Mapping[CallResult, int] = field(default_factory=dict)
