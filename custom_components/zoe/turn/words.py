"""What was said, held against names: whether words of one are words of the other.

Inflections ("lamps"), parts of compounds ("Küchenlicht", "Licht") and words of the same consonants ("Dask", "desk")
count; a shared beginning alone ("cooler", "Cooker") does not. Case, accents, umlauts and signs are set aside. It is
generous, because it only tells the impossible from the possible. Pure. What it cannot know: synonyms, and names in
another language than the sentence.
"""

import json
import re
import unicodedata
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import Final

_WORDS: Final = re.compile(r"[^\W_]+")
_ABOVE_AND_BELOW: Final = 200  # combining classes from here on are accents, not vowels of Indic scripts
_STEM: Final = 3
_ENDING: Final = 2
_COMPOUND_PART: Final = 4
_COMPOUND_BEGINNING: Final = 6
_SOUND: Final = 3
_ALIKE: Final = 0.75
_KEPT_WORDS: Final = 1 << 16
KEPT_NAMES: Final = 4096  # the names of a large home are folded once, not for every name that a model writes
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u3040-\u9fff\uac00-\ud7af]")
# Letters that no decomposition takes an accent from.
_PLAIN: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "\N{LATIN SMALL LETTER DOTLESS I}": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}
)
# Consonants that microphones confuse; vowels, and h and y that go with them, are no part of a sound here.
_SOUNDS: Final = str.maketrans("ckqgjxzsdtbpvfwmnlr", "kkkgjkssttppfffmnlr", "aeiouyh")
_PARTICLES_OF: Final[dict[str, list[str]]] = json.loads(
    Path(__file__).with_name("particles.json").read_text(encoding="utf-8")
)
"""Articles and prepositions of each language, which name nothing.
"""
PARTICLES: Final = frozenset(word for words in _PARTICLES_OF.values() for word in words)


def relates(said: str, names: Iterable[str]) -> bool:
    """Return whether something of these `names` is spoken of in `said`."""
    spoken = _telling(words_in(said))
    letters = letters_in(said)
    for name in names:
        words = words_in(name)
        if any(_same_word(word, other) for word in _telling(words) for other in spoken):
            return True
        if words and not name.isascii() and letters_in(name) in letters:  # scripts that put no spaces
            return True
    return False


def mentions(said: str, name: str) -> bool:
    """Return whether `said` has all words of `name` in their order, or its letters where a script puts no spaces."""
    words = words_in(name)
    if not words:
        return False
    return f" {' '.join(words)} " in f" {' '.join(words_in(said))} " or (
        not name.isascii() and len(words) == 1 and _UNSPACED.search(name) is not None and words[0] in letters_in(said)
    )


def is_made_of(said: str, names: Iterable[str]) -> bool:
    """Return whether a word of `said` is one of `names`, give or take an ending, or a compound of two.

    A word that only begins or ends like one is another word: the terrace is no ground floor (terra, terrazzo).
    """
    words = {word for name in names for word in _telling(words_in(name))}
    return any(_is_made_of(word, words) for word in _telling(words_in(said)))


def _is_made_of(said: str, words: Collection[str]) -> bool:
    if any(inflected(said, word) for word in words):
        return True
    begins = [word for word in words if len(word) >= _COMPOUND_PART and said.startswith(word[:-1])]
    return any(
        len(word) >= _STEM and said.endswith(word) and len(word) + len(first) <= len(said) + _ENDING
        for first in begins
        for word in words
    )


def is_part_of(part: str, text: str) -> bool:
    """Return whether a word of a text is `part`, or ends with it, or has it inside: gate and Hoftor, puerta and
    abrepuertas."""
    (wanted,) = words_in(part)[:1] or ("",)
    inside = len(wanted) > _COMPOUND_PART
    return bool(wanted) and any(word.endswith(wanted) or (inside and wanted in word) for word in words_in(text))


def sounds_like(said: str, name: str) -> bool:
    """Return whether a word of `said` has the consonants of a word of `name`, as one that was misheard."""
    return any(
        _sounds_alike(*sorted((word, other), key=len)) for word in _telling(words_in(said)) for other in words_in(name)
    )


def without(said: str, names: Iterable[str]) -> str:
    """Return the words of `said` but for those of `names` that stand in it as a whole, the longest first."""
    words = f" {' '.join(words_in(said))} "
    for name in sorted(names, key=len, reverse=True):
        words = words.replace(f" {' '.join(words_in(name))} ", "  ")
    return words.strip()


def without_particles(text: str, language: str) -> str:
    """Return the words of `text` in small letters, without the articles and prepositions of its language."""
    return " ".join(word for word in text.casefold().split() if word not in _PARTICLES_OF.get(language, ()))


def names_something(text: str) -> bool:
    """Return whether a text is more than articles and prepositions."""
    return bool(_telling(words_in(text)))


def inflected(one: str, other: str) -> bool:
    """Return whether two words, in small letters, differ in their endings only."""
    return _inflected(*sorted((one, other), key=len))


def _telling(words: Iterable[str]) -> list[str]:
    return [word for word in words if word not in PARTICLES]


@lru_cache(_KEPT_WORDS)
def _same_word(one: str, other: str) -> bool:
    if one == other:
        return True
    shorter, longer = sorted((one, other), key=len)
    if any(char.isdigit() for char in shorter + longer):
        return False
    return _inflected(shorter, longer) or _is_part(shorter, longer) or _sounds_alike(shorter, longer)


def _inflected(shorter: str, longer: str) -> bool:
    """Return whether the words differ in their endings only: lamp and lamps, luce and luci."""
    shared = _shared(shorter, longer)
    return shared >= max(_STEM, len(shorter) - 1) and len(longer) - shared <= _ENDING


def _is_part(shorter: str, longer: str) -> bool:
    """Return whether a word is a part of a compound, or both are compounds that begin with the same part.

    As the last part, it may have another ending: Türen and Haustür.
    """
    if len(shorter) >= _COMPOUND_PART and longer.startswith(shorter):
        return True
    return _ends_with(longer, shorter) or _ends_with(shorter, longer) or _shared(shorter, longer) >= _COMPOUND_BEGINNING


def _ends_with(compound: str, part: str) -> bool:
    stems = (part[: len(part) - ending] for ending in range(_ENDING + 1))
    return any(len(stem) >= _COMPOUND_PART and compound.endswith(stem) for stem in stems)


def _shared(one: str, other: str) -> int:
    """Return how many letters two words begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (letter, wanted) in pairs if letter != wanted), min(len(one), len(other)))


def _sounds_alike(shorter: str, longer: str) -> bool:
    """Return whether the words have the same consonants, from the first letter on, and most letters in all.

    Dask and desk sound alike; bathroom and bedroom do not.
    """
    one, other = (re.sub(r"(.)\1+", r"\1", word.translate(_SOUNDS)) for word in (shorter, longer))
    if len(one) < _SOUND or one != other or shorter[0].translate(_SOUNDS) != longer[0].translate(_SOUNDS):
        return False
    return SequenceMatcher(None, shorter, longer).ratio() >= _ALIKE


@lru_cache(KEPT_NAMES)
def words_in(text: str) -> tuple[str, ...]:
    """Return the words of a text, folded."""
    return tuple(_WORDS.findall(_folded(text)))


@lru_cache(KEPT_NAMES)
def letters_in(text: str) -> str:
    """Return the letters and digits of a text, folded."""
    return "".join(words_in(text))


def _folded(text: str) -> str:
    """Return `text` without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_PLAIN))
    return "".join(char for char in decomposed if unicodedata.combining(char) < _ABOVE_AND_BELOW)
