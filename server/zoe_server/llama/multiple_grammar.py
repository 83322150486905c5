"""Grammars for the multiples of a number between two bounds.

Few multiples are listed. Many are exact where the number divides a power of ten: of 25, a multiple is anything followed
by `00`, `25`, `50` or `75`; of 0.25, anything followed by nothing, `.25`, `.5` or `.75`. This module knows nothing of
schemas.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

from zoe_server.llama.grammar import alternatives, choice, sequence
from zoe_server.llama.number_grammar import LIMIT, MAX_DIGITS, integer_between

MAX_LISTED: Final = 1000
"""More multiples are not listed one by one."""
_MAX_WHOLE_DIGITS: Final = 3


def multiple_between(low: Fraction | None, high: Fraction | None, step: Fraction) -> str | None:
    """Return the expression for the multiples of `step` from `low` to `high`, both included; None if there are none.

    Raises:
        ValueError: no grammar of a bounded size tells them apart.
    """
    least = math.ceil((Fraction(-LIMIT) if low is None else max(low, Fraction(-LIMIT))) / step)
    most = math.floor((Fraction(LIMIT) if high is None else min(high, Fraction(LIMIT))) / step)
    if least > most:
        return None
    decimals = _decimals(step)
    if decimals is None:
        raise ValueError(f"has more than {MAX_DIGITS} decimals")
    if most - least < MAX_LISTED:
        return _listed((Fraction(count) * step for count in range(least, most + 1)), decimals)
    block = _block(step)
    if block is None:
        raise ValueError(f"supported only for divisors of a power of ten, or with bounds {MAX_LISTED} multiples apart")
    parts = []
    if most >= 0:
        parts.append(_positive(max(0, least), most, step, block))
    if least < 0:
        parts.append(sequence('"-"', _positive(max(1, -most), -least, step, block)))
    return alternatives(parts)


def _decimals(step: Fraction) -> int | None:
    """Return how many digits after the point write `step` exactly; None if none do, or too many."""
    return next((n for n in range(MAX_DIGITS + 1) if (step * 10**n).denominator == 1), None)


def _block(step: Fraction) -> int | None:
    """Return the smallest power of ten that is a multiple of `step`, of not too many; None if there is none."""
    powers = [10**n for n in range(_MAX_WHOLE_DIGITS + 1)]
    found = (power for power in powers if (power / step).denominator == 1)
    return next((power for power in found if power / step <= MAX_LISTED), None)


def _positive(least: int, most: int, step: Fraction, block: int) -> str:
    """Return the expression for the multiples number `least` to `most`, neither below 0."""
    decimals = _decimals(step) or 0
    per_block = int(block / step)
    first, last = -(-max(least, per_block) // per_block), (most + 1) // per_block - 1
    if first > last:
        return _listed((count * step for count in range(least, most + 1)), decimals)
    before = range(least, first * per_block)
    after = range((last + 1) * per_block, most + 1)
    width = len(str(block)) - 1
    endings = [_text(count * step, decimals, width) for count in range(per_block)]
    blocks = sequence(integer_between(first, last) or "", _choice(endings))
    listed = [_listed((count * step for count in counts), decimals) for counts in (before, after) if counts]
    return alternatives([*listed, blocks])


def _listed(values: Iterable[Fraction], decimals: int) -> str:
    return _choice(_text(value, decimals) for value in values)


def _choice(texts: Iterable[str]) -> str:
    options: Mapping[str, str] = dict.fromkeys(texts, "")
    return choice(options)


def _text(value: Fraction, decimals: int, width: int = 1) -> str:
    """Return `value` with so many digits before the point (none for 0) and no trailing zeros after it."""
    whole, rest = divmod(abs(int(value * 10**decimals)), 10**decimals)
    digits = str(whole).zfill(width) if width else ""
    fraction = str(rest).zfill(decimals).rstrip("0") if decimals else ""
    return ("-" if value < 0 else "") + digits + (f".{fraction}" if fraction else "")
