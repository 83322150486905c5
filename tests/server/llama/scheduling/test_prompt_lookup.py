"""Guesses from what was said before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zoe_server.llama.scheduling.prompt_lookup import MAX_DRAFT_TOKENS, PromptLookup


def test_what_followed_the_same_tokens_last_time_is_guessed() -> None:
    assert PromptLookup().propose([1, 2, 3, 7, 1, 2, 3, 8, 9, 1, 2, 3], 8) == [8, 9, 1, 2]


def test_two_equal_tokens_are_no_reason_to_guess() -> None:
    assert PromptLookup().propose([5, 2, 3, 7, 1, 2, 3], 8) == []


@given(tokens=st.lists(st.integers(1, 3), max_size=60), limit=st.integers(-2, 12))
def test_a_guess_stood_after_the_same_tokens_and_keeps_the_limit(tokens: list[int], limit: int) -> None:
    lookup = PromptLookup()
    for end in range(len(tokens) + 1):
        guess = lookup.propose(tokens[:end], limit)
        assert len(guess) <= max(0, limit)
        text = "".join(map(str, tokens[:end]))
        assert not guess or "".join(map(str, [*tokens[:end][-3:], *guess])) in text


@given(st.lists(st.sampled_from([0, 1, 256, 257, 1 << 24, -(1 << 70)]), max_size=80))
def test_the_newest_of_several_places_counts(tokens: list[int]) -> None:
    """Numbers of one byte, shifted by one, are no other numbers."""
    places = [end for end in range(3, len(tokens)) if tokens[end - 3 : end] == tokens[-3:]]
    wanted = [token for token in tokens[places[-1] : places[-1] + 1] if token >= 0] if places else []
    assert PromptLookup().propose(tokens, 1) == wanted


def test_accepted_drafts_grow_and_wrong_ones_pause() -> None:
    lookup = PromptLookup()
    tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9] * 3
    assert len(lookup.propose(tokens, 100)) == 4
    lookup.judge(4, 4, len(tokens))
    assert len(lookup.propose(tokens, 100)) == MAX_DRAFT_TOKENS
    n_asked = 0
    for _ in range(100):
        tokens.append(tokens[-9])
        if guess := lookup.propose(tokens, 100):
            n_asked += 1
            lookup.judge(len(guess), 0, len(tokens))
    assert 4 <= n_asked <= 8
