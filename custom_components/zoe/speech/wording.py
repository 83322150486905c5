"""Amounts, ranges and signs in the words of a language, word by word.

    21.5 °C   20-22 °C   -5 °C      ->  21.5 degrees Celsius   20 to 22 degrees Celsius   minus 5 degrees Celsius
    $3.50   0.32 €/kWh   CHF 20     ->  3.50 dollars   0.32 euros per kilowatt-hour   20 Swiss francs
    x² ≈ 5   3 ÷ 4 = 0.75           ->  x squared about 5   3 divided by 4 equals 0.75

A word waits for the next one only where that decides: a hyphen between numbers, which may be a range, a score or a
part of a telephone number; a dash between numbers; a currency before its amount, and the amount before "million".
"""

import re
from dataclasses import dataclass
from typing import Final

from .units import CURRENCY, TIMES, Vocabulary, spoken_alone, spoken_divisor, spoken_unit, stands_apart

_DASH: Final = "[\u2010-\u2014~\u2026-]"
_HYPHENS: Final = frozenset("-\u2010\u2011")
_MINUS: Final = frozenset("-\u2212\u2013")
_DIGITS: Final = r"\d+(?:[.,:]\d+)*"
_AMOUNT: Final = rf"(?P<sign>[+\-\u2212\u2013]?)(?P<currency>{CURRENCY}?)(?P<minus>[\-\u2212]?)(?P<number>{_DIGITS})"
_WHOLE: Final = re.compile(rf"{_AMOUNT}(?P<unit>\D\S*)?")
_FROM: Final = re.compile(rf"{_AMOUNT}(?P<unit>[^\d\s\u2010-\u2014~\u2026-]*)")
_TO: Final = re.compile(rf"({_DASH})((?:[+\-\u2212]?{CURRENCY}?[+\-\u2212]?)\d\S*)")
_UNIT_TO: Final = re.compile(rf"([^\d\s]+?)({_DASH})([+\-\u2212]?\d\S*)")
_CURRENCY: Final = re.compile(CURRENCY)
_ALONE: Final = re.compile(_DASH)
_SPACED: Final = re.compile(rf"({_DASH})\s+({_DIGITS})")
_LEAD: Final = "([{<>\"'„“«¿¡"
_END: Final = ".,;:!?)]}\"'”“»…"
_GROUP: Final = re.compile(r"[.,](?=\d{3}(?!\d))")
_PARTS: Final = re.compile(
    r"(<=|>=|[≈≠±\u00d7÷≤≥√\u223c]|(?<=\d)\*(?=\d)|(?<=[\w)²³%°])=(?=[\w(√+\-\u2212.])|(?<![\w~])~(?=\d)|(?<![\w<>=-])[<>](?=[+\-\u2212]?\d+(?:[.,]\d+)?[^\s\d.,!?)]))"
)
_SAME: Final = {"<=": "≤", ">=": "≥", "\N{TILDE OPERATOR}": "≈", "~": "≈", "*": TIMES}
_POWER: Final = re.compile(r"(?<=[\w)])(?:([²³])(?![A-Za-z])|\^\(?([-\u2212]?\w{1,9})\)?)")
_SUBSCRIPTS: Final = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_LONGEST: Final = 80
_MANY: Final = "2"


@dataclass(slots=True)
class _Before:
    """What the last word was, as far as it matters for the next: a number without a unit, any amount, or "per"."""

    number: str = ""
    value: float | None = None
    is_per: bool = False


