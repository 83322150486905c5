"""Who uses a model, and who waits for it: the tickets of its requests. It knows no engine and no reason to wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from zoe_server import errors
from zoe_server.fleet.planner import Urgency


@dataclass(eq=False, slots=True)
class Ticket:
    """One lease: its owner waits for `let_in`, which is true once it was let in."""

    since_s: float
    urgency: Urgency
    let_in: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def waits(self) -> bool:
        """Whether nothing was decided about it."""
        return not self.let_in.done()

    @property
    def is_used(self) -> bool:
        """Whether its owner was let in."""
        return self.let_in.done() and not self.let_in.cancelled() and self.let_in.exception() is None


class Tickets:
    """All tickets of one model, the oldest first."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []

    @property
    def n_used(self) -> int:
        """How many use the model now."""
        return sum(ticket.is_used for ticket in self._tickets)

    @property
    def waiting(self) -> list[Ticket]:
        """Those who wait."""
        return [ticket for ticket in self._tickets if ticket.waits]

    def take(self, now_s: float, urgency: Urgency) -> Ticket:
        """Return a new ticket."""
        ticket = Ticket(now_s, urgency)
        self._tickets.append(ticket)
        return ticket

    def give_back(self, ticket: Ticket) -> None:
        """Take note that its owner leaves, used or not."""
        self._tickets.remove(ticket)
        ticket.let_in.cancel()

    def let_in(self) -> None:
        """Let everybody in who waits."""
        for ticket in self.waiting:
            ticket.let_in.set_result(True)

    def turn_away(self, error: errors.ZoeError) -> None:
        """Tell everybody who waits why nobody is let in."""
        for ticket in self.waiting:
            ticket.let_in.set_exception(error)
            ticket.let_in.exception()  # its owner may have left at this moment, and that is no news
