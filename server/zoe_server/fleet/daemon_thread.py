"""Calls that block, perhaps for ever, as into a driver that hangs: in threads that keep no process from ending."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

_LOGGER: Final = logging.getLogger(__name__)
_ResultT = TypeVar("_ResultT")


async def in_daemon_thread(call: Callable[[], _ResultT], name: str) -> _ResultT:
    """Return what `call` returns, or raise what it raises, in a thread that goes on if this is cancelled."""
    result = Future[_ResultT]()
    result.set_running_or_notify_cancel()  # from now on it cannot be cancelled, so the thread can always settle it
    threading.Thread(target=_settle, args=(call, result), name=name, daemon=True).start()
    return await asyncio.wrap_future(result)


def _settle(call: Callable[[], _ResultT], result: Future[_ResultT]) -> None:
    try:
        result.set_result(call())
    except Exception as error:  # noqa: BLE001 -- it is raised where the result is awaited
        result.set_exception(error)


class CallQueue:
    """Calls are made one after the other: a thread that hangs cannot be ended, so there is only one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = asyncio.Lock()
        self._hangs = False

    async def call(self, call: Callable[[], _ResultT], timeout_s: float) -> _ResultT:
        """Return what `call` returns, or raise what it raises, once those before it have ended.

        Raises:
            TimeoutError: that takes longer than `timeout_s`; while the call that took so long goes on, at once.
        """
        if self._hangs:
            raise TimeoutError
        try:
            async with asyncio.timeout(timeout_s):
                await self._turn.acquire()
                task = asyncio.create_task(in_daemon_thread(call, self._name))
                task.add_done_callback(self._ended)
                return await asyncio.shield(task)
        except TimeoutError:
            self._hangs = self._turn.locked()
            _LOGGER.warning("no answer about %s within %g s; a driver may hang", self._name, timeout_s)
            raise

    def _ended(self, task: asyncio.Task[_ResultT]) -> None:
        self._hangs = False
        self._turn.release()
        if not task.cancelled():
            task.exception()  # who waited has had it, or has left
