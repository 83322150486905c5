"""Which thing of a home somebody means who does not write its name exactly.

In this order, and the first that finds anything decides:

    exact        "Desk lamp"              is Desk lamp
    letters      "desk-lamp", "Buero"     the same letters; case, accents, umlauts, spaces and signs aside
    list         "Desk lamp, Glim"        several names of one thing, as prompts list them
    area         "kitchen ceiling light"  is Ceiling light, which is in the kitchen; or words in another order
    spelling     "Dask lamp"              a slip or two, never in a first letter, a number or a short word

What is found must be one thing, or nothing is resolved and the candidates are told. Pure: it knows no registries.
What it cannot know: synonyms, and other languages than that of the names.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Final

MAX_CANDIDATES: Final = 8

_WORDS: Final = re.compile(r"[^\W_]+")
_ABOVE_AND_BELOW: Final = 200  # combining classes from here on are accents, not vowels of Indic scripts
_LONGEST_NAME: Final = 100
_MAX_SLIPS: Final = 2
_LONG_WORD: Final = 7
_SHORT_WORD: Final = 3
_KEPT_NAMES: Final = 4096  # the names of a large home are folded once, not for every name that a model writes
# Letters that no decomposition takes an accent from.
_PLAIN: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "\N{LATIN SMALL LETTER DOTLESS I}": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}
)
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


class Found(StrEnum):
    """How a name was resolved."""

    EXACT = "exact"
    LETTERS = "letters"
    LIST = "list"
    AREA = "area"
    SPELLING = "spelling"


@dataclass(frozen=True, slots=True)
class Named:
    """One name of a thing: `key` tells which thing, `areas` are all names of the area it is in."""

    name: str
    key: str
    areas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """Either `name` (and `found`), or `candidates` that may be meant.

    `area` is set where the name alone does not tell which thing is meant. `ambiguous` says that all the candidates fit.
    """

    name: str | None = None
    found: Found = Found.EXACT
    area: str | None = None
    candidates: tuple[str, ...] = ()
    ambiguous: bool = False


def resolve(said: str, known: Sequence[Named]) -> Resolution:
    """Return which of `known` is meant by `said`."""
    said = said[:_LONGEST_NAME]
    for found, search in _SEARCHES.items():
        if matches := search(said, known):
            return _one_thing(found, matches, known)
    return Resolution(candidates=tuple(_similar(said, known)))


def _one_thing(found: Found, matches: list[Named], known: Sequence[Named]) -> Resolution:
    first = matches[0]
    names = list(dict.fromkeys(_with_area(match, known) for match in matches))
    if len({match.key for match in matches}) == 1:
        shared = any(other.key != first.key and _letters(other.name) == _letters(first.name) for other in known)
        needs_area = shared and found not in (Found.EXACT, Found.LETTERS) and bool(first.areas)
        return Resolution(first.name, found, first.areas[0] if needs_area else None)
    if len({_letters(match.name) for match in matches}) == 1 and found in (Found.EXACT, Found.LETTERS):
        return Resolution(first.name, found)  # several things of that name: Home Assistant knows whose area is meant
    return Resolution(candidates=tuple(names[:MAX_CANDIDATES]), ambiguous=True)


def _exact(said: str, known: Sequence[Named]) -> list[Named]:
    return [named for named in known if said in (named.name, named.key)]


def _same_letters(said: str, known: Sequence[Named]) -> list[Named]:
    letters = _letters(said)
    return [named for named in known if letters and letters in _spellings(named)]


def _listed(said: str, known: Sequence[Named]) -> list[Named]:
    """Return the thing all parts of a list name, or all the things if they name several."""
    parts = [part for part in said.split(",") if part.strip()]
    if len(parts) < 2:  # noqa: PLR2004 (one name is no list)
        return []
    matches = [_same_letters(part, known) for part in parts]
    if not all(matches):
        return []
    shared = set.intersection(*({named.key for named in part} for part in matches))
    return [named for part in matches for named in part if named.key in shared or not shared]


def _in_area(said: str, known: Sequence[Named]) -> list[Named]:
    words = set(_words(said))
    used = {word for named in known for word in _words(named.name)}
    spare = {word for word in words - used if len(word) <= _SHORT_WORD and word.isalpha()}  # "in", "the", "der", "la"
    matches = [named for named in known if _names_area(words, spare, named)]
    return [named for named in matches if set(_words(named.name)) == words - spare] or matches


def _names_area(words: set[str], spare: set[str], named: Named) -> bool:
    """Return whether `words` are those of the name and of its area, or of the name without its area."""
    name = set(_words(named.name))
    meant = words - (spare - name)
    places = [set(_words(area)) for area in named.areas]
    return meant == name or any(meant == name | place or meant == name - place for place in places if meant)


def _misspelt(said: str, known: Sequence[Named]) -> list[Named]:
    words = _words(said)
    return [named for named in known if _slips(words, _words(named.name)) <= _MAX_SLIPS]


def _slips(said: Sequence[str], name: Sequence[str]) -> int:
    """Return how many letters are wrong, more than `_MAX_SLIPS` if a word cannot be the other one."""
    if len(said) != len(name) or not said:
        return _MAX_SLIPS + 1
    slips = 0
    for one, other in zip(said, name, strict=True):
        distance = 0 if one == other else _distance(one, other)
        if distance > _allowed(one, other):
            return _MAX_SLIPS + 1
        slips += distance
    return slips


def _allowed(one: str, other: str) -> int:
    """Return how many slips may make one word of the other."""
    if one[0] != other[0] or any(char.isdigit() for char in one + other):
        return 0
    shorter = min(len(one), len(other))
    return 0 if shorter <= _SHORT_WORD else 1 if shorter < _LONG_WORD else 2


def _distance(one: str, other: str) -> int:
    """Return the optimal string alignment distance (Damerau 1964): letters added, lost, changed, or swapped."""
    if abs(len(one) - len(other)) > _MAX_SLIPS:
        return _MAX_SLIPS + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted)))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                row[j] = min(row[j], last[j - 2] + 1)
    return row[-1]


def _similar(said: str, known: Sequence[Named]) -> list[str]:
    """Return the names that are most like `said`, each thing once."""
    matcher = SequenceMatcher(None, "", _letters(said))

    def similarity(named: Named) -> float:
        matcher.set_seq1(_letters(named.name))
        return matcher.ratio()

    ranked = sorted(known, key=similarity, reverse=True)
    once = {named.key: named for named in reversed(ranked)}
    nearest = islice((named for named in ranked if once[named.key] is named), MAX_CANDIDATES)
    return [_with_area(named, known) for named in nearest]


def _with_area(named: Named, known: Sequence[Named]) -> str:
    """Return the name, with its area where other things have the same name."""
    shared = any(other.key != named.key and other.name == named.name for other in known)
    return f"{named.name} ({named.areas[0]})" if shared and named.areas else named.name


@lru_cache(_KEPT_NAMES)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORDS.findall(_folded(text)))


@lru_cache(_KEPT_NAMES)
def _letters(text: str) -> str:
    return "".join(_words(text))


def _spellings(named: Named) -> tuple[str, str, str]:
    """Return the letters of a name, of its key, and of the name with umlauts as those write them who have none."""
    return _letters(named.name), _letters(named.key), _letters(_without_umlauts(named.name))


@lru_cache(_KEPT_NAMES)
def _without_umlauts(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold()).translate(_UMLAUTS)


def _folded(text: str) -> str:
    """Return `text` without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_PLAIN))
    return "".join(char for char in decomposed if unicodedata.combining(char) < _ABOVE_AND_BELOW)


_SEARCHES: Final[dict[Found, Callable[[str, Sequence[Named]], list[Named]]]] = {
    Found.EXACT: _exact,
    Found.LETTERS: _same_letters,
    Found.LIST: _listed,
    Found.AREA: _in_area,
    Found.SPELLING: _misspelt,
}
