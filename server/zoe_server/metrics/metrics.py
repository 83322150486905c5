"""`Metrics`: everything that is counted and measured of requests, each metric declared here once.

What mirrors a state, such as memory or the models that are loaded, is declared in `state` and read when somebody asks.
Each server has a registry of its own, so that several can live in one process.
Source of the names: Prometheus, "Metric and label naming".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, disable_created_metrics

from zoe_server import protocol
from zoe_server.metrics import state
from zoe_server.metrics.outcome import CallResult, Outcome

NO_MODEL: Final = "-"
"""The label `model` of requests that no model was chosen for; no model can be called so."""

COMPUTED: Final = "computed"
REUSED: Final = "reused"
_DURATIONS_S: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600)
_FIRST_TOKENS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120)
_NEXT_TOKENS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)

disable_created_metrics()  # type: ignore[no-untyped-call]  # when a series began, nobody asks, and it would be half of all samples


class Metrics:
    """The metrics of one server; `models` begin at zero, so that a rate over their first request is right."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "zoe_requests_total",
            "Requests that ended: ok, failed, or cancelled by the client.",
            ("api", "model", "result"),
            registry=registry,
        )
        self._failures = Counter(
            "zoe_request_failures_total",
            "Requests that ended with an error, by its code.",
            ("model", "code"),
            registry=registry,
        )
        self._durations = Histogram(
            "zoe_request_duration_seconds",
            "From the request's headers to the end of its answer.",
            ("api", "model"),
            buckets=_DURATIONS_S,
            registry=registry,
        )
        self._queued = Histogram(
            "zoe_queue_wait_seconds",
            "How long a request waited in the engine before its prompt was computed.",
            ("model",),
            buckets=_FIRST_TOKENS_S,
            registry=registry,
        )
        self._first_tokens = Histogram(
            "zoe_time_to_first_token_seconds",
            "From the request's arrival in the engine to the first token of its answer.",
            ("model",),
            buckets=_FIRST_TOKENS_S,
            registry=registry,
        )
        self._next_tokens = Histogram(
            "zoe_time_per_output_token_seconds",
            "Decoding: the mean time between two tokens of an answer, once for each answer.",
            ("model",),
            buckets=_NEXT_TOKENS_S,
            registry=registry,
        )
        self._prompt_tokens = Counter(
            "zoe_prompt_tokens_total",
            "Tokens of prompts: computed, or reused because they were known already.",
            ("model", "source"),
            registry=registry,
        )
        self._completion_tokens = Counter(
            "zoe_completion_tokens_total", "Tokens of answers.", ("model",), registry=registry
        )
        self._calls = Counter(
            "zoe_tool_calls_total",
            "Tool calls: valid for the tool's schema, repaired (valid, but not written as the model should), invalid.",
            ("model", "result"),
            registry=registry,
        )
        self._routes = Counter(
            "zoe_routes_total",
            "Choices of the router: by which rule, and which model it wanted.",
            ("rule", "model"),
            registry=registry,
        )
        self._fallbacks = Counter(
            "zoe_fallbacks_total",
            "Requests that another model answered than the one that was wanted.",
            ("model", "to"),
            registry=registry,
        )
        for model in models:
            self.begin(model)

    def begin(self, model: str) -> None:
        """Let what is counted of `model` begin at zero; what was counted already stays."""
        for metric in (self._queued, self._first_tokens, self._next_tokens, self._completion_tokens):
            metric.labels(model)
        for source in (COMPUTED, REUSED):
            self._prompt_tokens.labels(model, source)
        for result in get_args(CallResult):
            self._calls.labels(model, result)

    def observe(self, outcome: Outcome) -> None:
        """Count one request at its end."""
        model = outcome.model or outcome.wanted or NO_MODEL
        self._requests.labels(outcome.api, model, outcome.result).inc()
        self._durations.labels(outcome.api, model).observe(outcome.duration_s)
        if outcome.result == "failed":
            self._failures.labels(model, outcome.code or "unknown").inc()
        if outcome.rule is not None:
            self._routes.labels(outcome.rule, outcome.wanted or NO_MODEL).inc()
        if outcome.model not in (None, outcome.wanted):
            self._fallbacks.labels(outcome.wanted or NO_MODEL, outcome.model).inc()
        for finish in outcome.finishes:
            self._observe_answer(model, finish)
        for result, n_calls in outcome.calls.items():
            self._calls.labels(model, result).inc(n_calls)

    def _observe_answer(self, model: str, finish: protocol.Finish) -> None:
        usage, timings = finish.usage, finish.timings
        self._prompt_tokens.labels(model, REUSED).inc(max(0, usage.cached_tokens))
        self._prompt_tokens.labels(model, COMPUTED).inc(max(0, usage.prompt_tokens - usage.cached_tokens))
        self._completion_tokens.labels(model).inc(max(0, usage.completion_tokens))
        self._queued.labels(model).observe(timings.queue_s)
        if usage.completion_tokens > 0:
            self._first_tokens.labels(model).observe(timings.first_token_s)
        if usage.completion_tokens > 1:
            decoding_s = max(0.0, timings.total_s - timings.first_token_s)
            self._next_tokens.labels(model).observe(decoding_s / (usage.completion_tokens - 1))

    def families(self, now: state.ServerReading) -> tuple[Metric, ...]:
        """Return every metric with its samples: those of the server's state `now`, and those that were counted."""
        return (*state.families(now), *self._registry.collect())


def names(families: Sequence[Metric]) -> set[str]:
    """Return the names that the samples of `families` may have."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    return {metric.name + suffix for metric in families for suffix in suffixes.get(metric.type, ("",))}
