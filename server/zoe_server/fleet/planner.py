"""What the fleet does next: one decision from who is loaded, who is wanted, the memory for models, and the time. Pure.

Wants are served in turn: interactive ones first, then background ones, each the oldest first; at last those of models
that are loaded at start and were sent away. A background want that has waited for
`background_patience_s` is as good as an interactive one. For each want, until there is something to do:

    1. it does not fit beside what is pinned or lost               -> Refuse
    2. it fits beside everything                                   -> Load
    3. it fits where others go, chosen from the least recently used ones, no more than necessary
       3.1 all of them may go                                      -> Evict the first of them
       3.2 the want's patience is over, and they had their turn    -> Drain them: new requests wait, so that they may go
       3.3 else                                                       they and the room are promised, the next want
    4. nobody wanted can have more
       4.1 a resident that is being loaded is to be unloaded           -> GiveUp its load
       4.2 one is to be unloaded, or unused for as long as it is kept  -> Evict
    5. a resident is drained for nobody (any more)                 -> Reopen
    6. else                                                        -> Wait, until a moment or until something changes

A resident may go when no request is open, it is not pinned, and it has been here for `min_residency_s`; for a want
whose patience is over (`drain_after_s`), a turn of as many seconds is enough. A model that is loaded at start asks for
nobody: it only replaces others that were not used for `return_after_s`, and never drains. Only one load or eviction is
under way at a time; 1, 3.2 and 5 need no time and do not wait for it, and 4.1 ends it.

No want waits forever where every request ends: it gets older until its patience is over and it comes first, then what
has to go gets no new requests. This module does not know where bytes come from and how a model is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from zoe_server.fleet.model_state import ModelState

_COMING: Final = frozenset({ModelState.LOADING, ModelState.RESTARTING})
_MOVING: Final = _COMING | {ModelState.UNLOADING}


class Urgency(IntEnum):
    """Who wants a model; the lower, the sooner."""

    INTERACTIVE = 0
    BACKGROUND = 1
    STARTUP = 2


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that takes `size_bytes` of memory; moments in seconds by the clock that `now_s` is from.

    `last_used_s` is when its last request ended. It is `draining` while new requests to it have to wait. Without a
    request, it is kept until `keep_until_s`; one `to_unload` is not kept at all. One that `loads_at_start` was loaded
    for everybody, others on demand.
    """

    name: str
    size_bytes: int
    state: ModelState = ModelState.READY
    open_requests: int = 0
    pinned: bool = False
    loads_at_start: bool = False
    draining: bool = False
    to_unload: bool = False
    loaded_at_s: float = 0.0
    last_used_s: float = 0.0
    keep_until_s: float = math.inf

    @property
    def is_kept(self) -> bool:
        """Whether no want can make it go."""
        return self.pinned and not self.to_unload


@dataclass(frozen=True, slots=True)
class Want:
    """A model that is asked for since `since_s` and cannot answer: it is not loaded, or draining."""

    name: str
    size_bytes: int
    since_s: float
    urgency: Urgency = Urgency.INTERACTIVE


@dataclass(frozen=True, slots=True)
class FleetPolicy:
    """How long things take their course, in seconds; see the module."""

    min_residency_s: float = 30.0
    drain_after_s: float = 10.0
    background_patience_s: float = 60.0
    return_after_s: float = 30.0

    def patience_ends_s(self, want: Want) -> float:
        """Return the moment from which on others have to make room for `want`."""
        if want.urgency is Urgency.STARTUP:
            return math.inf
        interactive = want.urgency is Urgency.INTERACTIVE
        return want.since_s + (self.drain_after_s if interactive else self.background_patience_s)


