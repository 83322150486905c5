"""Whether an answer claims an action that no result of a tool supports.

The evidence are the outcomes of the calls of this turn; the words only tell that something is claimed (`claims.py`):

    no call that changes something succeeded, and the answer claims one      -> nothing was changed
    a call for a named thing failed, and the answer claims it of that thing  -> it did not work

An order must be at stake: the sentence is no question (it may be about an earlier turn), and it has a word of the
home's names, or the answer has a whole name. What it cannot know: whether an answer claims too much besides what was
done, since it may speak of what was so before; what is claimed in other languages than those of `claims.py`; and
whether what a tool reports is true. Where it does not know, the answer stands.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .claims import claims_in
from .outcome import Outcome, anything_changed, done_names, failed_names
from .question import only_asks

_WORDS: Final = re.compile(r"[^\W_]+")
_STEM: Final = 4
_ENDING: Final = 3


class Verdict(StrEnum):
    """What is wrong with an answer; the values are the sentences that tell it."""

    NOTHING_DONE = "correction_nothing"
    FAILED = "correction_failed"


@dataclass(frozen=True, slots=True)
class Correction:
    """What has to be told: a verdict, and what did not work."""

    verdict: Verdict
    names: tuple[str, ...] = ()


def correction(
    answer: str, sentence: str, language: str, outcomes: Sequence[Outcome], home: Iterable[str]
) -> Correction | None:
    """Return how `answer` to `sentence` has to be corrected, or None. `home` are the names of things and places."""
    claims = claims_in(answer, language)
    if not claims or only_asks(sentence, language):
        return None
    failed = failed_names(outcomes)
    if anything_changed(outcomes):
        told = _without(done_names(outcomes), " ".join(claims))
        wrong = [name for name in failed if _mentions(told, name)]
        return Correction(Verdict.FAILED, tuple(wrong)) if wrong else None
    if failed:
        return Correction(Verdict.FAILED, tuple(failed))
    return Correction(Verdict.NOTHING_DONE) if _is_about_home(sentence, answer, home) else None


def _without(names: Iterable[str], text: str) -> str:
    """Return `text`, in lower case, without `names`: one may be part of another."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name.casefold(), " ")
    return text


def _mentions(text: str, name: str) -> bool:
    words = " ".join(_WORDS.findall(name.casefold()))
    return bool(words) and f" {words} " in f" {' '.join(_WORDS.findall(text))} "


def _is_about_home(sentence: str, answer: str, home: Iterable[str]) -> bool:
    """Return whether `sentence` has a word of a name, an ending more or less aside, or `answer` has a whole name."""
    said = {word for word in _WORDS.findall(sentence.casefold()) if len(word) >= _STEM}
    told = answer.casefold()
    for name in home:
        if any(_same_stem(word, other) for word in _WORDS.findall(name.casefold()) for other in said):
            return True
        if len(name) >= _STEM and _mentions(told, name):
            return True
    return False


def _same_stem(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) >= _STEM and len(longer) - len(shorter) <= _ENDING and longer.startswith(shorter)
