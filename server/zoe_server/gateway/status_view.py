"""What the status page shows, put into words: everything a template needs, so that it only has to lay it out. Pure."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from zoe_server.engines.engine_log import LogLine
from zoe_server.fleet.model_state import ModelState, ModelStatus
from zoe_server.metrics.state import GpuReading, ServerReading

LISTED_REQUESTS: Final = 12
_CHARTED_REQUESTS: Final = 40
CHART_WIDTH: Final = 160
CHART_HEIGHT: Final = 32
_CHART_MARGIN: Final = 2.0
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_SHOWN_LINES: Final = 40
_LOG_TONES: Final = {logging.ERROR: "bad", logging.WARNING: "busy"}
_TONES: Final = {
    ModelState.READY: "good",
    ModelState.LOADING: "busy",
    ModelState.RESTARTING: "busy",
    ModelState.UNLOADING: "busy",
    ModelState.FAILED: "bad",
    ModelState.QUARANTINED: "bad",
    ModelState.LOST: "bad",
}

Record = Mapping[str, Any]
"""A request as `RequestRecord.record` describes it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A share of something that is full at 100 %: its parts are (tone, percent, words)."""

    title: str
    text: str
    parts: tuple[tuple[str, float, str], ...]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model; `tone` is good, busy, bad or quiet. `line` are the points of the chart of its first-token times.

    `log` are the last lines of its engines, each with its tone.
    """

    name: str
    state: str
    tone: str
    reason: str
    facts: tuple[tuple[str, str], ...]
    line: str
    latency: str
    loading: Bar | None = None
    log: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page."""

    version: str
    state: str
    tone: str
    uptime: str
    bars: tuple[Bar, ...]
    models: tuple[ModelCard, ...]
    running: tuple[Record, ...]
    ended: tuple[Record, ...]


def page(
    version: str,
    now: ServerReading,
    statuses: Sequence[ModelStatus],
    running: Sequence[Record],
    ended: Sequence[Record],
    logs: Mapping[str, Sequence[LogLine]] = MappingProxyType({}),
) -> Page:
    """Return the page; of `running` the oldest come first, of `ended` the latest; `logs` are those of the models."""
    state, tone = _overall(statuses)
    return Page(
        version=version,
        state=state,
        tone=tone,
        uptime=duration(now.uptime_s),
        bars=tuple(_bars(now)),
        models=tuple(_card(status, ended, logs.get(status.name, ())) for status in statuses),
        running=tuple(_row(record) for record in running),
        ended=tuple(_row(record) for record in ended[:LISTED_REQUESTS]),
    )


def duration(seconds: float | None) -> str:
    """Return a time as people say it: two units at most."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    for unit_s, unit, part_s, part in ((_HOUR_S, "min", 1, "s"), (_DAY_S, "h", _MINUTE_S, "min")):
        if seconds < unit_s:
            whole_s = unit_s // (60 if unit == "min" else 24)
            return f"{int(seconds // whole_s)} {unit} {int(seconds % whole_s // part_s)} {part}"
    return f"{int(seconds // _DAY_S)} d {int(seconds % _DAY_S // _HOUR_S)} h"


def size(n_bytes: float) -> str:
    """Return an amount of memory."""
    return f"{n_bytes / _GIB:.1f} GiB" if n_bytes >= _GIB else f"{n_bytes / _MIB:.0f} MiB"


def _overall(statuses: Sequence[ModelStatus]) -> tuple[str, str]:
    states = {status.state for status in statuses}
    if states & {ModelState.FAILED, ModelState.QUARANTINED, ModelState.LOST}:
        return "a model cannot be loaded", "bad"
    if states & {ModelState.LOADING, ModelState.RESTARTING}:
        return "a model is being loaded", "busy"
    return "ready", "good"


def _bars(now: ServerReading) -> list[Bar]:
    bars = []
    if now.memory_total_bytes:
        bars.append(_memory(now))
    for gpu in now.gpus:
        if gpu.total_bytes and gpu.used_bytes is not None:
            percent = 100 * gpu.used_bytes / gpu.total_bytes
            text = f"{size(gpu.used_bytes)} of {size(gpu.total_bytes)}{_gpu_state(gpu)}"
            bars.append(Bar(f"GPU {gpu.name}", text, (("models", percent, "in use"),)))
        elif words := _gpu_state(gpu):
            load = 100 * (gpu.load or 0.0)
            bars.append(Bar(f"GPU {gpu.name}", words.removeprefix(" · "), (("models", load, "busy"),)))
    return bars


