"""How many threads compute while others want the cores: by evidence, within bounds, and back when it is over."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from zoe_server.llama.scheduling.team_policy import MAX_PAUSE_S, Team, TeamPolicy, tolerable_delay

WINDOW_S = 0.1
Delay = Callable[[Team], float]


def calm(team: Team) -> float:
    """Nobody else wants a core."""
    return 0.02 * team.n_threads


def one_of_two_cores_busy(team: Team) -> float:
    """As measured with two threads: in turns on a core at an ordinary priority, nine tenths of it at a raised one."""
    if team.n_threads == 1:
        return 0.0
    return 0.1 if team.raised else 0.45


def priority_does_not_help(team: Team) -> float:
    """As measured where the busy process is in a control group of its own."""
    return 0.0 if team.n_threads == 1 else 0.46


def run(
    policy: TeamPolicy, delay: Delay, seconds: float, start_s: float = 0.0, *, has_idle_core: bool = True
) -> list[Team]:
    """Return the team of every window."""
    teams = []
    for index in range(round(seconds / WINDOW_S)):
        teams.append(policy.team)
        waited_s = WINDOW_S * delay(policy.team)
        policy.note(WINDOW_S, waited_s, start_s + index * WINDOW_S, has_idle_core=has_idle_core)
    return teams


def test_all_threads_compute_where_nobody_else_does() -> None:
    assert set(run(TeamPolicy(2, may_raise=True), calm, 60.0)) == {Team(2)}


def test_with_a_busy_core_the_priority_is_raised_where_that_is_allowed() -> None:
    teams = run(TeamPolicy(2, may_raise=True), one_of_two_cores_busy, 60.0)
    assert teams[10] == Team(2, raised=True)
    assert {team.n_threads for team in teams} == {2}
    assert sum(team.raised for team in teams) > 0.9 * len(teams)


def test_with_a_busy_core_there_is_a_thread_less_where_it_is_not() -> None:
    teams = run(TeamPolicy(2, may_raise=False), one_of_two_cores_busy, 60.0)
    assert teams[10] == Team(1)
    assert sum(team.n_threads == 1 for team in teams) > 0.9 * len(teams)


def test_a_priority_that_does_not_help_is_followed_by_a_thread_less() -> None:
    teams = run(TeamPolicy(2, may_raise=True), priority_does_not_help, 60.0)
    assert teams[20].n_threads == 1
    assert sum(team.n_threads == 1 for team in teams) > 0.9 * len(teams)


def test_all_threads_compute_again_when_the_core_is_free() -> None:
    policy = TeamPolicy(2, may_raise=True)
    run(policy, priority_does_not_help, 60.0)
    teams = run(policy, calm, 2 * MAX_PAUSE_S, start_s=60.0)
    assert teams[-1] == Team(2)


def test_a_bad_moment_changes_nothing() -> None:
    policy = TeamPolicy(2, may_raise=False)
    run(policy, calm, 1.0)
    moments = iter([0.5])
    assert set(run(policy, lambda team: next(moments, calm(team)), 1.0, start_s=1.0)) == {Team(2)}


def test_more_threads_are_not_tried_while_no_core_is_idle() -> None:
    policy = TeamPolicy(2, may_raise=True)
    run(policy, priority_does_not_help, 5.0, has_idle_core=False)
    teams = run(policy, priority_does_not_help, 60.0, start_s=5.0, has_idle_core=False)
    assert {team.n_threads for team in teams} == {1}


def test_a_step_that_stands_still_is_enough() -> None:
    policy = TeamPolicy(2, may_raise=False)
    policy.note(1.0, 0.5, 1.0)
    assert policy.team == Team(1)


def test_of_many_threads_as_many_stay_as_there_are_free_cores() -> None:
    teams = run(TeamPolicy(8, may_raise=False), lambda team: 0.02 if team.n_threads <= 6 else 0.4, 60.0)
    assert sum(team.n_threads == 6 for team in teams) > 0.9 * len(teams)


@given(st.integers(1, 64), st.booleans(), st.lists(st.floats(0, 1), max_size=200))
def test_a_team_is_never_larger_than_configured_nor_empty(n_threads: int, may_raise: bool, delays: list[float]) -> None:
    policy = TeamPolicy(n_threads, may_raise=may_raise)
    for index, delay in enumerate(delays):
        policy.note(WINDOW_S, WINDOW_S * delay, index * WINDOW_S)
        assert 1 <= policy.team.n_threads <= n_threads
        assert may_raise or not policy.team.raised


@given(st.integers(1, 64), st.booleans(), st.lists(st.floats(0, 1), max_size=200))
def test_whatever_was_all_threads_compute_after_a_calm_while(
    n_threads: int, may_raise: bool, past: list[float]
) -> None:
    policy = TeamPolicy(n_threads, may_raise=may_raise)
    for index, delay in enumerate(past):
        policy.note(WINDOW_S, WINDOW_S * delay, index * WINDOW_S)
    run(policy, lambda _: 0.0, 2 * MAX_PAUSE_S + n_threads, start_s=len(past) * WINDOW_S)
    assert policy.team == Team(n_threads)


@given(st.integers(1, 256))
def test_more_delay_is_tolerated_where_a_thread_less_costs_more(n_threads: int) -> None:
    assert tolerable_delay(n_threads) >= tolerable_delay(n_threads + 1) > 0.0
