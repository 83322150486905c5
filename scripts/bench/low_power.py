"""A small machine: one core for the whole server, and the model that is included.

What is measured is what somebody with a Raspberry Pi notices: how long until it answers, how soon an order has become a
tool call, and what it takes of the memory. Home Assistant's own part of an order is not in it.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it comes without type information

from bench.client import Advance
from bench.contention import N_ORDERS, order_s, orders, p95
from bench.figure import Figure, Target
from bench.servers import Load, ZoeServer, running
from zoe_server.catalogue.spec import bundled_model_path

NAME = "low-power"
TITLE = "one core for all of it, zoe-nano, orders to a home one after the other"
CORE = 0
N_ROUNDS = 5
N_UNITS = N_ROUNDS * N_ORDERS
MAX_ORDER_MS = 400.0
MAX_MIB = 250.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class OneCore(ZoeServer):
    """`zoe serve`, which may use one core."""

    def command(self, port: int, folder: Path) -> list[str]:
        """Return the command. See `Server.command`."""
        # The plain call of `super()` does not work in a dataclass with slots.
        return ["taskset", "--cpu-list", str(CORE), *ZoeServer.command(self, port, folder)]


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called after every order."""
    bodies = await orders()
    load = Load(bundled_model_path(), 8192, 2, 1)
    measure = order_s(bodies)
    began_s = time.perf_counter()
    async with running(OneCore(load)) as client:
        ready_s = time.perf_counter() - began_s
        first_s = await measure(client, 0)
        times_s = []
        for number in range(N_UNITS):
            times_s.append(await measure(client, number + 1))
            advance(1)
        held_mib = _held_bytes() / _MIB
    return [
        Figure("until it is ready", ready_s, "s"),
        Figure("first order to tool call, the home's prompt computed", 1000 * first_s, "ms"),
        Figure("order to tool call, p50", 1000 * statistics.median(times_s), "ms", target=Target(MAX_ORDER_MS)),
        Figure("order to tool call, p95", 1000 * p95(times_s), "ms"),
        Figure("memory, all processes", held_mib, "MiB", target=Target(MAX_MIB)),
    ]


def _held_bytes() -> int:
    """Return what the server's processes hold together; what they share counts once."""
    ours = psutil.Process(os.getpid()).children(recursive=True)
    return sum(int(process.memory_full_info().pss) for process in ours if process.is_running())
