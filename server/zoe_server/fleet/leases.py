"""Who uses a model, who waits for it (the leases of its requests), and who wants it to go. It knows no engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from zoe_server import errors
from zoe_server.fleet.planner import Urgency


@dataclass(eq=False, slots=True)
class Lease:
    """One lease for `n_requests` at once: its owner waits for `let_in`, which is true once it was let in."""

    since_s: float
    urgency: Urgency
    n_requests: int = 1
    let_in: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def waits(self) -> bool:
        """Whether nothing was decided about it."""
        return not self.let_in.done()

    @property
    def is_used(self) -> bool:
        """Whether its owner was let in."""
        return self.let_in.done() and not self.let_in.cancelled() and self.let_in.exception() is None


class Leases:
    """All leases of the model `name`, the oldest first, for at most `limit` requests."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._leases: list[Lease] = []

    @property
    def n_requests(self) -> int:
        """How many requests are open: those that use the model, and those that wait."""
        return sum(lease.n_requests for lease in self._leases)

    @property
    def n_used(self) -> int:
        """How many leases use the model now."""
        return sum(lease.is_used for lease in self._leases)

    @property
    def waiting(self) -> list[Lease]:
        """Those whose owners wait."""
        return [lease for lease in self._leases if lease.waits]

    @property
    def most_urgent(self) -> Lease | None:
        """The first in turn of those whose owners wait."""
        return min(self.waiting, key=lambda lease: (lease.urgency, lease.since_s), default=None)

    def take(self, n_requests: int, urgency: Urgency, now_s: float) -> Lease:
        """Return a new lease.

        Raises:
            errors.InvalidRequestError: so many requests at once are more than may ever be open.
            errors.QueueFullError: as many requests as may run and wait are open already.
        """
        if n_requests > self._limit:
            text = f"model {self._name!r} takes at most {self._limit} requests at a time, and these are {n_requests}"
            raise errors.InvalidRequestError(text)
        if self.n_requests + n_requests > self._limit:
            raise errors.QueueFullError(
                f"{self.n_requests} requests for model {self._name!r} are open already, at most {self._limit} may be; "
                "please try again in a moment",
                retry_after_s=1.0,
            )
        lease = Lease(now_s, urgency, n_requests)
        self._leases.append(lease)
        return lease

    def give_back(self, lease: Lease) -> None:
        """Take note that its owner leaves, used or not."""
        self._leases.remove(lease)
        lease.let_in.cancel()

    def let_in(self) -> None:
        """Let everybody in who waits."""
        for lease in self.waiting:
            lease.let_in.set_result(True)

    def turn_away(self, error: errors.ZoeError) -> None:
        """Tell everybody who waits why nobody is let in."""
        for lease in self.waiting:
            lease.let_in.set_exception(error)
            lease.let_in.exception()  # its owner may have left at this moment, and that is no news


UnloadRequest = asyncio.Future[errors.ZoeError | None]
"""The result says why the model stays, None once it is gone."""


class UnloadRequests:
    """All requests to unload of one model that are not over."""

    def __init__(self) -> None:
        self._open: set[UnloadRequest] = set()

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self) -> UnloadRequest:
        """Return a new one."""
        unload_request: UnloadRequest = asyncio.get_running_loop().create_future()
        self._open.add(unload_request)
        return unload_request

    def recall(self, unload_request: UnloadRequest) -> None:
        """Take note that the model need not go any more, as far as this one is concerned."""
        self._open.discard(unload_request)

    def end(self, problem: errors.ZoeError | None = None) -> None:
        """Tell everybody that the model is gone, or why it stays."""
        for unload_request in self._open:
            if not unload_request.done():  # its owner may have left at this moment
                unload_request.set_result(problem)
        self._open.clear()
