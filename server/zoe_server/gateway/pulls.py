"""`Pulls`: the models that are on their way here. Who asks for one that is under way already joins it.

A pull belongs to nobody: it goes on when those leave who wait for it, and stops with the server; what has arrived then
is where the next one goes on. One is under way at a time, others wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from zoe_server import errors

_LOGGER: Final = logging.getLogger(__name__)
_STOP_S: Final = 1.0
"""How long a download that is told to stop may take for it; more than from one piece of a file to the next."""
_ResultT = TypeVar("_ResultT")


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done, in the words of Ollama's protocol, and how much of it is."""

    status: str
    digest: str | None = None
    total_bytes: int | None = None
    completed_bytes: int | None = None


class Pull:
    """One model on its way here, as those see it who follow it: its steps, the last of which is at work.

    `work` begins at once; it notes its steps here, ends when `stopping` is set, and fails with a ZoeError.
    """

    def __init__(self, work: Work) -> None:
        self.steps: list[Step] = []
        self.stopping = threading.Event()
        self._changed = asyncio.Event()
        self.task = asyncio.create_task(work(self), name="pull")
        self.task.add_done_callback(lambda _: self._wake())

    def note(self, step: Step) -> None:
        """Take note of a new step, or of how far the last one is."""
        if self.steps and self.steps[-1].status == step.status:
            self.steps[-1] = step
        else:
            self.steps.append(step)
        self._wake()

    async def follow(self, interval_s: float) -> AsyncGenerator[Step, None]:
        """Yield every step from the first on, and the one at work again when it is further, or after `interval_s`.

        Raises:
            errors.ZoeError: the pull failed.
        """
        position, told = 0, None
        while True:
            changed = self._changed
            step = self.steps[position] if position < len(self.steps) else None
            if step is not None and step is not told:
                told = step
                yield step
            elif position + 1 < len(self.steps):
                position += 1
            elif self.task.done():
                break
            elif not await _is_set(changed, interval_s):
                told = None
        if self.task.cancelled():
            raise errors.EngineUnavailableError("the server is stopping; what has arrived is kept", code="stopping")
        self.task.result()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


Work = Callable[[Pull], Coroutine[Any, Any, None]]


class Pulls:
    """The pulls under way, by the names of their models."""

    def __init__(self) -> None:
        self._under_way: dict[str, Pull] = {}
        self._turn = asyncio.Lock()

    def find(self, name: str) -> Pull | None:
        """Return the pull of the model `name`, if it is under way."""
        return self._under_way.get(name)

    def start(self, name: str, work: Work) -> Pull:
        """Begin to pull the model `name` with `work`, as soon as no other is under way."""
        pull = self._under_way[name] = Pull(lambda pull: self._in_turn(pull, work))
        pull.task.add_done_callback(lambda task: self._ended(name, task))
        return pull

    async def stop(self) -> None:
        """End all pulls."""
        tasks = {pull.task for pull in self._under_way.values()}
        for pull in self._under_way.values():
            pull.stopping.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_S)
            for task in late:
                task.cancel()

    async def _in_turn(self, pull: Pull, work: Work) -> None:
        if self._turn.locked():
            pull.note(Step("waiting for another download"))
        async with self._turn:
            await work(pull)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._under_way[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            known = isinstance(error, errors.ZoeError)
            told = errors.in_one_line(str(error))
            _LOGGER.warning("%s cannot be pulled: %s", name, told, exc_info=None if known else error)


async def in_thread(work: Callable[[], _ResultT]) -> _ResultT:
    """Return what `work` returns, or raise what it raises, in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_ResultT] = loop.create_future()

    def settle(result: _ResultT | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # there is one where there is no error

    def run() -> None:
        result: _ResultT | None = None
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="pull", daemon=True).start()
    return await future


async def _is_set(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
