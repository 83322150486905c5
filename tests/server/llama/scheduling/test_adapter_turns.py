"""Whose step is next, without a model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zoe_server.llama.scheduling.adapter_turns import TURN_STEPS, AdapterTurns

ADAPTERS = (None, "a", "b", "c")
CLAIMS = st.dictionaries(st.sampled_from(ADAPTERS), st.booleans(), min_size=1)


def run(
    turns: AdapterTurns, claims: dict[str | None, bool], n_steps: int, *, has_prompts: bool = False
) -> list[str | None]:
    served = []
    for _ in range(n_steps):
        served.append(turns.choose(claims))
        turns.took(served[-1], has_prompts=has_prompts)
    return served


def test_turns_go_round_and_last_a_few_steps() -> None:
    served = run(AdapterTurns(), dict.fromkeys(("a", None, "b"), True), 3 * TURN_STEPS)
    assert served == ["a"] * TURN_STEPS + [None] * TURN_STEPS + ["b"] * TURN_STEPS


def test_a_piece_of_a_prompt_ends_a_turn() -> None:
    assert run(AdapterTurns(), {"a": True, "b": True}, 4, has_prompts=True) == ["a", "b", "a", "b"]


def test_who_comes_while_another_is_alone_is_next() -> None:
    turns = AdapterTurns()
    run(turns, {None: True}, 50)
    assert run(turns, {None: True, "a": True}, 1) == ["a"]


def test_background_work_goes_on_when_nothing_else_is_left() -> None:
    turns = AdapterTurns()
    assert run(turns, {"a": False, "b": True}, 50) == ["b"] * 50
    assert run(turns, {"a": False}, 2) == ["a"] * 2
    assert run(turns, {"a": False, None: True}, 1) == [None]


@given(st.lists(st.tuples(CLAIMS, st.booleans()), max_size=60))
def test_only_claims_are_met_and_urgent_ones_first(steps: list[tuple[dict[str | None, bool], bool]]) -> None:
    turns = AdapterTurns()
    for claims, has_prompts in steps:
        chosen = turns.choose(claims)
        assert turns.choose(claims) == chosen
        assert claims[chosen] or not any(claims.values())
        turns.took(chosen, has_prompts=has_prompts)


@given(st.lists(st.tuples(CLAIMS, st.booleans()), max_size=60), CLAIMS)
def test_nobody_waits_longer_than_a_turn_of_each_other(
    before: list[tuple[dict[str | None, bool], bool]], claims: dict[str | None, bool]
) -> None:
    turns = AdapterTurns()
    for earlier, has_prompts in before:
        run(turns, earlier, 1, has_prompts=has_prompts)
    served = run(turns, dict.fromkeys(claims, True), TURN_STEPS * len(claims))
    assert set(served) == set(claims)
