"""How units of measurement and currencies are spoken behind a number, which many voices cannot read by themselves.

The words that a language has for them, and for signs, are in `words/<language>.json`. Upper and lower case count, as in
the units themselves ("mW", "MW"). Units that are more often something else, such as "in" for inches, are left out.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

LANGUAGES: Final = ("de", "en", "es", "fr", "it", "nl")
TIMES: Final = "\N{MULTIPLICATION SIGN}"
_WORDS: Final = Path(__file__).parent / "words"


@dataclass(frozen=True)
class Name:
    """What a unit is called behind the number 1, and behind any other."""

    one: str
    many: str


@dataclass(frozen=True)
class Vocabulary:
    """The words of one language.

    `range` stands between two numbers, `minus` before one, and `per` before a unit that another is divided by, where
    `per_unit` has no form of its own; `per_several` is for many of it, as in "l/100 km". `no_unit_attached` has, by
    unit, the numbers that with it make something else when no space is between them ("90s", "3D", "4K"), as a regular
    expression. `counted` are words besides the names of units that show that "2-3" before them is a range.
    `magnitudes` stand between a number and its currency. `reporting` are words of a sentence that tells of a question,
    `placeholders` those that a text left to be filled in begins with.
    """

    range: str
    minus: str
    per: str
    per_several: str
    per_unit: Mapping[str, str]
    singular_below_two: bool
    no_unit_attached: Mapping[str, re.Pattern[str]]
    signs: Mapping[str, str]
    counted: frozenset[str]
    magnitudes: frozenset[str]
    reporting: frozenset[str]
    placeholders: frozenset[str]
    units: Mapping[str, Name]
    currencies: Mapping[str, Name]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `words/`."""
        texts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for kind in ("units", "currencies"):
            texts[kind] = {
                unit: Name(name, name) if isinstance(name, str) else Name(*name) for unit, name in texts[kind].items()
            }
        for kind in ("counted", "magnitudes", "reporting", "placeholders"):
            texts[kind] = frozenset(word.casefold() for word in texts[kind])
        attached = texts["no_unit_attached"]
        texts["no_unit_attached"] = {unit: re.compile(numbers) for unit, numbers in attached.items()}
        return cls(**texts)

    @cached_property
    def counting(self) -> frozenset[str]:
        """Return the words that follow a number of things: those of units, and `counted`."""
        names = {*self.units.values(), *self.currencies.values()}
        return self.counted | {form.partition(" ")[0].casefold() for name in names for form in (name.one, name.many)}


# Home Assistant imports an integration in an executor, where files may be read.
VOCABULARIES: Final[Mapping[str, Vocabulary]] = {
    language: Vocabulary.load(_WORDS / f"{language}.json") for language in LANGUAGES
}
REPORTING: Final = frozenset().union(*(words.reporting for words in VOCABULARIES.values()))
PLACEHOLDERS: Final = frozenset().union(*(words.placeholders for words in VOCABULARIES.values()))


def vocabulary(language: str) -> Vocabulary | None:
    """Return the words for a language tag such as "de-CH", None if there are none."""
    return VOCABULARIES.get(language.partition("-")[0].lower())


# The Greek letter that many sensors use for "micro", the signs that stand for a degree and its scale in one, and others
# that look the same.
_LETTERS: Final = str.maketrans(
    {"\N{GREEK SMALL LETTER MU}": "µ", "\u2103": "°C", "\u2109": "°F", "º": "°", "\N{OHM SIGN}": "Ω", "⁄": "/"}  # noqa: RUF001
)
_SPELLINGS: Final[dict[str, str]] = dict(
    re.findall(
        r"(\S+)=(\S+)",
        "L=l mL=ml cL=cl kwh=kWh KWh=kWh Kwh=kWh KW=kW KM/H=km/h kmh=km/h kph=km/h lux=lx ohm=Ω sec=s hr=h hrs=h "
        "mins=min lbs=lb qm=m² sqft=ft² KB=kB dB(A)=dBA Mbps=Mbit/s Gbps=Gbit/s kbps=kbit/s Mb/s=Mbit/s U/min=rpm "
        "EUR=€ USD=$ US$=$ GBP=£ JPY=¥ INR=₹ UAH=₴ zł=PLN Kč=CZK A$=AUD C$=CAD SFr.=CHF ¢=ct Ct=ct",
    )
)
_POWER: Final = re.compile(r"(?<=[mst])\^?([23])(?=/|\Z)")
_BELOW_TWO: Final = re.compile(r"[01](?:[.,]\d+)*")
_DIVISOR: Final = re.compile(r"(10+)(\D*)")
_SHORTEST_WORD: Final = 3

CURRENCY: Final = (
    r"(?:US\$|A\$|C\$|[€$£¥₹₺₴]|(?:EUR|USD|GBP|JPY|INR|UAH|CHF|SEK|NOK|DKK|PLN|CZK|AUD|CAD|kr)(?![A-Za-z]))"
)
"""What may stand before an amount."""


def spoken_unit(unit: str, number: str, words: Vocabulary) -> str | None:
    """Return how `unit` is said behind `number` (as written, such as "21,5"), or None if it is no unit known here."""
    unit = _spelled(unit)
    if name := _name(unit, words):
        return _form(name, number, words)
    measure, slash, divisor = unit.partition("/")
    name = _name(_spelled(measure), words)
    if not (name and slash) or not (per := spoken_divisor(divisor, words)):
        return None
    return f"{_form(name, number, words)} {per}"


def spoken_divisor(unit: str, words: Vocabulary) -> str | None:
    """Return how the unit behind a slash is said, as in "€/kWh"; any word may stand there, as in "€/month"."""
    unit = _spelled(unit)
    if unit in words.per_unit:
        return words.per_unit[unit]
    if several := _DIVISOR.fullmatch(unit):
        name = _name(_spelled(several[2]), words)
        if several[2] and not name:
            return None
        return f"{words.per_several} {several[1]}" + (f" {name.many}" if name else "")
    if name := _name(unit, words):
        return f"{words.per} {name.one}"
    return f"{words.per} {unit}" if unit.isalpha() and len(unit) >= _SHORTEST_WORD else None


def spoken_alone(unit: str, words: Vocabulary, *, behind_per: bool = False) -> str | None:
    """Return how a unit without a number is said: a square or cubic one, or one behind "per"; others may be words."""
    name = _name(_spelled(unit), words) if unit[-1:] in ("²", "³") or behind_per else None
    return name.one if name else None


def stands_apart(unit: str, number: str, words: Vocabulary) -> bool:
    """Return whether `unit` would be one only with a space behind `number`, as "90s" are years and "4K" a screen."""
    numbers = words.no_unit_attached.get(unit)
    return bool(numbers and numbers.fullmatch(number))


def _spelled(unit: str) -> str:
    unit = unit.translate(_LETTERS)
    unit = _POWER.sub(lambda power: "²" if power[1] == "2" else "³", unit)
    return _SPELLINGS.get(unit, unit)


def _name(unit: str, words: Vocabulary) -> Name | None:
    return words.units.get(unit) or words.currencies.get(unit)


def _form(name: Name, number: str, words: Vocabulary) -> str:
    is_one = _BELOW_TWO.fullmatch(number) if words.singular_below_two else number == "1"
    return name.one if is_one else name.many
