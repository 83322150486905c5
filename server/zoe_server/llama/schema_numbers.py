"""The numbers that satisfy a plain JSON schema, as grammar expressions.

Where a bound is excluded, numbers begin 15 digits behind it: a reader with 64 bits takes a closer one for the bound.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Final

from zoe_server.llama.multiple_grammar import multiple_between
from zoe_server.llama.number_grammar import integer_between, number_between
from zoe_server.llama.schema_merge import Schema

_EXACT_DIGITS: Final = 15
Bound = tuple[Decimal, bool]
"""A bound, and whether it is itself excluded."""


def number_expression(name: str, schema: Schema) -> str | None:
    """Return the expression for the values of type `name`, `integer` or `number`; None if there are none.

    Raises:
        ValueError: no grammar of a bounded size says what they are multiples of.
    """
    low, high = _low(schema), _high(schema)
    if "multipleOf" in schema:
        step = Fraction(str(schema["multipleOf"]))
        step = Fraction(step.numerator) if name == "integer" else step
        return multiple_between(_from(low, step), _to(high, step), step)
    if low is None and high is None:
        return f"json-{name}"
    if name == "integer":
        return integer_between(
            None if low is None else math.floor(low[0]) + 1 if low[1] else math.ceil(low[0]),
            None if high is None else math.ceil(high[0]) - 1 if high[1] else math.floor(high[0]),
        )
    return number_between(
        None if low is None else low[0] + _closest(low[0]) if low[1] else low[0],
        None if high is None else high[0] - _closest(high[0]) if high[1] else high[0],
    )


def _low(schema: Schema) -> Bound | None:
    return max(_bounds(schema, "minimum", "exclusiveMinimum"), default=None)


def _high(schema: Schema) -> Bound | None:
    return min(_bounds(schema, "maximum", "exclusiveMaximum"), key=lambda bound: (bound[0], not bound[1]), default=None)


def _bounds(schema: Schema, inclusive: str, exclusive: str) -> list[Bound]:
    return [(Decimal(str(schema[key])), key == exclusive) for key in (inclusive, exclusive) if key in schema]


def _closest(bound: Decimal) -> Decimal:
    """Return how far from `bound` the closest number is that is surely read as another."""
    return Decimal(1).scaleb(len(str(abs(int(bound)))) - _EXACT_DIGITS)


def _from(low: Bound | None, step: Fraction) -> Fraction | None:
    if low is None:
        return None
    bound = Fraction(low[0])
    return bound + step if low[1] and (bound / step).denominator == 1 else bound


def _to(high: Bound | None, step: Fraction) -> Fraction | None:
    if high is None:
        return None
    bound = Fraction(high[0])
    return bound - step if high[1] and (bound / step).denominator == 1 else bound
