"""The JSON form: its shape, and that it says the same as Prometheus' text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from zoe_server.metrics.metrics import Metrics
from zoe_server.metrics.prometheus import exposition
from zoe_server.metrics.snapshot import snapshot
from zoe_server.metrics.state import ModelReading, ServerReading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import Metric

HISTOGRAMS = {
    "first_token_s": "zoe_time_to_first_token_seconds",
    "per_token_s": "zoe_time_per_output_token_seconds",
    "duration_s": "zoe_request_duration_seconds",
    "queue_s": "zoe_queue_wait_seconds",
}
MODEL_VALUES = {
    "loaded": "zoe_model_loaded",
    "active": "zoe_model_active_requests",
    "queued": "zoe_model_queued_requests",
    "requests": "zoe_requests_total",
    "failures": "zoe_request_failures_total",
    "restarts": "zoe_model_restarts_total",
    "load_s": "zoe_model_load_seconds",
    "last_health_check": "zoe_model_last_health_check_timestamp_seconds",
    "completion_tokens": "zoe_completion_tokens_total",
}
MODEL_COUNTS = {
    "prompt_tokens": ("zoe_prompt_tokens_total", "source"),
    "tool_calls": ("zoe_tool_calls_total", "result"),
    "routes": ("zoe_routes_total", "rule"),
    "fallbacks": ("zoe_fallbacks_total", "to"),
}


class Text:
    """The samples of Prometheus' text."""

    def __init__(self, families: Sequence[Metric]) -> None:
        text = exposition(families, "text").decode()
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float | None:
        found = [one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items()]
        return sum(found) if found else None


def test_the_values_are_those_of_the_text(metrics: Metrics, state: ServerReading) -> None:
    families = metrics.families(state)
    found, text = snapshot(families), Text(families)
    assert found["uptime_s"] == text.sum("zoe_uptime_seconds")
    assert found["memory"]["total_bytes"] == text.sum("zoe_memory_total_bytes")
    assert found["memory"]["available_bytes"] == text.sum("zoe_memory_available_bytes") == 9_000_000_001
    assert found["memory"]["process_bytes"] == {"server": 1000, "engines": 5000}
    for model, described in found["models"].items():
        for key, name in MODEL_VALUES.items():
            expected = text.sum(name, model=model)
            assert described[key] == (0 if expected is None and name.endswith("_total") else expected), key
        for key, (name, label) in MODEL_COUNTS.items():
            for value, count in described[key].items():
                assert count == text.sum(name, model=model, **{label: value})
            assert sum(described[key].values()) == (text.sum(name, model=model) or 0)
        for key, name in HISTOGRAMS.items():
            assert described[key]["count"] == text.sum(f"{name}_count", model=model)
            assert described[key]["sum"] == text.sum(f"{name}_sum", model=model)
            for bound, count in described[key]["buckets"].items():
                assert count == text.sum(f"{name}_bucket", model=model, le=bound)


def test_its_shape(metrics: Metrics, state: ServerReading) -> None:
    found: dict[str, Any] = json.loads(json.dumps(snapshot(metrics.families(state)), allow_nan=False))
    assert set(found) == {"uptime_s", "memory", "gpus", "temperatures_c", "models", "failures"}
    assert found["gpus"] == [
        {
            "gpu": 0,
            "name": 'NVIDIA "GeForce"',
            "memory_total_bytes": 12_884_901_888,
            "memory_used_bytes": 682_950_656,
            "memory_free_bytes": 12_201_951_232,
            "utilization": 0.25,
            "temperature_c": 36.0,
        }
    ]
    assert found["failures"] == {"engine_crashed": 1, 'no "such"\n\\ code': 1}
    big, small = found["models"]["big"], found["models"]["small"]
    assert (big["loaded"], big["active"], big["queued"], big["restarts"], big["load_s"]) == (True, 2, 1, 3, 4.5)
    assert (small["loaded"], small["load_s"], small["last_health_check"]) == (False, None, None)
    assert big["tool_calls"] == {"valid": 2, "repaired": 0, "invalid": 1}
    assert (big["routes"], big["fallbacks"]) == ({"automation": 2, "named": 1}, {"small": 1})
    assert big["first_token_s"]["buckets"]["+Inf"] == big["first_token_s"]["count"] == 1


def test_a_server_that_knows_nothing_says_so() -> None:
    found = snapshot(Metrics(["m"]).families(ServerReading(0.5, models=(ModelReading("m", False, 0, 0, 0, 0.0),))))
    assert found["memory"] == {"total_bytes": None, "available_bytes": None, "unified": False, "process_bytes": {}}
    assert (found["gpus"], found["temperatures_c"], found["failures"]) == ([], {}, {})
    assert found["models"]["m"]["duration_s"] == {"count": 0, "sum": 0, "buckets": {}}
