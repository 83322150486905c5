"""Whether an answer ends with a question, so that the voice satellite should go on listening.

Home Assistant knows "?", ";" (which looks like the Greek question mark) and the full-width question mark as the very
last character. Models end otherwise, too: with a quotation mark or an emoji behind the question mark, in scripts that
have other question marks, and in languages where a particle asks. What it cannot know: a question without these.
"""

import re
import unicodedata
from typing import Final

_QUESTION_MARKS: Final = frozenset("?\uff1f\u061f\u037e\u055e\u1367\u2047\u2048\u2049\u203d\u2e2e\ua60f\u1945\u2cfa")
_STOPS: Final = frozenset(".!\u3002\uff01\uff0e\u2026")
# "ka" of polite Japanese, and the Chinese particles that only questions have.
_PARTICLES: Final = re.compile(
    r"(?:\u3059\u304b|\u305b\u3093\u304b|\u3067\u3057\u3087\u3046\u304b|\u3057\u305f\u304b|[\u5417\u55ce])\Z"
)


def asks(answer: str) -> bool:
    """Return whether `answer` ends with a question."""
    end = answer.rstrip()
    while end and _is_ornament(end[-1]):
        end = end[:-1].rstrip()
    bare = end
    while bare and bare[-1] in _STOPS:
        bare = bare[:-1]
    return bool(bare) and (bare[-1] in _QUESTION_MARKS or bool(_PARTICLES.search(bare)))


def _is_ornament(char: str) -> bool:
    """Return whether `char` says nothing at the end of a sentence: quotes, brackets, markdown, symbols, joiners."""
    return char in "\"'*_`~" or unicodedata.category(char) in ("Pe", "Pf", "Pi", "So", "Sk", "Cf", "Mn", "Me")
