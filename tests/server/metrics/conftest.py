"""A server that has answered a few requests, as metrics see it."""

from __future__ import annotations

import pytest

from zoe_server import protocol
from zoe_server.metrics.metrics import Metrics
from zoe_server.metrics.outcome import Outcome
from zoe_server.metrics.state import GpuReading, ModelReading, ServerReading

CHAT = "/v1/chat/completions"
FINISH = protocol.Finish("stop", protocol.Usage(100, 90, 11), protocol.Timings(0.02, 0.12, 1.12))
PRIMED = protocol.Finish("length", protocol.Usage(50, 0, 0), protocol.Timings(0.0, 0.3, 0.3))
OUTCOMES = (
    Outcome(CHAT, 1.2, "ok", "automation", "big", "big", finishes=(FINISH,), calls={"valid": 2, "invalid": 1}),
    Outcome(CHAT, 1.3, "ok", "automation", "big", "small", finishes=(FINISH, FINISH)),
    Outcome("/v1/completions", 0.4, "ok", "named", "big", "big", finishes=(PRIMED,)),
    Outcome(CHAT, 0.1, "failed", "chat", "small", "small", code="engine_crashed"),
    Outcome(CHAT, 7.0, "cancelled", "chat", "small", "small", code="cancelled"),
    Outcome("unknown", 0.001, "failed", code='no "such"\n\\ code'),
)
STATE = ServerReading(
    uptime_s=12.5,
    process_bytes={"server": 1000, "engines": 5000},
    memory_total_bytes=16_000_000_000,
    memory_available_bytes=9_000_000_001,
    gpus=(GpuReading('NVIDIA "GeForce"', 12_884_901_888, 12_201_951_232, 0.25, 36.0), GpuReading("unknown")),
    temperatures_c={"cpu-thermal": 49.343, "größe": 40.0},
    models=(
        ModelReading("big", loaded=True, active=2, queued=1, restarts=3, load_s=4.5, checked_at=1_767_225_600.25),
        ModelReading("small", loaded=False, active=0, queued=0, restarts=0, load_s=0.0),
    ),
)


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics(["big", "small"])
    for outcome in OUTCOMES:
        metrics.observe(outcome)
    return metrics


@pytest.fixture
def state() -> ServerReading:
    return STATE
