"""What of the catalogue could be served beyond what is: does it fit, and what is to be recommended? Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import get_args

from zoe_server.catalogue.choice import choose, score_for
from zoe_server.catalogue.entry import Entry, Role


@dataclass(frozen=True, slots=True)
class Room:
    """The memory for models: all of it, what those take that are served, and what each takes besides its own size.

    The bundled model is not among those that count as served: there is always room for it.
    """

    budget_bytes: int
    taken_bytes: int = 0
    extra_bytes: int = 0


def memory_bytes(entry: Entry, room: Room) -> int | None:
    """Return what the model takes when it runs, None where its size is not known."""
    return None if entry.memory_bytes is None else entry.memory_bytes + room.extra_bytes


def fits(entry: Entry, room: Room) -> bool:
    """Whether the model can be loaded, if need be in the place of others; one of unknown size may be."""
    needed_bytes = memory_bytes(entry, room)
    return entry.bundled or needed_bytes is None or needed_bytes <= room.budget_bytes


def recommended(
    entries: Sequence[Entry], served: Collection[str], served_roles: Collection[str], room: Room
) -> dict[Role, str | None]:
    """Return for each role the model to get: the best one that fits beside those that are served.

    None where there is none, or nothing better than what is `served`, by the names of the catalogue. A role that only
    models have which the catalogue does not know counts as served well.
    """
    return {role: _best(entries, served, served_roles, room, role) for role in get_args(Role)}


def _best(
    entries: Sequence[Entry], served: Collection[str], served_roles: Collection[str], room: Room, role: Role
) -> str | None:
    absent = [entry for entry in entries if entry.name not in served or entry.bundled]
    choice = choose(absent, room.budget_bytes - room.taken_bytes, [role], room.extra_bytes)
    best = next((chosen.entry for chosen in choice.models if role in chosen.entry.roles), None)
    if best is None or best.name in served:
        return None
    rivals = [entry for entry in entries if entry.name in served and role in entry.roles]
    if role in served_roles and not rivals:
        return None
    return best.name if all(score_for(rival, role) < score_for(best, role) for rival in rivals) else None
