"""Strangers that make way for a long prompt, with a real model: what is computed, what comes back, what is bounded."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.fixtures.random_gguf import whole_words
from zoe_server.llama.cache.parked_sequences import LEAST_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Engine

pytestmark = pytest.mark.timeout(60)
HOMES = [" ".join(random.Random(seed).choices(whole_words(), k=300)) for seed in range(3)]
SHORT = " ".join(whole_words()[:50])


def cached(engine: Engine, name: str) -> int:
    return engine.finish(name).usage.cached_tokens


def test_a_stranger_makes_way_and_comes_back(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(parks=True)
    engine.answer("a1", HOMES[0] + " one")
    engine.answer("b1", HOMES[1] + " one")
    assert engine.parked.n_bytes > 0
    memory = engine.scheduler.memory
    assert memory.ledger.n_cells - memory.n_free_cells < 450  # the cells of the first home are free again
    engine.answer("a2", HOMES[0] + " two")
    assert cached(engine, "a2") > 290
    engine.answer("b2", HOMES[1] + " two")
    assert cached(engine, "b2") > 290
    assert engine.loop.stats()["audit_mismatches"] == 0


def test_answers_are_those_of_a_fresh_engine(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(parks=True)
    fresh = make_engine()
    for name, text in (("a1", HOMES[0] + " one"), ("b1", HOMES[1] + " one"), ("a2", HOMES[0] + " two")):
        engine.answer(name, text)
        fresh.answer(name, text)
        assert engine.text(name) == fresh.text(name)


def test_short_prompts_move_nobody(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(parks=True)
    engine.parked._least_prefill_s = 60.0
    engine.answer("a1", HOMES[0])
    engine.answer("b1", SHORT)
    assert engine.parked.n_bytes == 0
    assert engine.scheduler.memory.n_cached == 2


def test_what_is_short_is_in_nobodys_way(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(parks=True)
    engine.answer("a1", SHORT)
    engine.answer("b1", HOMES[1])
    assert engine.parked.n_bytes == 0


def test_memory_is_bounded_and_the_oldest_go(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(parks=True)
    engine.answer("a1", HOMES[0])
    engine.answer("b1", HOMES[1])
    one = engine.parked.n_bytes
    engine.parked._limit_bytes = one + one // 2
    engine.answer("c1", HOMES[2])
    assert 0 < engine.parked.n_bytes <= one + one // 2
    engine.answer("a2", HOMES[0] + " two")
    assert cached(engine, "a2") < LEAST_TOKENS


def test_what_is_too_large_stays_where_it_is(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(parks=True, limit_bytes=1000)
    engine.answer("a1", HOMES[0])
    engine.answer("b1", HOMES[1])
    assert engine.parked.n_bytes == 0
    engine.answer("a2", HOMES[0] + " two")
    assert cached(engine, "a2") > 290


def test_a_state_that_the_library_refuses_is_computed_anew(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(parks=True)
    engine.answer("a1", HOMES[0])
    engine.answer("b1", HOMES[1])
    engine.parked._parked = type(engine.parked._parked)(
        (key, (prefix, np.zeros(64, np.uint8))) for key, (prefix, _) in engine.parked._parked.items()
    )
    engine.answer("a2", HOMES[0] + " two")
    assert cached(engine, "a2") < LEAST_TOKENS
    assert engine.loop.stats()["audit_mismatches"] == 0


def test_one_copy_stands_for_all_that_begin_alike(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(parks=True)
    engine.answer("a1", HOMES[0] + " one")
    engine.answer("a2", HOMES[0] + " two")
    engine.answer("b1", HOMES[1])
    assert len(engine.parked._parked) == 1


def test_what_an_adapter_computed_comes_back_to_it_alone(
    make_engine: Callable[..., Engine], adapters: dict[str, dict[str, object]]
) -> None:
    engine = make_engine(parks=True, adapters=adapters)
    engine.answer("a1", HOMES[0], adapter="jokes")
    engine.answer("b1", HOMES[1])
    engine.answer("a2", HOMES[0])
    assert cached(engine, "a2") < LEAST_TOKENS
    engine.answer("a3", HOMES[0], adapter="jokes")
    assert cached(engine, "a3") > 290
