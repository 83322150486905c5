"""The text, read back with the parsers of Prometheus' own client library; and when it is what a client wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from zoe_server.metrics.prometheus import asked_format, content_type, exposition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from zoe_server.metrics.metrics import Metrics
    from zoe_server.metrics.state import ServerReading

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (PROMETHEUS_3, "openmetrics"),
        (PROMETHEUS_2, "openmetrics"),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", "text"),
        ("text/plain; version=0.0.4", "text"),
        ("Text/Plain ; Version=0.0.4", "text"),
        ("text/plain", None),
        ("text/plain;charset=utf-8", None),
        (BROWSER, None),
        ("application/json", None),
        ("*/*", None),
        ("", None),
        (";;,=,;version=0.0.4", None),
    ],
)
def test_who_asks_as_prometheus_does_gets_its_formats(accept: str, form: str | None) -> None:
    assert asked_format(accept) == form


@given(st.text())
def test_no_header_is_an_error(accept: str) -> None:
    assert asked_format(accept) in (None, "text", "openmetrics")


def samples(families: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_both_formats_say_what_was_counted(metrics: Metrics, state: ServerReading) -> None:
    families = metrics.families(state)
    counted = samples(families)
    assert len(counted) > 200
    assert samples(read_text(exposition(families, "text").decode())) == counted
    assert samples(read_openmetrics(exposition(families, "openmetrics").decode())) == counted


def test_every_metric_has_a_type_and_says_what_it_means(metrics: Metrics, state: ServerReading) -> None:
    for family in read_openmetrics(exposition(metrics.families(state), "openmetrics").decode()):
        assert family.name.startswith("zoe_")
        assert family.type in ("counter", "gauge", "histogram")
        assert family.documentation.endswith(".")


def test_the_content_types_are_those_that_prometheus_knows() -> None:
    assert content_type("text").startswith("text/plain; version=0.0.4")
    assert content_type("openmetrics").startswith("application/openmetrics-text; version=1.0.0")