def _memory(now: ServerReading) -> Bar:
    total = now.memory_total_bytes
    ours = sum(now.process_bytes.values())
    used = max(0, total - now.memory_available_bytes)
    others = max(0, used - ours)
    parts = (
        ("models", 100 * min(ours, used) / total, f"Zoe {size(ours)}"),
        ("others", 100 * others / total, f"everything else {size(others)}"),
    )
    kind = "Memory, shared with the GPU" if now.unified else "Memory"
    return Bar(kind, f"{size(now.memory_available_bytes)} of {size(total)} available", parts)


def _gpu_state(gpu: GpuReading) -> str:
    load = "" if gpu.load is None else f" · {gpu.load:.0%} busy"
    warmth = "" if gpu.temperature_c is None else f" · {gpu.temperature_c:.0f} °C"
    return load + warmth


def _card(status: ModelStatus, ended: Sequence[Record], log: Sequence[LogLine]) -> ModelCard:
    own = [record for record in ended if record["model"] == status.name]
    first_tokens_s = [record["first_token_s"] for record in own if record["first_token_s"] is not None]
    charted = first_tokens_s[:_CHARTED_REQUESTS][::-1]
    latency = f"{duration(statistics.median(charted))} to the first word" if charted else "nothing said yet"
    return ModelCard(
        name=status.name,
        state=status.state.value,
        tone=_TONES.get(status.state, "quiet"),
        reason=status.reason,
        facts=_facts(status, own),
        line=points(charted),
        latency=latency,
        loading=_loading(status),
        log=tuple((_LOG_TONES.get(line.level, "quiet"), line.text) for line in log[-_SHOWN_LINES:]),
    )


def _loading(status: ModelStatus) -> Bar | None:
    """Return how far the load is; while it warms up, all of the model is there."""
    if (loading := status.loading) is None:
        return None
    percent = 100.0 if loading.phase == "warmup" else 100 * (loading.progress or 0.0)
    words = "warming up" if loading.phase == "warmup" else f"{percent:.0f} % of the model loaded"
    return Bar("loading", words, (("models", percent, words),))


def _facts(status: ModelStatus, own: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    prompt_tokens = sum(record["prompt_tokens"] for record in own)
    cached_tokens = sum(record["cached_tokens"] for record in own)
    active = min(status.health.running, status.open_requests)
    facts = [
        ("active", str(active)),
        ("waiting", str(status.open_requests - active)),
        ("memory", size(status.resident_bytes) if status.resident_bytes else "-"),
        ("loaded in", duration(status.load_s or None)),
        ("restarts", str(status.crashes)),
    ]
    if prompt_tokens:
        facts.append(("prompt reused", f"{cached_tokens / prompt_tokens:.0%}"))
    return tuple(facts)


def _row(record: Record) -> Record:
    """Return a request with its numbers in words; the rest of it stays as it is."""
    failed = record["error"] is not None
    return {
        **record,
        "age": duration(record["age_s"]),
        "first_token": duration(record["first_token_s"]),
        "tokens": f"{record['prompt_tokens']} → {record['completion_tokens']}",
        "result": record["error"] or record["finish"] or record["phase"],
        "tone": "bad" if failed and record["error"] != "cancelled" else "quiet",
    }


def points(values: Sequence[float]) -> str:
    """Return the attribute `points` of a line through `values`, oldest first, from zero up; "" without any.

    A single value is a level line, so that there is something to see.
    """
    if not values:
        return ""
    if len(values) == 1:
        values = (values[0], values[0])
    top = max(*values, 0.0) or 1.0
    across = (CHART_WIDTH - 2 * _CHART_MARGIN) / (len(values) - 1)
    height = CHART_HEIGHT - 2 * _CHART_MARGIN
    placed = (
        (_CHART_MARGIN + index * across, CHART_HEIGHT - _CHART_MARGIN - height * max(0.0, value) / top)
        for index, value in enumerate(values)
    )
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
