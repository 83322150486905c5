"""Which thing of a home a model means that does not write its name exactly.

In this order, and the first that finds anything decides:

    exact        "Desk lamp"              is Desk lamp
    letters      "desk-lamp", "Buero"     the same letters; case, accents, umlauts, spaces and signs aside
    list         "Desk lamp, Glim"        several names of one thing, as prompts list them
    area         "kitchen ceiling light"  is Ceiling light, which is in the kitchen; or words in another order
    spelling     "Celing light"           a slip or two in a word of six letters or more; never in a first letter, in a
                                          number, or where the thing guards the home

What is found must be one thing, or nothing is resolved and the candidates are told.

Pure: it knows no registries. What it cannot know: synonyms, and other languages than that of the names.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import lru_cache
from heapq import nlargest
from itertools import islice
from typing import Final

from ..home import Named
from .words import KEPT_NAMES, PARTICLES, letters_in, words_in

MAX_CANDIDATES: Final = 8
_LONGEST_GUESS: Final = 100
_MAX_SLIPS: Final = 2
_CORRECTED_WORD: Final = 6
_LONG_WORD: Final = 7
_COMPARED: Final = 60
_GUARDS: Final = frozenset({"alarm_control_panel", "cover", "lock", "valve"})
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


class Found(StrEnum):
    """How a name was resolved."""

    EXACT = "exact"
    LETTERS = "letters"
    LIST = "list"
    AREA = "area"
    SPELLING = "spelling"


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
    for found, search in _SEARCHES.items():
        whole = found in (Found.EXACT, Found.LETTERS)
        if (whole or len(said) <= _LONGEST_GUESS) and (matches := search(said, known)):
            return _one_thing(found, matches, known)
    return Resolution(candidates=tuple(_similar(said[:_LONGEST_GUESS], known)))


def _one_thing(found: Found, matches: list[Named], known: Sequence[Named]) -> Resolution:
    first = matches[0]
    names = list(dict.fromkeys(_with_area(match, known) for match in matches))
    if len({match.key for match in matches}) == 1:
        shared = any(other.key != first.key and letters_in(other.name) == letters_in(first.name) for other in known)
        needs_area = shared and found not in (Found.EXACT, Found.LETTERS) and bool(first.areas)
        return Resolution(first.name, found, first.areas[0] if needs_area else None)
    if len({letters_in(match.name) for match in matches}) == 1 and found in (Found.EXACT, Found.LETTERS):
        return Resolution(first.name, found)  # several things of that name: Home Assistant knows whose area is meant
    return Resolution(candidates=tuple(names[:MAX_CANDIDATES]), ambiguous=True)


def _exact(said: str, known: Sequence[Named]) -> list[Named]:
    return [named for named in known if said in (named.name, named.key)]


def _same_letters(said: str, known: Sequence[Named]) -> list[Named]:
    letters = letters_in(said)
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
    words = set(words_in(said))
    used = {word for named in known for word in words_in(named.name)}
    spare = words & (PARTICLES - used)
    matches = [named for named in known if _names_area(words, spare, named)]
    return [named for named in matches if set(words_in(named.name)) == words - spare] or matches


def _names_area(words: set[str], spare: set[str], named: Named) -> bool:
    """Return whether `words` are those of the name and of its area, or of the name without its area."""
    name = set(words_in(named.name))
    meant = words - (spare - name)
    if not name or not meant:
        return False
    places = [set(words_in(area)) for area in named.areas]
    return meant == name or any(meant == name | place or meant == name - place for place in places)


def _misspelt(said: str, known: Sequence[Named]) -> list[Named]:
    words = words_in(said)
    unguarded = (named for named in known if named.key.partition(".")[0] not in _GUARDS)
    return [named for named in unguarded if _slips(words, words_in(named.name)) <= _MAX_SLIPS]


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
    return 0 if shorter < _CORRECTED_WORD else 1 if shorter < _LONG_WORD else _MAX_SLIPS


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
    """Return the names that are most like `said`, each thing once.

    Only those are compared letter by letter that share most letters with it: the others cannot be much like it.
    """
    letters = letters_in(said)
    wanted = Counter(letters)
    shared = {named: _shared_letters(wanted, named.name) for named in known}
    likely = nlargest(_COMPARED, known, key=lambda named: shared[named])
    matcher = SequenceMatcher(None, "", letters)

    def similarity(named: Named) -> float:
        matcher.set_seq1(letters_in(named.name))
        return matcher.ratio()

    ranked = sorted(likely, key=similarity, reverse=True)
    once = {named.key: named for named in reversed(ranked)}
    nearest = islice((named for named in ranked if once[named.key] is named), MAX_CANDIDATES)
    return [_with_area(named, known) for named in nearest]


def _shared_letters(wanted: Counter[str], name: str) -> float:
    """Return twice the letters that a name shares, by all letters: an upper bound of the similarity."""
    letters = _letter_counts(name)
    return 2 * (wanted & letters).total() / ((wanted.total() + letters.total()) or 1)


@lru_cache(KEPT_NAMES)
def _letter_counts(name: str) -> Counter[str]:
    return Counter(letters_in(name))


def _with_area(named: Named, known: Sequence[Named]) -> str:
    """Return the name, with its area where other things have the same name."""
    shared = any(other.key != named.key and other.name == named.name for other in known)
    return f"{named.name} ({named.areas[0]})" if shared and named.areas else named.name


def _spellings(named: Named) -> tuple[str, str, str]:
    """Return the letters of a name, of its key, and of the name with umlauts as those write them who have none."""
    return letters_in(named.name), letters_in(named.key), letters_in(_without_umlauts(named.name))


@lru_cache(KEPT_NAMES)
def _without_umlauts(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold()).translate(_UMLAUTS)


_SEARCHES: Final[dict[Found, Callable[[str, Sequence[Named]], list[Named]]]] = {
    Found.EXACT: _exact,
    Found.LETTERS: _same_letters,
    Found.LIST: _listed,
    Found.AREA: _in_area,
    Found.SPELLING: _misspelt,
}
