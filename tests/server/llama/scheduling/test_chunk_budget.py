"""How long steps get on simulated machines: a step costs `base` seconds and `per_token` seconds for each token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoe_server.llama.scheduling.chunk_budget import ChunkBudget


def settle(base: float, per_token: float, *, decoding: bool) -> int:
    """Return the chunk after thirty pairs of a prompt step and a decode step."""
    pace = ChunkBudget()
    for _ in range(30):
        n_tokens = pace.budget_tokens(512, decoding=decoding)
        pace.observe(n_tokens, base + per_token * n_tokens)
        pace.observe(1, base + per_token)
    return pace.budget_tokens(512, decoding=decoding)


def test_first_step_is_a_careful_one() -> None:
    assert ChunkBudget().budget_tokens(512, decoding=False) == 128
    assert ChunkBudget().budget_tokens(64, decoding=False) == 64


@pytest.mark.parametrize("decoding", [True, False])
def test_fast_machine_takes_whole_batches(decoding: bool) -> None:
    assert settle(0.005, 0.00005, decoding=decoding) == 512


def test_two_cores_keep_a_voice_stream_going() -> None:
    assert 70 <= settle(0.02, 0.0025, decoding=True) <= 100
    assert settle(0.02, 0.0025, decoding=False) == 512


def test_what_nobody_waits_for_is_soon_ready_to_give_way() -> None:
    pace = ChunkBudget()
    for _ in range(30):
        pace.observe(512, 0.02 + 0.0025 * 512)
        pace.observe(1, 0.02)
    assert pace.budget_tokens(8192, decoding=False, background=True) == 384
    assert pace.budget_tokens(8192, decoding=False) == 768


def test_many_who_wait_for_their_first_word_count_for_more() -> None:
    pace = ChunkBudget()
    for _ in range(30):
        pace.observe(1000, 0.02 + 0.00025 * 1000)
        pace.observe(1, 0.02)
    one, two, many, nobody_decodes, background = (
        pace.budget_tokens(8192, decoding=True),
        pace.budget_tokens(8192, decoding=True, n_prompts=2),
        pace.budget_tokens(8192, decoding=True, n_prompts=50),
        pace.budget_tokens(8192, decoding=False, n_prompts=50),
        pace.budget_tokens(8192, decoding=False, n_prompts=50, background=True),
    )
    assert 1.8 * one < two < 2.3 * one
    assert two < many == background < nobody_decodes


@given(st.floats(0, 1), st.floats(1e-6, 0.1), st.booleans())
def test_long_pieces_are_whole_tiles(base: float, per_token: float, decoding: bool) -> None:
    n_tokens = settle(base, per_token, decoding=decoding)
    assert n_tokens % (128 if n_tokens > 128 else 32) == 0


def test_slow_machine_takes_the_smallest_piece() -> None:
    assert settle(0.1, 0.05, decoding=True) == 32


def test_busy_machine_does_not_cut_prompts_to_nothing() -> None:
    """The step costs 0.7 s whatever is in it: small pieces would only make the prompt take longer."""
    assert settle(0.7, 0.001, decoding=True) == 512


@given(st.lists(st.tuples(st.integers(1, 600), st.floats(0, 100)), max_size=30), st.integers(1, 1024), st.booleans())
def test_budget_is_always_positive_and_within_the_batch(
    steps: list[tuple[int, float]], n_batch: int, decoding: bool
) -> None:
    pace = ChunkBudget()
    for n_tokens, duration in steps:
        pace.observe(n_tokens, duration)
    assert 1 <= pace.budget_tokens(n_batch, decoding=decoding) <= n_batch
