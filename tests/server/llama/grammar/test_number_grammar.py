"""Numbers between bounds, against plain comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.llama import grammar, number_grammar

Check = Callable[[str, Mapping[str, bool]], None]
"""Fails unless llama.cpp takes the grammar and admits exactly the texts marked True."""


BOUNDS = st.none() | st.integers(-1500, 1500) | st.integers(-(10**20), 10**20)


@given(BOUNDS, BOUNDS, st.lists(st.integers(-(10**18) + 1, 10**18 - 1), max_size=5))
@settings(max_examples=150, deadline=None)
def test_integer_ranges_are_exact(check: Check, low: int | None, high: int | None, others: list[int]) -> None:
    body = number_grammar.integer_between(low, high)
    limit = number_grammar.LIMIT
    least, most = max(-limit, low if low is not None else -limit), min(limit, high if high is not None else limit)
    if body is None:
        assert least > most
        return
    near = [n + d for n in (least, most, 0) for d in (-11, -10, -2, -1, 0, 1, 2, 9, 10) if abs(n + d) <= limit]
    texts = {str(n): least <= n <= most for n in [*near, *others]}
    check(grammar.Rules().render(body), {**texts, "": False, "-": False, "00": False, "-0": False, "1.0": False})


DECIMALS = st.decimals(-1200, 1200, places=3) | st.decimals(-2, 2, places=2) | st.integers(-12, 12).map(Decimal)


@given(st.none() | DECIMALS, st.none() | DECIMALS, st.lists(DECIMALS, max_size=10))
@settings(max_examples=150, deadline=None)
def test_number_ranges_are_exact(
    check: Check, low: Decimal | None, high: Decimal | None, others: list[Decimal]
) -> None:
    body = number_grammar.number_between(low, high)
    if body is None:
        assert low is not None
        assert high is not None
        assert low > high
        return
    near = [bound + step for bound in (low, high) if bound is not None for step in map(Decimal, ("-1", "-0.001", "0"))]
    near += [bound + step for bound in (low, high) if bound is not None for step in map(Decimal, ("1", "0.1", "0.001"))]
    texts = {f"{x:f}": (low is None or x >= low) and (high is None or x <= high) for x in [*near, *others] if x}
    check(grammar.Rules().render(body), {**texts, "": False, ".5": False, "1.": False, "01": False, "1e2": False})
