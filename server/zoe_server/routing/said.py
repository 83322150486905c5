"""What was said, and does an answer deny? Two trained classifiers, in all languages of the package of sentences.

Of a sentence: is it an order, a question about the home, a reply, or talk? Of an answer: does it say that something was
not done, is not there or is not known, or does it ask back? Linear models over hashed features, with calibrated
probabilities. Their weights lie in `said.bin`, which `zoe_train.said_classifier` makes.

Beside the words of the whole text, the first clause, the last one and the edges count on their own, each as much as the
whole: "Is the window open, then heating off" begins like a question, and is an order all the same. It does not know
what was said before, nor what is in the home.
"""

from __future__ import annotations

import functools
import itertools
import re
import struct
import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from math import exp, sqrt
from typing import Final
from zlib import crc32

from zoe_server.routing.intent import MAX_NGRAM, N_BUCKETS, buckets, normalize, shortened

MAGIC: Final = b"ZOESAID1"
KINDS: Final = ("order", "question", "reply", "talk")
HEADS: Final = (*KINDS, "state", "denies")
HEADER: Final = struct.Struct(f"<8sI{2 * len(HEADS)}f")
"""Magic, number of buckets, and for each of `HEADS` the scale of its weights and its bias."""
_MASK: Final = N_BUCKETS - 1
_FIRST, _LAST, _EDGES = 0x2C1B3C6D, 0x297A2D39, 0x1B56C4E9
_TRIPLES: Final = 0x7FEB352D
_LENGTHS: Final = (0, 1, 2, 3, 4, 6, 9)
_BREAK: Final = re.compile(
    r"(?<!\d)[.,:]|[.,:](?!\d)|[;!?\n\u2026\u2013\u2014\u061f\u060c\u061b\u055e\u0589\u0964\u3001\u3002]"
)
"""What ends a clause, after NFKC; not the point or comma of a number."""
_ASKS: Final = re.compile(r"[?\u061f\u055e\u00bf]|;\s*$")
"""Question marks, that of Greek among them."""
_BLANK_LINE: Final = re.compile(r"\n\s*\n")

Views = tuple[list[int], list[int], list[int], list[int]]
"""The buckets, from 0 to `N_BUCKETS` - 1, of the whole text, its first clause, its last clause, and its edges."""


@dataclass(frozen=True, slots=True)
class Said:
    """How likely a sentence is of each kind, from 0 to 1; the four sum to 1.

    `state` is, given that it is a question, how likely a reading of the home's present states answers it.
    """

    order: float
    question: float
    reply: float
    talk: float
    state: float

    def to_json(self) -> dict[str, float]:
        """Return the probabilities for JSON, rounded."""
        return {name: round(getattr(self, name), 3) for name in (*KINDS, "state")}


def spoken(text: str) -> str:
    """Return what a person said of a message: all up to its first blank line, behind which a client may add things."""
    return _BLANK_LINE.split(text.strip(), maxsplit=1)[0]


def views(text: str) -> Views:
    """Return everything that is counted in `text`, of which a long one is shortened as by `intent.normalize`."""
    folded = unicodedata.normalize("NFKC", shortened(text))
    clauses = [words for part in _BREAK.split(folded) if (words := normalize(part).split())]
    words = [word for clause in clauses for word in clause]
    if not words:
        return [], [], [], []
    encoded = [word.encode() for word in words]
    whole = buckets(" ".join(words))
    whole += [
        crc32(b"%b %b %b" % three, _TRIPLES) & _MASK for three in zip(encoded, encoded[1:], encoded[2:], strict=False)
    ]
    return whole, _clause(clauses[0], _FIRST), _clause(clauses[-1], _LAST), _edges(folded, clauses, words)


