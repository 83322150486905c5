"""What a server tells of itself, read: figures of intervals, and shapes that it must not have."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.api.client import Route
from custom_components.zoe.api.errors import ZoeStreamBrokenError
from custom_components.zoe.api.offers import context_tokens
from custom_components.zoe.api.status import Mean, Metrics, Speed, served_models
from tests.ha.fake_zoe import metrics_body, served_model

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_figures() -> None:
    gpu = {"gpu": 0, "name": "x", "memory_used_bytes": 5, "utilization": 0.25, "temperature_c": None}
    metrics = Metrics.from_body(metrics_body(4, gpu))
    assert (metrics.memory_used_bytes, metrics.requests, metrics.failures) == (2**30, 4, 4)
    assert (metrics.gpus[0].utilization, metrics.gpus[0].temperature_c) == (0.25, None)
    speed = Speed.until(metrics)
    assert (speed.first_token_ms, speed.tokens_per_s, speed.reuse_percent) == (500, pytest.approx(10), 50)


def test_a_server_that_has_done_nothing_has_no_speed() -> None:
    speed = Speed.until(Metrics.from_body(metrics_body()))
    assert (speed.first_token_ms, speed.tokens_per_s, speed.reuse_percent) == (None, None, None)


def test_speed_is_that_of_the_last_interval_with_answers() -> None:
    slow = Metrics.from_body(metrics_body(1))
    body = metrics_body(2)
    body["models"]["zoe-nano"]["first_token_s"]["sum"] = 0.6
    fast = Metrics.from_body(body)
    speed = Speed.until(slow).after(slow, fast)
    assert speed.first_token_ms == pytest.approx(100)
    assert speed.after(fast, fast) == speed


def test_a_server_that_was_started_anew_counts_from_its_start() -> None:
    before, now = Metrics.from_body(metrics_body(9)), Metrics.from_body(metrics_body(2))
    assert Speed.until(before).after(before, now).first_token_s == now.first_token_s


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)))
)
def test_intervals_add_up(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    before = sum((Mean(count, total) for count, total in first), start=Mean())
    now = sum((Mean(count, total) for count, total in second), start=before)
    assert before + now.since(before) == now


@pytest.mark.parametrize("path", [("models",), ("memory", "process_bytes"), ("models", "zoe-nano", "requests")])
@given(wrong=JSON)
def test_metrics_of_another_shape_are_an_error(path: tuple[str, ...], wrong: object) -> None:
    body: Any = copy.deepcopy(metrics_body(1))
    place = body
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = wrong
    try:
        Metrics.from_body(body)
    except ZoeStreamBrokenError:
        return
    assert isinstance(wrong, (dict, int, float, str))


@pytest.mark.parametrize("read", [served_models, context_tokens, Metrics.from_body])
@given(body=JSON)
def test_nothing_that_a_server_sends_is_a_traceback(read: Callable[[object], object], body: object) -> None:
    try:
        read(body)
    except ZoeStreamBrokenError:
        return
    assert isinstance(body, dict)


def test_models() -> None:
    (model,) = served_models({"models": [served_model("qwen", "tools", "chat", status="quarantined", reason="oom")]})
    assert (model.name, model.state, model.reason, model.roles) == ("qwen", "quarantined", "oom", ("tools", "chat"))


def test_contexts_by_every_name() -> None:
    listed = [
        {"id": "zoe", "aliases": [], "context_tokens": 4096},
        {"id": "a", "aliases": ["b"], "context_tokens": 8192},
    ]
    assert context_tokens({"data": listed}) == {"zoe": 4096, "a": 8192, "b": 8192}


@pytest.mark.parametrize(
    ("header", "route"),
    [
        ("rule=chat; model=m; candidates=m,n", Route("chat", "m", ("m", "n"))),
        ("", Route()),
        ("; ;=;model", Route()),
    ],
)
def test_routes(header: str, route: Route) -> None:
    assert Route.from_header(header) == route


@given(st.text())
def test_any_header_is_a_route(header: str) -> None:
    assert isinstance(Route.from_header(header), Route)
