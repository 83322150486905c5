"""`Berth`: the place of one model in the fleet, and what the planner is told of it."""

from __future__ import annotations

import math

from zoe_server.fleet.planner import Resident, Urgency, Want
from zoe_server.fleet.process import EngineKeeper
from zoe_server.fleet.sizing import Held


class Berth:
    """The place of one model in the fleet: its keeper, and what the planner has to know of it besides.

    A newcomer arrived after the server had begun, which was ready without it.
    """

    def __init__(self, keeper: EngineKeeper, *, is_newcomer: bool = False) -> None:
        self.keeper = keeper
        self.is_newcomer = is_newcomer
        self.size_bytes = self.estimated_bytes = 0
        self.pinned = keeper.spec.pinned
        self.draining = False
        self.dismissals: set[object] = set()
        """Who waits for it to be unloaded; a load that somebody asks for ends their wait."""

    @property
    def dismissed(self) -> bool:
        """Whether somebody wants it to go."""
        return bool(self.dismissals)

    @property
    def is_open(self) -> bool:
        """Whether a request may use the engine at once."""
        return self.keeper.engine is not None and not self.draining

    def resident(self) -> Resident | None:
        """Return what takes memory, None if nothing does."""
        keeper = self.keeper
        if keeper.phase is None:
            return None
        keep_s = keeper.spec.keep_alive_s
        return Resident(
            keeper.spec.name,
            self.size_bytes,
            keeper.phase,
            open_requests=keeper.tickets.n_used,
            pinned=self.pinned,
            at_home=keeper.spec.load == "start",
            draining=self.draining,
            dismissed=self.dismissed,
            loaded_at_s=keeper.loaded_at_s,
            last_used_s=keeper.last_used_s,
            keep_until_s=math.inf if keep_s is None else keeper.last_used_s + keep_s,
        )

    def held(self) -> Held | None:
        """Return what is in memory, None if nothing is."""
        keeper = self.keeper
        return None if keeper.phase is None else Held(keeper.spec, self.size_bytes, keeper.pid)

    def want(self) -> Want | None:
        """Return what is wanted of the model, None if nothing is."""
        name, waiting = self.keeper.spec.name, self.keeper.tickets.waiting
        if waiting:
            urgency = min(ticket.urgency for ticket in waiting)
            since_s = min(ticket.since_s for ticket in waiting if ticket.urgency is urgency)
            return Want(name, self.size_bytes, since_s, urgency)
        homeless = self.keeper.at_home and self.keeper.fits and self.keeper.phase is None
        return Want(name, self.size_bytes, 0.0, Urgency.HOME) if homeless else None
