"""The pause before an engine is started again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.fleet.restart import RestartPolicy

POLICY = RestartPolicy(first_s=0.5, longest_s=8.0, window_s=60.0)


def test_the_pause_doubles_up_to_its_bound() -> None:
    pauses = [POLICY.delay_s([float(moment) for moment in range(n)], now=10.0) for n in range(8)]
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_failures_are_forgotten_after_the_window() -> None:
    assert POLICY.delay_s([0.0, 1.0, 100.0], now=100.0) == 0.5
    assert POLICY.delay_s([0.0, 1.0, 2.0], now=60.5) == 1.0
    assert POLICY.delay_s([0.0], now=60.1) == 0.0


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.floats(0, 1e6), max_size=2000), st.floats(0, 1e6))
def test_the_pause_is_always_bounded(failures: list[float], now: float) -> None:
    assert 0.0 <= POLICY.delay_s(failures, now) <= POLICY.longest_s
