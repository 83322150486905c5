"""The dashboard for Grafana asks for metrics and labels that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from zoe_server.metrics.metrics import Metrics, names
from zoe_server.metrics.state import ServerReading

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docker" / "grafana" / "zoe.json").read_text(encoding="utf-8")
)
PANELS = DASHBOARD["panels"]
ADDED_BY_PROMETHEUS = {"instance", "job", "le"}


def expressions() -> list[str]:
    asked = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    return asked + [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_it_has_its_panels_and_none_lies_on_another() -> None:
    assert [panel["title"] for panel in PANELS] == [
        "GPU memory",
        "GPU utilisation",
        "Temperature",
        "Active requests per model",
        "Failures",
        "Response times",
        "Uptime",
    ]
    places = [panel["gridPos"] for panel in PANELS]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(at["x"] + at["w"] for at in places) <= 24
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_exists(expression: str) -> None:
    known = names(Metrics().families(ServerReading(0.0)))
    asked = set(re.findall(r"\bzoe_\w+", expression))
    assert asked
    assert asked <= known


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_label_exists(panel: dict[str, Any], metrics: Metrics, state: ServerReading) -> None:
    labels = {sample.name: set(sample.labels) for family in metrics.families(state) for sample in family.samples}
    for target in panel["targets"]:
        asked = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        asked |= {label for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(", ")}
        for name in re.findall(r"\bzoe_\w+", target["expr"]):
            assert asked - ADDED_BY_PROMETHEUS <= labels[name], name


def test_the_source_of_data_is_the_user_s_choice() -> None:
    for panel in PANELS:
        assert {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} == {
            "${datasource}"
        }
