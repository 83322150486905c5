"""`UnloadRequests`: who wants a model to go, and waits until it is gone or stays after all. It knows no model."""

from __future__ import annotations

import asyncio

from zoe_server import errors

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
