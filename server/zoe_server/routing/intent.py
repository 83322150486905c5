"""What kind of sentence is this: an order or a question to the home, a task that needs thought, or talk?

A linear classifier over hashed character n-grams, words and pairs of words, for all languages at once. Its weights lie
in `intent.bin`, which `zoe_train.intent_classifier` makes. It knows neither the home nor the conversation:
`rules` adds what a request itself tells. Plain Python: a sentence takes some tenth of a millisecond, and numpy, which
would have to be installed for it, is no faster on so little.
"""

from __future__ import annotations

import functools
import itertools
import struct
import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from math import sqrt
from typing import Final
from zlib import crc32

N_BUCKETS: Final = 1 << 18
MAX_NGRAM: Final = 5
HEADER: Final = struct.Struct("<8sIffff")
"""Magic, number of buckets, and for each of the two questions the scale of its weights and its bias."""
MAGIC: Final = b"ZOEINT01"
_MASK: Final = N_BUCKETS - 1
_WORD_SEED: Final = 0x5BD1E995
_PAIR_SEED: Final = 0x1B873593
_READ_CHARACTERS: Final = 256
_HEAD_CHARACTERS: Final = 160


@dataclass(frozen=True, slots=True)
class Intent:
    """How much speaks for each kind, in log odds: above 0 it is more likely than not."""

    automation: float
    reasoning: float


def normalize(text: str) -> str:
    """Return the words of `text` in small letters with one space between them; all digits look alike.

    Of a long text only its beginning and its end are kept: that is where people say what they want.
    """
    folded = unicodedata.normalize("NFKC", shortened(text)).casefold()
    return " ".join("".join(_plain(character) for character in folded).split())


def shortened(text: str) -> str:
    """Return the beginning and the end of a long text, 257 characters in all, and a shorter one as it is."""
    if len(text) <= _READ_CHARACTERS:
        return text
    return f"{text[:_HEAD_CHARACTERS]} {text[_HEAD_CHARACTERS - _READ_CHARACTERS :]}"


@functools.lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    kind = unicodedata.category(character)[0]
    return "0" if kind == "N" else character if kind in "LM" else " "


def buckets(normalized: str) -> list[int]:
    """Return the buckets, from 0 to `N_BUCKETS` - 1, of everything that is counted in a normalized text."""
    words = normalized.encode().split()
    found = [crc32(word, _WORD_SEED) & _MASK for word in words]
    found += [crc32(b"%b %b" % pair, _PAIR_SEED) & _MASK for pair in itertools.pairwise(words)]
    for word in normalized.split():
        characters = [b" ", *(character.encode() for character in word), b" "]
        for start in range(len(characters)):
            code = 0
            for character in characters[start : start + MAX_NGRAM]:
                code = crc32(character, code)
                found.append(code & _MASK)
    return found


class IntentClassifier:
    """The weights of the two questions: is it about the home, and does it need thought?"""

    def __init__(self, data: bytes) -> None:
        """Read what `intent.bin` holds: the header, then one signed byte for each bucket of each question.

        Raises:
            ValueError: `data` is of another version, or cut off.
        """
        if len(data) != HEADER.size + 2 * N_BUCKETS or data[: len(MAGIC)] != MAGIC:
            raise ValueError("the weights of the intent classifier are damaged or of another version")
        _, _, *figures = HEADER.unpack_from(data)
        tables = data[HEADER.size :]
        self._automation = _Question(tables[:N_BUCKETS], *figures[:2])
        self._reasoning = _Question(tables[N_BUCKETS:], *figures[2:])

    def judge(self, text: str) -> Intent:
        """Return what speaks for each kind of sentence; a text without words speaks for none."""
        found = buckets(normalize(text))
        return Intent(self._automation.log_odds(found), self._reasoning.log_odds(found))


class _Question:
    def __init__(self, table: bytes, scale: float, bias: float) -> None:
        self._weights = array("b", table)
        self._scale = scale
        self._bias = bias

    def log_odds(self, found: Sequence[int]) -> float:
        total = sum(map(self._weights.__getitem__, found))
        return self._bias + self._scale * total / sqrt(len(found) or 1)


@functools.cache
def bundled_classifier() -> IntentClassifier:
    """Return the classifier that is part of this package.

    Raises:
        OSError, ValueError: the installation is broken.
    """
    return IntentClassifier((resources.files("zoe_server.routing") / "intent.bin").read_bytes())
