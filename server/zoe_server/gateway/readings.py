"""The state of server and machine that metrics mirror, read when somebody asks; asking never loads a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import psutil  # type: ignore[import-untyped]  # it comes without type information

from zoe_server.fleet import hardware
from zoe_server.fleet.fleet import Fleet, ModelStatus
from zoe_server.fleet.gpu import Gpu
from zoe_server.fleet.hardware import Hardware
from zoe_server.fleet.process import State
from zoe_server.metrics.state import GpuState, ModelState, ServerState

Look = Callable[[], Hardware]
"""Looks at this machine; it may block for a moment."""

SERVER: Final = "server"
ENGINES: Final = "engines"
_GPU_SENSOR: Final = "gpu"


def look() -> Hardware:
    """Return what the machine is and how busy, without asking programs that take long."""
    return hardware.detect(jetson_stats=lambda: "")


async def read_state(fleet: Fleet, uptime_s: float, look: Look) -> ServerState:
    """Return what the server, which runs for `uptime_s`, and its machine are like now."""
    machine, process_bytes = await asyncio.to_thread(lambda: (look(), _process_bytes()))
    return ServerState(
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


def _gpu(gpu: Gpu, temperatures_c: Mapping[str, float]) -> GpuState:
    """Return the GPU; one that is part of the chip has its temperature among the machine's sensors."""
    temperature_c = gpu.temperature_c
    if temperature_c is None and gpu.shares_memory:
        found = (value for name, value in temperatures_c.items() if name.lower().startswith(_GPU_SENSOR))
        temperature_c = next(found, None)
    return GpuState(gpu.name, gpu.total_bytes, gpu.free_bytes, gpu.load, temperature_c)


def _model(status: ModelStatus) -> ModelState:
    """Return the model; its engine reports what runs now and then, while the requests that are open are known."""
    active = min(status.health.running, status.open_requests)
    return ModelState(
        name=status.name,
        loaded=status.state is State.READY,
        active=active,
        queued=status.open_requests - active,
        restarts=status.crashes,
        load_s=status.load_s,
        checked_at=status.health.reported_at,
    )
