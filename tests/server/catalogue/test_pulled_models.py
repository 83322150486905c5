"""What is remembered of models that were pulled."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoe_server.catalogue.pulled_models import PulledModels
from zoe_server.catalogue.store import Store

NAMES = st.sampled_from(["a", "b-1.5", "c:3b", "d/e"])


@pytest.fixture
def roster(tmp_path: Path) -> PulledModels:
    return Store(tmp_path / "models").roster


def test_it_lies_beside_the_models(roster: PulledModels, tmp_path: Path) -> None:
    roster.add("llama-3.2-3b")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "models" / ".zoe" / "served.json"]


@given(st.lists(st.tuples(st.booleans(), NAMES)))
def test_it_keeps_the_order_of_what_was_added_and_not_removed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, str]]
) -> None:
    path = tmp_path_factory.mktemp("roster") / "served.json"
    expected: dict[str, None] = {}
    for adds, name in steps:
        if adds:
            PulledModels(path).add(name)
            expected.setdefault(name)
        else:
            PulledModels(path).remove(name)
            expected.pop(name, None)
        assert PulledModels(path).names == tuple(expected)
    assert path.exists() == bool(expected)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2}', '{"models": [3]}', '{"models": ["\\u0000"]}', "\xff"]
)
def test_a_damaged_file_is_none_and_is_said(roster: PulledModels, text: str, caplog: pytest.LogCaptureFixture) -> None:
    roster.path.parent.mkdir(parents=True)
    roster.path.write_text(text, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        assert roster.names == ()
    assert "is unusable" in caplog.text
    roster.add("a")
    assert roster.names == ("a",)


def test_a_name_that_stands_there_twice_counts_once(roster: PulledModels) -> None:
    roster.path.parent.mkdir(parents=True)
    roster.path.write_text('{"version": 1, "models": ["a", "b", "a"]}', encoding="utf-8")
    assert roster.names == ("a", "b")