@dataclass(frozen=True, slots=True)
class Load:
    """Load the model."""

    name: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Stop the model, which has no open request; `wanted_by` is the one that gets the room, None if nobody does."""

    name: str
    wanted_by: str | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Give up the load of the model that is under way."""

    name: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Let new requests to the model wait, so that it can go for `wanted_by`."""

    name: str
    wanted_by: str


@dataclass(frozen=True, slots=True)
class Reopen:
    """Let requests to the model through again."""

    name: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The model cannot be loaded as long as the `pinned` ones and those that are lost stay: there is `room_bytes`."""

    name: str
    room_bytes: int
    pinned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done before `until_s`, or before something changes."""

    until_s: float = math.inf


Decision = Load | Evict | GiveUp | Drain | Reopen | Refuse | Wait


def decide(
    residents: Sequence[Resident], wants: Sequence[Want], budget_bytes: int, now_s: float, policy: FleetPolicy
) -> Decision:
    """Return what to do next; the numbers are those of the module's decision tree.

    Wants of equal age are served in their order; there is at most one of each model. A model that is loaded or being
    loaded and not draining may be wanted: it has all it wants.
    """
    table = _Table(residents, budget_bytes, now_s, policy)
    for want in sorted(wants, key=table.turn):
        decision = table.serve(want)
        if decision is not None:
            return decision
    return table.clear_up()


class _Table:
    """One decision in the making: what there still is to be promised."""

    def __init__(self, residents: Sequence[Resident], budget_bytes: int, now_s: float, policy: FleetPolicy) -> None:
        self._residents = residents
        self._names = {resident.name for resident in residents}
        self._now_s = now_s
        self._policy = policy
        self._pinned = [one for one in residents if one.is_kept]
        self._movable = [one for one in residents if one.state is ModelState.READY and not one.is_kept]
        self._moving = any(one.state in _MOVING for one in residents)
        lost = [one for one in residents if one.state is ModelState.LOST and not one.is_kept]
        self._room_bytes = budget_bytes - _bytes_of(self._pinned) - _bytes_of(lost)
        self._free_bytes = budget_bytes - _bytes_of(residents)
        self._coming_bytes = _bytes_of([one for one in residents if one.state is ModelState.UNLOADING])
        self._promised: set[str] = set()
        self._wake_s = math.inf

    def turn(self, want: Want) -> tuple[Urgency, float]:
        """Return what orders wants."""
        old = want.urgency is Urgency.BACKGROUND and self._is_over(want)
        return (Urgency.INTERACTIVE if old else want.urgency, want.since_s)

    def serve(self, want: Want) -> Decision | None:
        """Return what can be done for `want`; if it has to wait, it is promised what it waits for."""
        if want.name in self._names:
            return None
        if want.size_bytes > self._room_bytes:  # 1
            return Refuse(want.name, max(0, self._room_bytes), tuple(one.name for one in self._pinned))
        if want.size_bytes <= self._free_bytes and not self._moving:  # 2
            return Load(want.name)
        if want.size_bytes <= self._free_bytes + self._coming_bytes:
            self._promise(want, [])
            return None
        return self._make_room(want)

    def clear_up(self) -> Decision:
        """Return what is to be done when no want can have more."""
        for one in self._residents:
            if one.to_unload and one.state in _COMING:  # 4.1
                return GiveUp(one.name)
        for one in self._movable:
            if one.open_requests == 0 and one.name not in self._promised:
                if not self._moving and (one.to_unload or self._now_s >= one.keep_until_s):  # 4.2
                    return Evict(one.name)
                self._wake_at(one.keep_until_s)
        for one in self._residents:
            if (
                one.draining and not one.to_unload and one.state is ModelState.READY and one.name not in self._promised
            ):  # 5
                return Reopen(one.name)
        return Wait(self._wake_s)  # 6

    def _make_room(self, want: Want) -> Decision | None:
        victims = self._victims(want)
        if not victims:  # what has to go is moving, or a guest is in use
            return None
        is_enough = want.size_bytes <= self._free_bytes + _bytes_of(victims)
        if is_enough and all(self._may_go(one, want) for one in victims):  # 3.1
            if not self._moving:
                return Evict(victims[0].name, want.name)
        elif self._now_s >= self._drained_s(victims, want):  # 3.2
            closing = next((one for one in victims if not one.draining), None)
            if closing is not None:
                return Drain(closing.name, want.name)
        self._promise(want, victims)  # 3.3
        return None

    def _victims(self, want: Want) -> list[Resident]:
        """Return who has to go, the first first; nobody if that is not enough."""
        missing_bytes = want.size_bytes - self._free_bytes - self._coming_bytes
        victims = []
        for one in sorted(self._eligible(want), key=lambda one: self._value(one, want)):
            if missing_bytes > 0:
                victims.append(one)
                missing_bytes -= one.size_bytes
        for one in reversed(victims.copy()):
            if missing_bytes + one.size_bytes <= 0:
                victims.remove(one)
                missing_bytes += one.size_bytes
        return victims if missing_bytes <= 0 else []

    def _eligible(self, want: Want) -> Iterator[Resident]:
        for one in self._movable:
            if want.urgency is not Urgency.STARTUP:
                yield one
            elif not one.loads_at_start and one.open_requests == 0:
                unused_s = one.last_used_s + self._policy.return_after_s
                if self._now_s >= unused_s:
                    yield one
                self._wake_at(unused_s)

    def _value(self, one: Resident, want: Want) -> tuple[bool, bool, bool, float, str]:
        """Return what orders residents, the least valuable first; who is being drained already stays the choice."""
        return (not one.draining, not self._may_go(one, want), one.open_requests > 0, one.last_used_s, one.name)

    def _may_go(self, one: Resident, want: Want) -> bool:
        return one.open_requests == 0 and self._now_s >= self._free_to_go_s(one, want)

    def _free_to_go_s(self, one: Resident, want: Want) -> float:
        """Return from when on the resident may go while nobody uses it."""
        if one.to_unload:
            return -math.inf
        return min(one.loaded_at_s + self._policy.min_residency_s, self._drained_s([one], want))

    def _drained_s(self, victims: Sequence[Resident], want: Want) -> float:
        """Return from when on the victims' users have to make room."""
        turns_end_s = max(one.loaded_at_s for one in victims) + self._policy.drain_after_s
        return max(self._policy.patience_ends_s(want), turns_end_s)

    def _is_over(self, want: Want) -> bool:
        return self._now_s >= self._policy.patience_ends_s(want)

    def _promise(self, want: Want, victims: Sequence[Resident]) -> None:
        self._promised.update(one.name for one in victims)
        self._movable = [one for one in self._movable if one.name not in self._promised]
        needed_bytes = want.size_bytes - _bytes_of(victims)
        from_coming_bytes = min(needed_bytes, self._coming_bytes)  # below zero: more goes than is needed
        self._coming_bytes -= from_coming_bytes
        self._free_bytes -= needed_bytes - from_coming_bytes
        if victims:
            self._wake_at(self._drained_s(victims, want))
            self._wake_at(max(self._free_to_go_s(one, want) for one in victims))

    def _wake_at(self, moment_s: float) -> None:
        if moment_s > self._now_s:
            self._wake_s = min(self._wake_s, moment_s)


def _bytes_of(residents: Sequence[Resident]) -> int:
    return sum(resident.size_bytes for resident in residents)
