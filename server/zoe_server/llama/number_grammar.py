"""Grammars for numbers between two bounds, digit by digit: `0..100` becomes `[0-9] | [1-9] [0-9] | "100"`.

Integers are exact. Numbers are exact for bounds of any number of decimals and admit no exponent; without bounds the
caller uses the plain JSON number. This module knows nothing of schemas.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

from zoe_server.llama.grammar import alternatives, literal, sequence

MAX_DIGITS: Final = 18
"""An unbounded side ends here: more digits are a model that does not stop. Bounds beyond it count as unbounded."""
LIMIT: Final = 10**MAX_DIGITS - 1
_FINEST: Final = Decimal(1).scaleb(-MAX_DIGITS)
_PRECISE: Final = Context(prec=3 * MAX_DIGITS)
_FRACTION: Final = f'("." [0-9]{{1,{MAX_DIGITS}}})?'


def integer_between(low: int | None, high: int | None) -> str | None:
    """Return the expression for the integers from `low` to `high`, both included; None if there are none."""
    lowest = -LIMIT if low is None or low < -LIMIT else low
    highest = LIMIT if high is None or high > LIMIT else high
    if lowest > highest:
        return None
    parts = []
    if highest >= 0:
        parts.append(_naturals(max(0, lowest), highest))
    if lowest < 0:
        parts.append(sequence('"-"', _naturals(max(1, -highest), -lowest)))
    return alternatives(parts)


def number_between(low: Decimal | None, high: Decimal | None) -> str | None:
    """Return the expression for the decimal numbers from `low` to `high`, both included; None if there are none.

    Bounds of more than MAX_DIGITS decimals are narrowed to so many.
    """
    lowest = Decimal(-LIMIT) if low is None or low < -LIMIT else low
    highest = Decimal(LIMIT) if high is None or high > LIMIT else high
    if lowest > LIMIT or highest < -LIMIT:
        return None
    lowest = lowest.quantize(_FINEST, ROUND_CEILING, _PRECISE)
    highest = highest.quantize(_FINEST, ROUND_FLOOR, _PRECISE)
    if lowest > highest:
        return None
    parts = []
    if highest >= 0:
        parts.append(_magnitudes(max(Decimal(0), lowest), highest))
    if lowest < 0:
        parts.append(sequence('"-"', _magnitudes(max(Decimal(0), -highest), -lowest)))
    return alternatives(parts)


def _naturals(low: int, high: int) -> str:
    """Return the expression for `low <= n <= high`, 0 <= low; runs of whole lengths are put together."""
    parts = []
    length = len(str(low))
    while length <= len(str(high)):
        first = max(low, 10 ** (length - 1) if length > 1 else 0)
        last = min(high, 10**length - 1)
        longest = length
        if length > 1 and first == 10 ** (length - 1) and last == 10**length - 1:
            while 10 ** (longest + 1) - 1 <= high:
                longest += 1
            parts.append(f"[1-9] {_any_digits(length - 1, longest - 1)}")
        else:
            parts.append(_digits_between(str(first), str(last)))
        length = longest + 1
    return alternatives(parts)


def _digits_between(low: str, high: str) -> str:
    """Return the expression for the digit strings from `low` to `high`, all of one length."""
    if low == high:
        return literal(low) if low else ""
    first, last, rest = int(low[0]), int(high[0]), len(low) - 1
    if first == last:
        return sequence(literal(low[0]), _digits_between(low[1:], high[1:]))
    parts = []
    if low[1:].strip("0"):
        parts.append(sequence(literal(low[0]), _digits_between(low[1:], "9" * rest)))
        first += 1
    whole_last = not high[1:].strip("9")
    middle = last if whole_last else last - 1
    if first <= middle:
        parts.append(sequence(_digit(first, middle), _any_digits(rest, rest)))
    if not whole_last:
        parts.append(sequence(literal(high[0]), _digits_between("0" * rest, high[1:])))
    return alternatives(parts)


def _magnitudes(low: Decimal, high: Decimal) -> str:
    """Return the expression for the decimals `low <= x <= high`, 0 <= low."""
    low_whole, low_digits = _split(low)
    high_whole, high_digits = _split(high)
    if low_whole == high_whole:
        return sequence(literal(str(low_whole)), _fraction_between(low_digits, high_digits))
    parts = []
    first = low_whole
    if low_digits:
        parts.append(sequence(literal(str(low_whole)), '"."', _at_least(low_digits)))
        first += 1
    if first < high_whole:
        parts.append(sequence(_naturals(first, high_whole - 1), _FRACTION))
    parts.append(sequence(literal(str(high_whole)), _fraction_to(high_digits)))
    return alternatives(parts)


def _split(value: Decimal) -> tuple[int, str]:
    """Return the whole part and the digits after the point, without trailing zeros, at most MAX_DIGITS of them."""
    whole = int(value)
    digits = f"{value - whole:f}".partition(".")[2]
    return whole, digits[:MAX_DIGITS].rstrip("0")


def _fraction_between(low: str, high: str) -> str:
    if not low:
        return _fraction_to(high)
    width = max(len(low), len(high))
    return sequence('"."', _fraction_digits(low.ljust(width, "0"), high.ljust(width, "0")))


def _fraction_digits(low: str, high: str) -> str:
    """Return the digits after the point from `low` to `high`, of one length, where shorter texts mean zeros."""
    if low == high:
        return sequence(literal(low), _zeros())
    if low[0] == high[0]:
        return sequence(literal(low[0]), _fraction_digits(low[1:], high[1:]))
    parts = [sequence(literal(low[0]), _at_least(low[1:].rstrip("0")))]
    if int(high[0]) - int(low[0]) > 1:
        parts.append(sequence(_digit(int(low[0]) + 1, int(high[0]) - 1), _any_digits(0, MAX_DIGITS)))
    parts.append(sequence(literal(high[0]), _at_most(high[1:].rstrip("0"))))
    return alternatives(parts)


def _at_least(low: str) -> str:
    if not low:
        return _any_digits(0, MAX_DIGITS)
    parts = [sequence(literal(low[0]), _at_least(low[1:]))]
    if low[0] != "9":
        parts.append(sequence(_digit(int(low[0]) + 1, 9), _any_digits(0, MAX_DIGITS)))
    return alternatives(parts)


def _fraction_to(high: str) -> str:
    if not high:
        return f'("." "0" {_zeros()})?'
    return f'("." {_at_most_from(high)})?'


def _at_most_from(high: str) -> str:
    """Return at least one digit, at most `high`."""
    parts = [sequence(literal(high[0]), _at_most(high[1:]))]
    if high[0] != "0":
        parts.append(sequence(_digit(0, int(high[0]) - 1), _any_digits(0, MAX_DIGITS)))
    return alternatives(parts)


def _at_most(high: str) -> str:
    return f"({_at_most_from(high)})?" if high else _zeros()


def _zeros() -> str:
    return f'"0"{{0,{MAX_DIGITS}}}'


def _digit(first: int, last: int) -> str:
    return literal(str(first)) if first == last else f"[{first}-{last}]"


def _any_digits(least: int, most: int) -> str:
    if most == 0:
        return ""
    return f"[0-9]{{{least},{most}}}" if least != most else "[0-9]" + (f"{{{least}}}" if least > 1 else "")
