"""What of a request is counted, and under which names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoe_server import protocol
from zoe_server.metrics.metrics import NO_MODEL, Metrics, names
from zoe_server.metrics.outcome import Outcome
from zoe_server.metrics.state import ModelReading, ServerReading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import Metric

CHAT = "/v1/chat/completions"
NOW = ServerReading(uptime_s=0.0)


def values(families: Sequence[Metric], name: str, **labels: str) -> list[float]:
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return [sample.value for sample in samples if labels.items() <= sample.labels.items()]


def total(metrics: Metrics, name: str, **labels: str) -> float:
    return sum(values(metrics.families(NOW), name, **labels))


def test_requests_are_counted_by_api_model_and_end(metrics: Metrics) -> None:
    assert total(metrics, "zoe_requests_total", api=CHAT, model="big", result="ok") == 1
    assert total(metrics, "zoe_requests_total", model="small", result="cancelled") == 1
    assert total(metrics, "zoe_requests_total", model=NO_MODEL, result="failed") == 1
    assert total(metrics, "zoe_requests_total") == 6


def test_failures_have_their_code_and_who_left_is_none(metrics: Metrics) -> None:
    assert total(metrics, "zoe_request_failures_total", model="small", code="engine_crashed") == 1
    assert total(metrics, "zoe_request_failures_total") == 2


def test_every_answer_of_a_request_counts_its_tokens_and_times(metrics: Metrics) -> None:
    assert total(metrics, "zoe_prompt_tokens_total", model="small", source="reused") == 180
    assert total(metrics, "zoe_prompt_tokens_total", model="small", source="computed") == 20
    assert total(metrics, "zoe_completion_tokens_total", model="small") == 22
    assert total(metrics, "zoe_time_to_first_token_seconds_count", model="small") == 2
    assert total(metrics, "zoe_time_to_first_token_seconds_sum", model="small") == pytest.approx(0.24)
    assert total(metrics, "zoe_time_per_output_token_seconds_sum", model="small") == pytest.approx(0.2)


def test_a_prompt_that_was_only_computed_has_no_first_token(metrics: Metrics) -> None:
    assert total(metrics, "zoe_time_to_first_token_seconds_count", model="big") == 1
    assert total(metrics, "zoe_time_per_output_token_seconds_count", model="big") == 1
    assert total(metrics, "zoe_queue_wait_seconds_count", model="big") == 2


def test_one_token_says_nothing_of_the_time_between_two() -> None:
    metrics = Metrics(["m"])
    finish = protocol.Finish("length", protocol.Usage(1, 0, 1), protocol.Timings(0.0, 0.5, 0.5))
    metrics.observe(Outcome(CHAT, 1.0, "ok", "named", "m", "m", finishes=(finish,)))
    assert total(metrics, "zoe_time_to_first_token_seconds_count") == 1
    assert total(metrics, "zoe_time_per_output_token_seconds_count") == 0


def test_tool_calls_routes_and_fallbacks(metrics: Metrics) -> None:
    assert total(metrics, "zoe_tool_calls_total", model="big", result="valid") == 2
    assert total(metrics, "zoe_tool_calls_total", model="big", result="invalid") == 1
    assert total(metrics, "zoe_routes_total", rule="automation", model="big") == 2
    assert total(metrics, "zoe_routes_total", rule="chat", model="small") == 2
    assert total(metrics, "zoe_fallbacks_total", model="big", to="small") == 1
    assert total(metrics, "zoe_fallbacks_total") == 1


def test_models_begin_at_zero_so_that_their_first_request_is_a_rise() -> None:
    families = Metrics(["m"]).families(NOW)
    assert values(families, "zoe_tool_calls_total", model="m", result="repaired") == [0]
    assert values(families, "zoe_prompt_tokens_total", model="m", source="computed") == [0]
    assert values(families, "zoe_time_to_first_token_seconds_count", model="m") == [0]


def test_what_is_not_known_of_the_machine_has_no_sample() -> None:
    families = Metrics().families(ServerReading(uptime_s=1.0, models=(ModelReading("m", False, 0, 0, 0, 0.0),)))
    for name in (
        "zoe_memory_total_bytes",
        "zoe_memory_available_bytes",
        "zoe_gpu_memory_used_bytes",
        "zoe_model_load_seconds",
        "zoe_model_last_health_check_timestamp_seconds",
    ):
        assert values(families, name) == []
        assert name in names(families)
    assert values(families, "zoe_model_loaded", model="m") == [0]


def test_a_state_is_mirrored_and_not_kept(metrics: Metrics, state: ServerReading) -> None:
    families = metrics.families(state)
    assert values(families, "zoe_gpu_memory_used_bytes", gpu="0") == [12_884_901_888 - 12_201_951_232]
    assert values(families, "zoe_gpu_utilization_ratio") == [0.25]
    assert values(families, "zoe_process_memory_bytes", process="engines") == [5000]
    assert values(families, "zoe_model_queued_requests", model="big") == [1]
    assert values(metrics.families(NOW), "zoe_model_queued_requests") == []


def test_servers_in_one_process_count_for_themselves_and_nothing_for_all(metrics: Metrics) -> None:
    other = Metrics(["big"])
    assert total(other, "zoe_requests_total") == 0
    assert total(metrics, "zoe_requests_total") == 6
    assert not any(family.name.startswith("zoe_") for family in prometheus_client.REGISTRY.collect())


def test_every_metric_is_explained_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(zoe_\w+)`", text))
    existing = {re.sub("_(bucket|count|sum)$", "", name) for name in names(Metrics().families(NOW))}
    assert explained == existing


_TOKENS = st.integers(-9, 10**6)
"""Some are no counts: engines on other machines say what they like."""

_SECONDS = st.floats(0, 10**6)
_OUTCOMES = st.builds(
    Outcome,
    api=st.text(),
    duration_s=_SECONDS,
    result=st.sampled_from(["ok", "failed", "cancelled"]),
    rule=st.none() | st.text(),
    wanted=st.none() | st.text(),
    model=st.none() | st.text(),
    code=st.none() | st.text(),
    finishes=st.lists(
        st.builds(
            protocol.Finish,
            st.just("stop"),
            st.builds(protocol.Usage, _TOKENS, _TOKENS, _TOKENS),
            st.builds(protocol.Timings, _SECONDS, _SECONDS, _SECONDS),
        ),
        max_size=3,
    ).map(tuple),
    calls=st.dictionaries(st.sampled_from(["valid", "repaired", "invalid"]), st.integers(0, 9)),
)


@given(st.lists(_OUTCOMES, max_size=4))
def test_whatever_comes_is_counted_once(outcomes: list[Any]) -> None:
    metrics = Metrics()
    for outcome in outcomes:
        metrics.observe(outcome)
    assert total(metrics, "zoe_requests_total") == len(outcomes)
    assert total(metrics, "zoe_request_duration_seconds_count") == len(outcomes)
