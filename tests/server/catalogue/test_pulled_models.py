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
def pulled(tmp_path: Path) -> PulledModels:
    return Store(tmp_path / "models").pulled_models


def test_it_lies_beside_the_models(pulled: PulledModels, tmp_path: Path) -> None:
    pulled.add("llama-3.2-3b")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "models" / ".zoe" / "served.json"]


@given(st.lists(st.tuples(st.booleans(), NAMES)))
def test_it_keeps_the_order_of_what_was_added_and_not_removed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, str]]
) -> None:
    path = tmp_path_factory.mktemp("pulled") / "served.json"
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
def test_a_damaged_file_is_none_and_is_said(pulled: PulledModels, text: str, caplog: pytest.LogCaptureFixture) -> None:
    pulled.path.parent.mkdir(parents=True)
    pulled.path.write_text(text, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        assert pulled.names == ()
    assert "is unusable" in caplog.text
    pulled.add("a")
    assert pulled.names == ("a",)


def test_a_name_that_stands_there_twice_counts_once(pulled: PulledModels) -> None:
    pulled.path.parent.mkdir(parents=True)
    pulled.path.write_text('{"version": 1, "models": ["a", "b", "a"]}', encoding="utf-8")
    assert pulled.names == ("a", "b")
