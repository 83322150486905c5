"""Metrics as JSON, for programs that do not read Prometheus' text; it is made of the same samples.

    {"uptime_s": 86.2,
     "memory": {"total_bytes": ..., "available_bytes": ..., "unified": false,
                "process_bytes": {"server": ..., "engines": ...}},
     "gpus": [{"gpu": 0, "name": "...", "memory_total_bytes": ..., "memory_used_bytes": ..., "memory_free_bytes": ...,
               "utilization": 0.31, "temperature_c": 48.0}],
     "temperatures_c": {"cpu-thermal": 51.0},
     "models": {"zoe-nano": {
         "loaded": true, "active": 1, "queued": 0, "requests": 12, "failures": 0, "restarts": 0, "load_s": 0.4,
         "last_health_check": 1767225600.0,
         "first_token_s": {"count": 12, "sum": 1.9, "buckets": {"0.01": 0, ..., "+Inf": 12}},
         "per_token_s": {...}, "duration_s": {...}, "queue_s": {...},
         "prompt_tokens": {"computed": 310, "reused": 9120}, "completion_tokens": 240,
         "tool_calls": {"valid": 9, "repaired": 0, "invalid": 0}, "routes": {"automation": 9}, "fallbacks": {}}},
     "failures": {"model_not_found": 1}}

What is not known is null. `failures` at the end has those of requests that no model was chosen for, too; the counts in
`buckets` are of all that took at most so many seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client import Metric

_GPU_VALUES: Final = {
    "memory_total_bytes": "zoe_gpu_memory_total_bytes",
    "memory_used_bytes": "zoe_gpu_memory_used_bytes",
    "memory_free_bytes": "zoe_gpu_memory_free_bytes",
    "utilization": "zoe_gpu_utilization_ratio",
    "temperature_c": "zoe_gpu_temperature_celsius",
}


class _Samples:
    """The samples of all metrics, by name."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._by_name: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in families:
            for sample in family.samples:
                self._by_name.setdefault(sample.name, []).append((sample.labels, sample.value))

    def rows(self, name: str, **labels: str) -> Iterator[tuple[Mapping[str, str], float]]:
        """Yield labels and value of the samples of that name that have `labels`."""
        for found, value in self._by_name.get(name, ()):
            if labels.items() <= found.items():
                yield found, value

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the one sample with `labels`, None if there is none."""
        return next((value for _, value in self.rows(name, **labels)), None)

    def count(self, name: str, **labels: str) -> int:
        """Return the sum of the samples with `labels`."""
        return int(sum(value for _, value in self.rows(name, **labels)))

    def size(self, name: str, **labels: str) -> int | None:
        """Return a value that is a whole number."""
        value = self.value(name, **labels)
        return None if value is None else int(value)

    def counts(self, name: str, by: str, **labels: str) -> dict[str, int]:
        """Return the sums of the samples with `labels`, by the values of the label `by`."""
        found: Counter[str] = Counter()
        for label_values, value in self.rows(name, **labels):
            found[label_values[by]] += int(value)
        return dict(found)

    def histogram(self, name: str, **labels: str) -> dict[str, Any]:
        """Return the sum of the histograms with `labels`."""
        return {
            "count": self.count(f"{name}_count", **labels),
            "sum": sum(value for _, value in self.rows(f"{name}_sum", **labels)),
            "buckets": self.counts(f"{name}_bucket", "le", **labels),
        }


def snapshot(families: Sequence[Metric]) -> dict[str, Any]:
    """Return the metrics as the JSON object that the module describes."""
    samples = _Samples(families)
    models = [labels["model"] for labels, _ in samples.rows("zoe_model_loaded")]
    return {
        "uptime_s": samples.value("zoe_uptime_seconds"),
        "memory": {
            "total_bytes": samples.size("zoe_memory_total_bytes"),
            "available_bytes": samples.size("zoe_memory_available_bytes"),
            "unified": bool(samples.value("zoe_memory_unified")),
            "process_bytes": samples.counts("zoe_process_memory_bytes", "process"),
        },
        "gpus": [_gpu(samples, *gpu) for gpu in _gpus(samples)],
        "temperatures_c": {labels["sensor"]: value for labels, value in samples.rows("zoe_temperature_celsius")},
        "models": {model: _model(samples, model) for model in models},
        "failures": samples.counts("zoe_request_failures_total", "code"),
    }


def _gpus(samples: _Samples) -> list[tuple[str, str]]:
    """Return index and name of every GPU that something is known of."""
    found = {(int(labels["gpu"]), labels["name"]) for name in _GPU_VALUES.values() for labels, _ in samples.rows(name)}
    return [(str(index), name) for index, name in sorted(found)]


def _gpu(samples: _Samples, index: str, name: str) -> dict[str, Any]:
    known = {key: samples.value(metric, gpu=index) for key, metric in _GPU_VALUES.items()}
    sizes = {key: int(value) for key, value in known.items() if key.endswith("_bytes") and value is not None}
    return {"gpu": int(index), "name": name, **known, **sizes}


def _model(samples: _Samples, model: str) -> dict[str, Any]:
    return {
        "loaded": bool(samples.value("zoe_model_loaded", model=model)),
        "active": samples.size("zoe_model_active_requests", model=model),
        "queued": samples.size("zoe_model_queued_requests", model=model),
        "requests": samples.count("zoe_requests_total", model=model),
        "failures": samples.count("zoe_request_failures_total", model=model),
        "restarts": samples.size("zoe_model_restarts_total", model=model),
        "load_s": samples.value("zoe_model_load_seconds", model=model),
        "last_health_check": samples.value("zoe_model_last_health_check_timestamp_seconds", model=model),
        "first_token_s": samples.histogram("zoe_time_to_first_token_seconds", model=model),
        "per_token_s": samples.histogram("zoe_time_per_output_token_seconds", model=model),
        "duration_s": samples.histogram("zoe_request_duration_seconds", model=model),
        "queue_s": samples.histogram("zoe_queue_wait_seconds", model=model),
        "prompt_tokens": samples.counts("zoe_prompt_tokens_total", "source", model=model),
        "completion_tokens": samples.count("zoe_completion_tokens_total", model=model),
        "tool_calls": samples.counts("zoe_tool_calls_total", "result", model=model),
        "routes": samples.counts("zoe_routes_total", "rule", model=model),
        "fallbacks": samples.counts("zoe_fallbacks_total", "to", model=model),
    }