def _clause(words: Sequence[str], seed: int) -> list[int]:
    """Return the buckets of words, pairs of words, and beginnings and ends of words of one clause."""
    encoded = [b"<", *(word.encode() for word in words), b">"]
    found = [crc32(word, seed) & _MASK for word in encoded[1:-1]]
    found += [crc32(b"%b %b" % pair, seed) & _MASK for pair in itertools.pairwise(encoded)]
    for word in words:
        for length in range(1, min(len(word), MAX_NGRAM + 1)):
            found.append(crc32(b"%b-" % word[:length].encode(), seed) & _MASK)
            found.append(crc32(b"-%b" % word[-length:].encode(), seed) & _MASK)
    return found


def _edges(text: str, clauses: Sequence[Sequence[str]], words: Sequence[str]) -> list[int]:
    """Return the buckets of how a text begins and ends, how long it is, and whether it is marked as a question."""
    first, last, turn = words[0], words[-1], clauses[-1][0]
    mark = "?" if _ASKS.search(text[-3:]) else "" if not _ASKS.search(text) else "."
    length = sum(len(words) > most for most in _LENGTHS)
    start = " ".join(words[:2])
    facts = (
        f"^{first}", f"{last}$", f"^{start}", f"{' '.join(words[-2:])}$", f"{' '.join(words[-3:])}$",
        f"{first}..{last}", f"{first}..,{turn}", f"^{last[-3:]}$", f"{mark}", f"{mark}{length}", f"^{first}{mark}",
        f"{last}{mark}$", f",{min(len(clauses), 3)}", f",{min(len(clauses), 3)}{mark}", f",{len(clauses[-1])}",
        f"^{' '.join(words[:3])}", f"^{start},{min(len(clauses), 3)}{mark}", f"^{start}{length}",
    )  # fmt: skip
    return [crc32(fact.encode(), _EDGES) & _MASK for fact in facts]


class SaidClassifier:
    """The weights of all `HEADS`."""

    def __init__(self, data: bytes) -> None:
        """Read what `said.bin` holds: the header, then for each of `HEADS` one signed byte for each bucket.

        Raises:
            ValueError: `data` is of another version, or cut off.
        """
        if len(data) != HEADER.size + len(HEADS) * N_BUCKETS or data[: len(MAGIC)] != MAGIC:
            raise ValueError("the weights of the classifier of what was said are damaged or of another version")
        _, _, *figures = HEADER.unpack_from(data)
        self._heads = {
            name: _Head(data[start : start + N_BUCKETS], *figures[2 * index : 2 * index + 2])
            for index, name in enumerate(HEADS)
            for start in (HEADER.size + index * N_BUCKETS,)
        }

    def said(self, text: str, at_home: float = 0.0) -> Said:
        """Return what kind of sentence `text` is.

        `at_home` is what the names of this home in it take off the log odds of talk; see `rules.home_evidence`.
        """
        found = views(text)
        odds = {kind: self._heads[kind].log_odds(found) for kind in KINDS}
        odds["talk"] -= at_home
        most = max(odds.values())
        shares = {kind: exp(value - most) for kind, value in odds.items()}
        total = sum(shares.values())
        order, question, reply, talk = (shares[kind] / total for kind in KINDS)
        return Said(order, question, reply, talk, _probability(self._heads["state"].log_odds(found)))

    def denies(self, answer: str) -> float:
        """Return how likely `answer` says that something was not done, is not there or not known, or asks back."""
        return _probability(self._heads["denies"].log_odds(views(answer)))


class _Head:
    def __init__(self, table: bytes, scale: float, bias: float) -> None:
        self._weights = array("b", table)
        self._scale = scale
        self._bias = bias

    def log_odds(self, found: Views) -> float:
        weigh = self._weights.__getitem__
        total = sum(sum(map(weigh, view)) / sqrt(len(view)) for view in found if view)
        return self._bias + self._scale * total


def _probability(log_odds: float) -> float:
    return 1 / (1 + exp(-max(-500.0, min(500.0, log_odds))))


@functools.cache
def bundled_said() -> SaidClassifier:
    """Return the classifier that is part of this package.

    Raises:
        OSError, ValueError: the installation is broken.
    """
    return SaidClassifier((resources.files("zoe_server.routing") / "said.bin").read_bytes())
