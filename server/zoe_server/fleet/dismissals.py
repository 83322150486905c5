"""`Dismissals`: who wants a model to go, and waits until it is gone or stays after all. It knows no model."""

from __future__ import annotations

import asyncio

from zoe_server import errors

Dismissal = asyncio.Future[errors.ZoeError | None]
"""The result says why the model stays, None once it is gone."""


class Dismissals:
    """All dismissals of one model that are not over."""

    def __init__(self) -> None:
        self._open: set[Dismissal] = set()

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self) -> Dismissal:
        """Return a new one."""
        dismissal: Dismissal = asyncio.get_running_loop().create_future()
        self._open.add(dismissal)
        return dismissal

    def recall(self, dismissal: Dismissal) -> None:
        """Take note that the model need not go any more, as far as this one is concerned."""
        self._open.discard(dismissal)

    def end(self, problem: errors.ZoeError | None = None) -> None:
        """Tell everybody that the model is gone, or why it stays."""
        for dismissal in self._open:
            if not dismissal.done():  # its owner may have left at this moment
                dismissal.set_result(problem)
        self._open.clear()
