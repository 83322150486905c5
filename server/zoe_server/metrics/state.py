"""The metrics that mirror a state: what is read when somebody asks for them, and how it becomes metrics.

This module reads nothing itself; it gets a `ServerReading`. What is not known there has no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class ModelReading:
    """One model; `checked_at` is when its engine last reported, in seconds since 1970."""

    name: str
    loaded: bool
    active: int
    queued: int
    restarts: int
    load_s: float
    checked_at: float | None = None


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU; sizes in bytes, `load` 0 to 1. A GPU that shares the machine's memory has none of its own."""

    name: str
    total_bytes: int | None = None
    free_bytes: int | None = None
    load: float | None = None
    temperature_c: float | None = None

    @property
    def used_bytes(self) -> int | None:
        """What programs took of its memory."""
        if self.total_bytes is None or self.free_bytes is None:
            return None
        return self.total_bytes - self.free_bytes


@dataclass(frozen=True, slots=True)
class ServerReading:
    """A server and its machine at one moment; sizes in bytes, 0 of memory is "unknown".

    `process_bytes` is what the server's processes hold in memory, by what they do. With `unified` memory the GPU uses
    that of the machine.
    """

    uptime_s: float
    process_bytes: Mapping[str, int] = field(default_factory=dict)
    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    unified: bool = False
    gpus: tuple[GpuReading, ...] = ()
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    models: tuple[ModelReading, ...] = ()


Row = tuple[tuple[str, ...], float | None]
"""The values of the labels, and that of the metric; None is "unknown"."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """One metric of the table: its name, what it means, its labels, and where its rows come from."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    rows: Callable[[ServerReading], Iterable[Row]]


def _one(value: Callable[[ServerReading], float | None]) -> Callable[[ServerReading], Iterable[Row]]:
    return lambda now: [((), value(now))]


def _each_model(value: Callable[[ModelReading], float | None]) -> Callable[[ServerReading], Iterable[Row]]:
    return lambda now: (((model.name,), value(model)) for model in now.models)


def _each_gpu(value: Callable[[GpuReading], float | None]) -> Callable[[ServerReading], Iterable[Row]]:
    return lambda now: (((str(index), gpu.name), value(gpu)) for index, gpu in enumerate(now.gpus))


def _each(values: Callable[[ServerReading], Mapping[str, float]]) -> Callable[[ServerReading], Iterable[Row]]:
    return lambda now: (((name,), value) for name, value in values(now).items())


_MODEL: Final = ("model",)
_GPU: Final = ("gpu", "name")
MIRRORS: Final = (
    Mirror("zoe_uptime_seconds", "Since the server was started.", (), _one(lambda now: now.uptime_s)),
    Mirror(
        "zoe_process_memory_bytes",
        "Memory that processes of the server hold (resident): the server itself, and all its engines together.",
        ("process",),
        _each(lambda now: now.process_bytes),
    ),
    Mirror(
        "zoe_memory_total_bytes",
        "Memory of the machine, or of the container's limit.",
        (),
        _one(lambda now: now.memory_total_bytes or None),
    ),
    Mirror(
        "zoe_memory_available_bytes",
        "Memory of the machine that a program could take now.",
        (),
        _one(lambda now: now.memory_available_bytes if now.memory_total_bytes else None),
    ),
    Mirror(
        "zoe_memory_unified", "1 where the GPU uses the machine's memory, else 0.", (), _one(lambda now: now.unified)
    ),
    Mirror("zoe_gpu_memory_total_bytes", "Memory of the GPU.", _GPU, _each_gpu(lambda gpu: gpu.total_bytes)),
    Mirror("zoe_gpu_memory_used_bytes", "Memory of the GPU in use.", _GPU, _each_gpu(lambda gpu: gpu.used_bytes)),
    Mirror("zoe_gpu_memory_free_bytes", "Memory of the GPU not in use.", _GPU, _each_gpu(lambda gpu: gpu.free_bytes)),
    Mirror("zoe_gpu_utilization_ratio", "How busy the GPU is, 0 to 1.", _GPU, _each_gpu(lambda gpu: gpu.load)),
    Mirror("zoe_gpu_temperature_celsius", "How warm the GPU is.", _GPU, _each_gpu(lambda gpu: gpu.temperature_c)),
    Mirror(
        "zoe_temperature_celsius",
        "How warm the machine is, by the names of its sensors.",
        ("sensor",),
        _each(lambda now: now.temperatures_c),
    ),
    Mirror("zoe_model_loaded", "1 while the model is ready, else 0.", _MODEL, _each_model(lambda model: model.loaded)),
    Mirror(
        "zoe_model_active_requests",
        "Requests that the model's engine works on.",
        _MODEL,
        _each_model(lambda model: model.active),
    ),
    Mirror(
        "zoe_model_queued_requests",
        "Requests that wait for the model.",
        _MODEL,
        _each_model(lambda model: model.queued),
    ),
    Mirror(
        "zoe_model_restarts_total",
        "How often the model's engine ended by itself and was started again.",
        _MODEL,
        _each_model(lambda model: model.restarts),
    ),
    Mirror(
        "zoe_model_load_seconds",
        "How long the last load took.",
        _MODEL,
        _each_model(lambda model: model.load_s or None),
    ),
    Mirror(
        "zoe_model_last_health_check_timestamp_seconds",
        "When the model's engine last reported, in seconds since 1970.",
        _MODEL,
        _each_model(lambda model: model.checked_at),
    ),
)


def families(now: ServerReading) -> Iterator[Metric]:
    """Yield the metrics of the table with what is known of them."""
    for mirror in MIRRORS:
        kind = CounterMetricFamily if mirror.name.endswith("_total") else GaugeMetricFamily
        family = kind(mirror.name, mirror.meaning, labels=mirror.labels)
        for labels, value in mirror.rows(now):
            if value is not None:
                family.add_metric(labels, value)
        yield family