class Wording:
    """Reads the words of one answer with the gaps before them."""

    def __init__(self, words: Vocabulary) -> None:
        self._words = words
        self._before = _Before()
        self._held: tuple[str, str] | None = None

    def feed(self, gap: str, word: str) -> str:
        """Return what is said by now and was not returned before."""
        said = ""
        if held := self._held:
            self._held = None
            if not gap.strip() and (joined := self._joined(*held, gap, word)) is not None:
                return joined
            said = held[0] + self._said(held[1])
        if gap.strip() not in ("", ","):
            self._before = _Before()  # what separates lines separates a number from what follows; a cell may be a unit
        if len(word) <= _LONGEST and self._waits(word):
            self._held = (gap, word)
            return said
        return said + gap + self._said(word)

    def close(self) -> str:
        """Return the word that still waits."""
        held, self._held = self._held, None
        return held[0] + self._said(held[1]) if held else ""

    def _waits(self, word: str) -> bool:
        core = word.lstrip(_LEAD)
        if _ALONE.fullmatch(core):
            return self._before.value is not None
        if _CURRENCY.fullmatch(core):
            return not self._before.number
        if (whole := _WHOLE.fullmatch(core)) and whole["currency"] and not whole["unit"]:
            return True
        return self._is_open_range(core)

    def _is_open_range(self, core: str) -> bool:
        """Return whether two numbers are a range only if the next word says so."""
        if not (parts := _range(core)):
            return False
        first, dash, second = parts
        whole = _WHOLE.fullmatch(second)
        if not whole or whole["unit"] or first["unit"] or first["currency"] or whole["currency"]:
            return False
        if ":" in first["number"] and ":" in second:
            return False
        return dash in _HYPHENS or not _value(first["number"]) < _value(whole["number"])

    def _joined(self, gap: str, held: str, next_gap: str, word: str) -> str | None:
        """Return what is said of both words, if the second one says what the first is."""
        lead, core, _ = _split(held)
        next_lead, next_core, end = _split(word)
        core = core or held[len(lead) :]
        if _ALONE.fullmatch(held):
            return self._joined_dash(gap, held, next_gap, word)
        if _CURRENCY.fullmatch(core):
            money = core + next_core
            amount = (self._range(money) or self._amount(money)) if next_core[:1].isdigit() and not next_lead else None
            return f"{gap}{lead}{amount}{end}" if amount else None
        if (whole := _WHOLE.fullmatch(core)) and whole["currency"]:
            if next_core.casefold() not in self._words.magnitudes:
                return None
            name = spoken_unit(whole["currency"], _MANY, self._words)
            self._before = _Before()
            return f"{gap}{lead}{self._signed(whole)}{next_gap}{next_core} {name}{end}"
        first, number = self._open_range(held, core)
        name = spoken_unit(next_core, number, self._words)
        if not number or not (name or next_core.casefold() in self._words.counting):
            return None
        self._before = _Before(value=_value(number))
        return f"{gap}{lead}{first}{self._words.range} {number}{next_gap}{name or next_core}{end}"

    def _joined_dash(self, gap: str, dash: str, next_gap: str, word: str) -> str | None:
        whole = _WHOLE.match(word)
        before = self._before
        if not whole or before.value is None:
            return None
        if before.number and not before.value < _value(whole["number"]):
            return None
        if dash in _HYPHENS and before.number and ":" not in before.number:
            if whole["unit"]:
                return None
            self._held = (gap, f"{dash}{next_gap}{word}")
            return ""
        return f"{gap}{self._words.range}{next_gap}{self._said(word)}"

    def _open_range(self, held: str, core: str) -> tuple[str, str]:
        """Return what is said before the dash of a range, and the number behind it."""
        if spaced := _SPACED.fullmatch(held):
            return "", spaced[2]
        if parts := _range(core):
            return self._signed(parts[0]) + " ", parts[2]
        return "", ""

    def _said(self, word: str) -> str:
        """Return a word as it is said, and remember what the next one needs."""
        if len(word) > _LONGEST:
            self._before = _Before()
            return word
        word = word.translate(_SUBSCRIPTS)
        if word == "*" and self._before.number:
            return self._words.signs[TIMES]
        if word == "=":
            return self._words.signs["="]
        # Every other one is a sign.
        said = [
            self._words.signs[_SAME.get(part, part)] if place % 2 else self._part(part)
            for place, part in enumerate(_PARTS.split(word))
            if part
        ]
        return " ".join(said)

    def _part(self, part: str) -> str:
        before, self._before = self._before, _Before()
        if before.number and (unit := self._unit_behind(before.number, part)):
            return unit
        lead, core, end = _split(part)
        if (said := self._range(core) or self._amount(core)) is not None:
            self._before = _Before() if end else self._before
            return lead + said + end
        if before.number and core.casefold() in self._words.magnitudes:
            self._before = _Before(_MANY, before.value)
            return part
        self._before.is_per = part.casefold() == self._words.per
        if alone := spoken_alone(core, self._words, behind_per=before.is_per):
            return lead + alone + end
        return lead + _POWER.sub(self._power, core) + end

    def _unit_behind(self, number: str, part: str) -> str | None:
        """Return the unit that stands apart from its number, perhaps with the second number of a range."""
        _, core, end = _split(part)
        self._before = _Before(value=_value(number))
        for unit, tail in ((part, ""), (core, end)):
            if name := spoken_unit(unit, number, self._words):
                if unit.endswith("/100"):
                    self._before.number = "100"
                return name + tail
        if (parts := _UNIT_TO.fullmatch(core)) and (name := spoken_unit(parts[1], number, self._words)):
            return f"{name} {self._words.range} {self._amount(parts[3]) or parts[3]}{end}"
        self._before = _Before()
        return None

    def _range(self, core: str) -> str | None:
        if not (parts := _range(core)) or self._is_open_range(core):
            return None
        first, dash, second = parts
        whole = _WHOLE.fullmatch(second)
        if not whole or (dash in _HYPHENS and not whole["unit"] and not first["currency"] and ":" not in second):
            return None
        is_shared = bool(first["currency"]) and not whole["currency"] and not first["unit"]
        if is_shared or not (first["currency"] or first["unit"]):
            begin: str | None = self._signed(first)
        else:
            begin = self._amount(first[0])
        last = self._amount(first["currency"] + second if is_shared else second)
        return f"{begin} {self._words.range} {last}" if begin and last else None

    def _amount(self, core: str) -> str | None:
        """Return a number with its sign, its currency and its unit, None if it is none or the unit unknown."""
        whole = _WHOLE.fullmatch(core)
        if not whole:
            return None
        number, unit, currency = whole["number"], whole["unit"] or "", whole["currency"]
        names = []
        if currency:
            names.append(spoken_unit(currency, number, self._words))
            names += [spoken_divisor(unit[1:], self._words) if unit.startswith("/") else None] if unit else []
        elif unit:
            names.append(None if stands_apart(unit, number, self._words) else spoken_unit(unit, number, self._words))
        if None in names:
            return None
        self._before = _Before("" if names else number, _value(number))
        return " ".join([self._signed(whole), *(name for name in names if name)])

    def _signed(self, amount: re.Match[str]) -> str:
        number = amount["number"]
        if amount["sign"] in _MINUS or amount["minus"] in _MINUS:
            return f"{self._words.minus} {number}"
        return amount["sign"] + number

    def _power(self, power: re.Match[str]) -> str:
        signs = self._words.signs
        raised = power[1] or {"2": "²", "3": "³"}.get(power[2], "")
        return f" {signs[raised]}" if raised else f" {signs['^']} {power[2]}"


def _range(core: str) -> tuple[re.Match[str], str, str] | None:
    """Return the first amount of a range, the dash, and the second one as written."""
    first = _FROM.match(core)
    rest = _TO.fullmatch(core, first.end()) if first else None
    return (first, rest[1], rest[2]) if first and rest else None


def _split(word: str) -> tuple[str, str, str]:
    """Return what opens before a word, the word, and the punctuation behind it."""
    rest = word.lstrip(_LEAD)
    core = rest.rstrip(_END)
    return word[: len(word) - len(rest)], core, rest[len(core) :]


def _value(number: str) -> float:
    """Return the value of a number or a time as written; what separates three digits separates thousands."""
    hours, _, minutes = number.partition(":")
    if minutes:
        return _value(hours) + _value(minutes.partition(":")[0]) / 60
    whole, *parts = re.split("[.,]", _GROUP.sub("", number))
    return float(f"{whole}.{parts[0]}" if parts else whole)
