"""What the handlers share: one object in the application, made once at start; and what it reads of the machine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psutil  # type: ignore[import-untyped]  # it comes without type information
from aiohttp import web

from zoe_server import errors
from zoe_server.fleet import hardware
from zoe_server.fleet.daemon_thread import CallQueue
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.gpu import Gpu
from zoe_server.fleet.hardware import Hardware
from zoe_server.fleet.model_state import ModelState, ModelStatus
from zoe_server.gateway.tracking import Tracker
from zoe_server.metrics.metrics import Metrics
from zoe_server.metrics.state import GpuReading, ModelReading, ServerReading
from zoe_server.routing.router import Router
from zoe_server.settings import ServerSettings

if TYPE_CHECKING:
    from prometheus_client import Metric

    from zoe_server.catalogue.spec import ModelSpec
    from zoe_server.gateway.pull import Pulls

_LOGGER: Final = logging.getLogger(__name__)
Look = Callable[[], Hardware]
"""Looks at this machine; it may block for a moment."""

SERVER: Final = "server"
ENGINES: Final = "engines"
_GPU_SENSOR: Final = "gpu"
_LOOK_S: Final = 5.0
"""Less than who collects metrics waits for them."""


@dataclass(slots=True)
class Services:
    """The parts that answer requests.

    `server_id` says who the server is, None where that cannot be kept. `open_requests` counts those in work; `draining`
    says that no new ones are taken. `look` says what the machine is. Without `pulls` no other models can be had.
    """

    settings: ServerSettings
    api_key: str | None
    fleet: Fleet
    router: Router
    server_id: str | None = None
    pulls: Pulls | None = None
    started_at: int = field(default_factory=lambda: int(time.time()))
    draining: bool = False
    open_requests: int = 0
    idle: asyncio.Condition = field(default_factory=asyncio.Condition)
    look: Look = field(default_factory=lambda: _look)
    metrics: Metrics = field(init=False)
    tracker: Tracker = field(init=False)
    _started: float = field(default_factory=time.monotonic)
    _looks: CallQueue = field(default_factory=lambda: CallQueue("the hardware"))
    _machine: Hardware = hardware.UNKNOWN
    _unloading: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.metrics = Metrics(spec.name for spec in self.fleet.specs)
        self.tracker = Tracker(self.metrics.observe, keeps_prompts=self.settings.log_prompts)

    @property
    def uptime_s(self) -> float:
        """For how long the server runs, whatever becomes of the machine's clock."""
        return time.monotonic() - self._started

    async def read_state(self) -> ServerReading:
        """Return what server and machine are like now; the machine as it was last, while its driver hangs."""
        with suppress(TimeoutError):
            self._machine = await self._looks.call(self.look, _LOOK_S)
        process_bytes = await asyncio.to_thread(_process_bytes)
        return _reading(self.fleet, self._machine, process_bytes, self.uptime_s)

    async def read_metrics(self) -> tuple[Metric, ...]:
        """Return all metrics as they are now."""
        return self.metrics.families(await self.read_state())

    async def enlist(self, name: str, specs: Sequence[ModelSpec]) -> None:
        """Serve `specs` from now on, among them a new model called `name`; see `Fleet.enlist`.

        Raises:
            errors.EngineUnavailableError: it cannot be loaded.
        """
        await self.fleet.enlist(name, specs)
        self.router = Router(self.fleet.specs, self.router.preferred)
        self.metrics.begin(name)

    async def prefer(self, engine: str | None) -> None:
        """Have the models that this engine runs answer from now on where no model is named; None is by their order.

        Those that come first then are loaded before, so that nobody waits; what is in work stays where it is.

        Raises:
            errors.InvalidRequestError: no model has this engine.
            errors.EngineUnavailableError: one of them cannot be loaded; everything is as it was.
        """
        specs = self.fleet.specs
        if engine is not None and all(spec.engine != engine for spec in specs):
            raise errors.InvalidRequestError(f"provider: no model here is run by it ({engine})", param="provider")
        router = Router(specs, engine)
        for name in dict.fromkeys(spec.name for spec in router.first_choices.values() if spec.load == "start"):
            await self.fleet.load(name)
        self.router = router

    async def unload(self, name: str) -> None:
        """Take the model `name` out of memory, if nobody uses it or waits for it.

        Raises:
            errors.ModelBusyError: somebody does; it stays, and nobody is turned away.
        """
        n_open = next(one.open_requests for one in self.fleet.status() if one.name == name)
        if n_open:
            raise errors.ModelBusyError(f"the model {name!r} still answers {n_open} requests; it stays in memory")
        await self.fleet.unload(name)

    def unload_later(self, name: str) -> None:
        """Take the model `name` out of memory as soon as who calls this has let go of it, unless others use it."""
        task = asyncio.create_task(self._unload_unused(name), name=f"unload {name}")
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    async def _unload_unused(self, name: str) -> None:
        try:
            await self.unload(name)
        except errors.ModelBusyError:
            _LOGGER.debug("%s stays, others use it", name)
        except errors.ZoeError as error:
            _LOGGER.warning("%s was not unloaded: %s", name, errors.in_one_line(error.message))

    async def wait_idle(self) -> None:
        """Return when no request is in work."""
        async with self.idle:
            await self.idle.wait_for(lambda: self.open_requests == 0)


SERVICES: Final = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    """Return the services of the application that `request` came to."""
    return request.app[SERVICES]


def _look() -> Hardware:
    """Return what the machine is and how busy, without asking programs that take long."""
    return hardware.detect(jetson_stats=lambda: "")


def _reading(fleet: Fleet, machine: Hardware, process_bytes: Mapping[str, int], uptime_s: float) -> ServerReading:
    """Return what the server, which runs for `uptime_s`, and its machine are like."""
    return ServerReading(
        uptime_s=uptime_s,
        process_bytes=process_bytes,
        memory_total_bytes=machine.memory_total_bytes,
        memory_available_bytes=machine.memory_available_bytes,
        unified=machine.unified,
        gpus=tuple(_gpu(gpu, machine.temperatures_c) for gpu in machine.gpus),
        temperatures_c=machine.temperatures_c,
        models=tuple(_model(status) for status in fleet.status()),
    )


def _process_bytes() -> dict[str, int]:
    """Return what this process and those below it hold in memory."""
    own = psutil.Process()
    engines_bytes = 0
    for child in own.children(recursive=True):
        with suppress(psutil.Error):  # it ended meanwhile, and holds nothing any more
            engines_bytes += child.memory_info().rss
    return {SERVER: own.memory_info().rss, ENGINES: engines_bytes}


def _gpu(gpu: Gpu, temperatures_c: Mapping[str, float]) -> GpuReading:
    """Return the GPU; one that is part of the chip has its temperature among the machine's sensors."""
    temperature_c = gpu.temperature_c
    if temperature_c is None and gpu.shares_memory:
        found = (value for name, value in temperatures_c.items() if name.lower().startswith(_GPU_SENSOR))
        temperature_c = next(found, None)
    return GpuReading(gpu.name, gpu.total_bytes, gpu.free_bytes, gpu.load, temperature_c)


def _model(status: ModelStatus) -> ModelReading:
    """Return the model; its engine reports what runs now and then, while the requests that are open are known."""
    active = min(status.health.running, status.open_requests)
    return ModelReading(
        name=status.name,
        loaded=status.state is ModelState.READY,
        active=active,
        queued=status.open_requests - active,
        restarts=status.crashes,
        load_s=status.load_s,
        checked_at=status.health.reported_at,
    )
