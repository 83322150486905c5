"""`Pulls`: the models of the catalogue that are on their way here, and into service.

The catalogue says what there is, the models folder what is here, the fleet what is served and what fits. A model that
was pulled is loaded, lent from then on, and remembered beside the models; zoe.toml is never changed.
A pull belongs to nobody: it goes on when those leave who wait for it, and stops with the server; what has arrived then
is where the next one goes on. One is under way at a time, others wait for it; who asks for one of them joins it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from zoe_server import errors
from zoe_server.catalogue.known import Catalogue
from zoe_server.catalogue.offer import Room, fits, memory_bytes
from zoe_server.catalogue.store import FileState, Store
from zoe_server.fleet.daemon_thread import in_daemon_thread
from zoe_server.fleet.description import gigabytes
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.sizing import UNBOUNDED_BYTES
from zoe_server.routing.router import LATEST
from zoe_server.settings import Settings, SettingsError

if TYPE_CHECKING:
    from zoe_server.catalogue.entry import Entry
    from zoe_server.catalogue.hub import RemoteFile
    from zoe_server.catalogue.spec import ModelSpec

_LOGGER: Final = logging.getLogger(__name__)
_STOP_S: Final = 1.0
"""How long a download that is told to stop may take for it; more than from one piece of a file to the next."""
_SHOWN_DIGITS: Final = 12

Enlist = Callable[[str, Sequence["ModelSpec"]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done, in the words of Ollama's protocol, and how much of it is."""

    status: str
    digest: str | None = None
    total_bytes: int | None = None
    completed_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as Ollama's record."""
        told = {"digest": self.digest, "total": self.total_bytes, "completed": self.completed_bytes}
        return {"status": self.status, **{key: value for key, value in told.items() if value is not None}}


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
    """Brings models of the catalogue of `settings` to `fleet`, which `enlist` takes them into."""

    def __init__(self, settings: Settings, fleet: Fleet, enlist: Enlist) -> None:
        self.catalogue = Catalogue(settings.catalogue)
        self.store = settings.store
        self._settings = settings
        self._fleet = fleet
        self._enlist = enlist
        self._under_way: dict[str, Pull] = {}
        self._turn = asyncio.Lock()

    @property
    def served(self) -> frozenset[str]:
        """The models of the catalogue that are served, by their names there."""
        return frozenset(entry.name for entry in self.catalogue if self._spec(entry) is not None)

    @property
    def room(self) -> Room:
        """The memory for models, as far as that is known; those that wait to be asked for take none for good."""
        bundled = next(entry for entry in self.catalogue if entry.bundled)
        at_home = {spec.name for spec in self._fleet.specs if spec.load == "start"} - {bundled.name}
        budget_bytes = self._fleet.budget_bytes
        return Room(
            UNBOUNDED_BYTES if budget_bytes is None else budget_bytes,
            sum(status.size_bytes for status in self._fleet.status() if status.name in at_home),
            self._fleet.extra_bytes,
        )

    def offers(self) -> list[Entry]:
        """Return the models that could be served, too."""
        absent = [entry for entry in self.catalogue if entry.name not in self.served]
        return [entry for entry in absent if self._settings.objection(entry.name) is None]

    def find(self, name: str) -> Entry:
        """Return the model of the catalogue of that name or alias.

        Raises:
            errors.ModelNotFoundError: there is none.
        """
        spellings = (name, name.removesuffix(LATEST), name + LATEST)
        found = (self.catalogue.find(spelling) for spelling in spellings)
        entry = next((entry for entry in found if entry is not None), None)
        if entry is None:
            raise errors.ModelNotFoundError(
                f"the catalogue has no model {name[:200]!r}; it has {', '.join(self.catalogue.names)}. Others can be "
                "added to it in zoe.toml",
                param="model",
            )
        return entry

    def step(self, entry: Entry) -> Step | None:
        """Return what is being done to bring the model here, None if nothing is."""
        pull = self._under_way.get(entry.name)
        return pull.steps[-1] if pull is not None and pull.steps else None

    def pull(self, entry: Entry) -> Pull:
        """Begin to bring the model here and into service, or join who does.

        Raises:
            errors.InvalidRequestError: it could not be served here.
        """
        under_way = self._under_way.get(entry.name)
        if under_way is not None:
            return under_way
        self._check(entry)
        pull = self._under_way[entry.name] = Pull(lambda pull: self._in_turn(entry, pull))
        pull.task.add_done_callback(lambda task: self._ended(entry.name, task))
        return pull

    async def stop(self) -> None:
        """End everything that is under way."""
        tasks = {pull.task for pull in self._under_way.values()}
        for pull in self._under_way.values():
            pull.stopping.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_S)
            for task in late:
                task.cancel()

    async def _in_turn(self, entry: Entry, pull: Pull) -> None:
        if self._turn.locked():
            pull.note(Step("waiting for another download"))
        async with self._turn:
            await self._bring(entry, pull)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._under_way[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            known = isinstance(error, errors.ZoeError)
            told = errors.in_one_line(str(error))
            _LOGGER.warning("%s cannot be pulled: %s", name, told, exc_info=None if known else error)

    def _spec(self, entry: Entry) -> ModelSpec | None:
        path = self.store.weights_path(entry)
        return next((spec for spec in self._fleet.specs if spec.name == entry.name or spec.path == path), None)

    def _check(self, entry: Entry) -> None:
        if (objection := self._settings.objection(entry.name)) is not None:
            raise errors.InvalidRequestError(f"{entry.name} cannot be served: {objection}", param="model")
        room = self.room
        if self._spec(entry) is None and not fits(entry, room):
            raise errors.InvalidRequestError(
                f"{entry.name} needs about {gigabytes(memory_bytes(entry, room) or 0)} of memory, and models may take "
                f"{gigabytes(room.budget_bytes)} here; choose a smaller model, or allow more with memory_budget_bytes "
                "in [server] of zoe.toml",
                param="model",
            )

    async def _bring(self, entry: Entry, pull: Pull) -> None:
        """Fetch what is missing of the model, and serve it if it is not served.

        Raises:
            errors.ZoeError: that is impossible, and why.
        """
        pull.note(Step("pulling manifest"))
        spec = self._spec(entry)
        is_elsewhere = spec is not None and spec.path != self.store.weights_path(entry)
        if not is_elsewhere and self.store.state(entry) not in (FileState.BUNDLED, FileState.PULLED):
            reporter = _Reporter(pull, asyncio.get_running_loop())
            await in_daemon_thread(lambda: _fetch(entry, self.store, reporter), "pull")
        pull.note(Step("writing manifest"))
        if spec is None:
            pull.note(Step("loading model"))
            await self._serve(entry)
        if not await asyncio.to_thread(self._settings.serves, entry.name):
            await self._remember(entry)

    async def _serve(self, entry: Entry) -> None:
        pulled = [spec.name for spec in self._fleet.specs if spec.name not in self._settings.models]
        try:
            specs = await asyncio.to_thread(self._settings.specs, (*pulled, entry.name))
        except SettingsError as error:
            raise errors.DownloadFailedError(f"{entry.name} is here, but cannot be served: {error}") from error
        try:
            await self._enlist(entry.name, specs)
        except errors.EngineUnavailableError as error:
            raise errors.DownloadFailedError(f"{entry.name} is here, but is not served: {error.message}") from error

    async def _remember(self, entry: Entry) -> None:
        try:
            await asyncio.to_thread(self.store.pulled_models.add, entry.name)
        except OSError as error:
            raise errors.DownloadFailedError(
                f"{entry.name} is served, but will not be after a restart: {error.filename or self.store.folder}: "
                f"{error.strerror or error}. To serve it then, zoe.toml needs [models.{entry.name!r}]"
            ) from error


class _StoppedError(Exception):
    """The server ends this download."""


class _Reporter:
    """Tells a pull, from the thread of its download, how far that is."""

    def __init__(self, pull: Pull, loop: asyncio.AbstractEventLoop) -> None:
        self._pull = pull
        self._loop = loop
        self._sums: dict[str, str | None] = {}

    def manifest(self, remotes: Sequence[RemoteFile]) -> None:
        """Take note of what is to come."""
        self._sums = {remote.file.name: remote.file.sha256 or remote.sha256 for remote in remotes}

    def progress(self, what: str, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Tell how far it is.

        Raises:
            _StoppedError: it is to stop.
        """
        if self._pull.stopping.is_set():
            raise _StoppedError
        self._loop.call_soon_threadsafe(self._pull.note, self._step(what, name, done_bytes, total_bytes))

    def _step(self, what: str, name: str, done_bytes: int, total_bytes: int | None) -> Step:
        if what == "check":
            return Step("verifying sha256 digest", None, total_bytes, done_bytes)
        digest = self._sums.get(name)
        if digest is None:
            return Step(f"pulling {name}", None, total_bytes, done_bytes)
        return Step(f"pulling {digest[:_SHOWN_DIGITS]}", f"sha256:{digest}", total_bytes, done_bytes)


def _fetch(entry: Entry, store: Store, reporter: _Reporter) -> None:
    """Bring the model's files here.

    Raises:
        errors.ZoeError: that is impossible, or the server stops.
    """
    # the hub's library is slow to import
    from zoe_server.catalogue.download import DownloadError, pull  # noqa: PLC0415
    from zoe_server.catalogue.hub import Hub  # noqa: PLC0415

    try:
        pull(entry.files, store, Hub(), reporter.progress, reporter.manifest)
    except DownloadError as error:
        raise errors.DownloadFailedError(f"{entry.name}: {error}") from error
    except _StoppedError as error:
        text = "the server is stopping; what has arrived is kept"
        raise errors.EngineUnavailableError(text, code="stopping") from error


async def _is_set(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
