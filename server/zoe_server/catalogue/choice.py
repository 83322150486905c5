"""Which models suit this machine? The best one for each wanted role that fits in the memory with the others. Pure.

The roles are served in the order in which they are wanted: what is left of the memory is for the next. The bundled
model is always among the chosen, also where the memory is too small for it: it is the least there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zoe_server.catalogue.entry import Entry, Role


@dataclass(frozen=True, slots=True)
class Chosen:
    """One model to serve, what it takes, and why it was chosen."""

    entry: Entry
    memory_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The models in the order of preference, and for each role that nobody got the reason."""

    models: tuple[Chosen, ...]
    unserved: tuple[str, ...]

    @property
    def memory_bytes(self) -> int:
        """What all of them take together."""
        return sum(chosen.memory_bytes for chosen in self.models)


def choose(entries: Sequence[Entry], budget_bytes: int, roles: Sequence[Role], extra_bytes: int = 0) -> Choice:
    """Return the models for `roles` that take at most `budget_bytes` together; one may have several of the roles.

    Each takes `extra_bytes` in addition to what its entry says, as with a GPU.

    Raises:
        ValueError: there is no bundled model among `entries`.
    """
    bundled = next((entry for entry in entries if entry.bundled), None)
    if bundled is None:
        raise ValueError("a choice needs the bundled model")
    needs = {e.name: e.memory_bytes + extra_bytes for e in entries if e.memory_bytes is not None}
    needs.setdefault(bundled.name, extra_bytes)
    chosen: dict[str, Chosen] = {}
    unserved = []
    left_bytes = budget_bytes - needs[bundled.name]
    for role in dict.fromkeys(roles):
        if any(role in model.entry.roles for model in chosen.values()):
            continue
        best = _best([entry for entry in entries if role in entry.roles], role, left_bytes, needs)
        if best is None:
            unserved += [] if role in bundled.roles else [_why_not(entries, role, left_bytes, needs)]
        elif not best.bundled:
            reason = f"best for {role} that fits in {left_bytes / 1e9:.1f} GB"
            chosen[best.name] = Chosen(best, needs[best.name], reason)
            left_bytes -= needs[best.name]
    last = Chosen(bundled, needs[bundled.name], "part of Zoe, ready in seconds")
    return Choice((*chosen.values(), last), tuple(unserved))


def _best(entries: Sequence[Entry], role: Role, left_bytes: int, needs: Mapping[str, int]) -> Entry | None:
    """Return the model with the highest score that fits, the smaller of two equals; the bundled one fits always."""
    fitting = [e for e in entries if e.bundled or (e.name in needs and needs[e.name] <= left_bytes)]
    return max(fitting, key=lambda entry: (score_for(entry, role), -needs[entry.name], entry.name), default=None)


def score_for(entry: Entry, role: Role) -> int:
    """Return how good the model is in the role, 0 where nobody measured."""
    score = entry.scores.tools if role in ("tools", "vision") else entry.scores.speed
    return 0 if score is None else score


def _why_not(entries: Sequence[Entry], role: Role, left_bytes: int, needs: Mapping[str, int]) -> str:
    sizes = [needs[entry.name] for entry in entries if role in entry.roles and entry.name in needs]
    if not sizes:
        return f"{role}: the catalogue has no model of known size for it"
    return f"{role}: the smallest model needs {min(sizes) / 1e9:.1f} GB, {max(0, left_bytes) / 1e9:.1f} GB are left"
