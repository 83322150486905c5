"""What an answer leaves with the user: a question that waits for a reply, and what a satellite hears of it itself.

A question is the last thing that a speaker leaves with whom he asks, so it counts where it ends the answer, or where no
more than one sentence follows, that is short and does not answer it:

    Which light?                                                  asks
    How long should the timer run? Please tell me the minutes.    asks; one short sentence says how to reply
    What time is it? It is ten o'clock.                           does not: half of the sentence is the question's words
    You asked: how warm is it? The hall has 21 degrees.           does not: it tells of a question
    Is it on? I looked. It is.                                    does not: the talk went on
    Which one? - the lamp - the fan                               asks; a list behind a question is what to choose from

What stands between quotes, brackets or stars within a sentence is somebody else's, or a title: `Now playing "What Is
Love?"` asks nothing. If it begins with a small letter and ends the answer, its mark is also the sentence's ('Did you
say "the light?"'). Titles without quotes cannot be told from questions.

A satellite that hears itself sends the end of the answer as the next sentence of the user:

    spoken "The pasta is ready. Shall I remind you?"     heard "shall I remind you"            an echo
                                                         heard "is ready shell I remind you"   an echo
                                                         heard "yes", "remind me"              a reply
    spoken "Which one: kitchen or hall?"                 heard "kitchen"                       a reply
    spoken "Shall I turn on the kitchen light?"          heard "turn on the kitchen light"     a reply
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from .units import REPORTING

_MARKS: Final = "?\uff1f\u061f\u037e\u055e\u1367\u2047\u2048\u2049\u203d\u2e2e\ua60f\u1945\u2cfa"
QUESTION_MARKS: Final = frozenset(_MARKS)
_STOPS: Final = ".!\u3002\uff01\uff0e\u2026\u0964\u06d4"
_WIDE: Final = "\u3002\uff01\uff1f\uff0e"  # the next sentence follows these without a space
_CLOSES: Final = "\"'*_`~)]}»”’»›」』）】"  # noqa: RUF001
_SENTENCE_END: Final = re.compile(rf"[{_MARKS}{_STOPS}]{{1,50}}[{re.escape(_CLOSES)}]{{0,9}}")
# "ka" of polite Japanese, and the Chinese particles that only questions have.
_PARTICLES: Final = re.compile(
    r"(?:\u3059\u304b|\u305b\u3093\u304b|\u3067\u3057\u3087\u3046\u304b|\u3057\u305f\u304b|[\u5417\u55ce])\Z"
)
_SPANS: Final = re.compile(
    r'"[^"\n]{1,200}"|“[^”“\n]{1,200}[”“]|„[^“”\n]{1,200}[“”]|«[^»\n]{1,200}»|»[^«\n]{1,200}«|「[^」\n]{1,200}」'
    r"|『[^』\n]{1,200}』|《[^》\n]{1,200}》|\([^()\n]{1,200}\)|\[[^\[\]\n]{1,200}\]|（[^）\n]{1,200}）"  # noqa: RUF001
    r"|(?<![\w*])\*(?![\s*])[^*\n]{1,200}\*(?!\*)|(?<!\w)_(?!\s)[^_\n]{1,200}_(?!\w)"
    r"|(?<!\w)['‘](?!\s)[^'’\n]{1,200}['’](?!\w)"  # noqa: RUF001
)
_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
_APOSTROPHES: Final = str.maketrans("", "", "'’ʼ")  # noqa: RUF001
_ORNAMENTS: Final = ("Pe", "Pf", "Pi", "So", "Sk", "Cf", "Mn", "Me")  # quotes, brackets, symbols, joiners
_LIST_LINE: Final = re.compile(r"\s*(?:[-*+•–]|\d{1,2}[.)])\s+\S")  # noqa: RUF001
_LONGEST_HINT: Final = 12
_LONGEST_END: Final = 2000
_SPOKEN_END: Final = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？؟।])\s*|\n+")  # noqa: RUF001
_LONGEST_ECHO: Final = 60  # words; also what an echo may be compared with
_LAST_SENTENCES: Final = 4
_FEWEST: Final = 4
_FEWEST_ASKED: Final = 2
_SHARE: Final = 0.8
_LONG_WORD: Final = 4
_ALIKE: Final = 0.75


def is_echo(heard: str, spoken: str) -> bool:
    """Return whether `heard` is what was `spoken` last, all of it or the part that came through.

    Case, accents and punctuation aside, the words are compared in order; a quarter of the letters of a long word may be
    wrong. `heard` is an echo if

    - it is four words or more (a sign of Chinese or Japanese counts half),
    - it follows what was spoken up to the end of a sentence: four fifths of its words are there, and it has four fifths
      of the words that were spoken from where it begins, and
    - it has both of the first words of a sentence.

    The last is what tells an echo from an order that was offered: whoever agrees to "Shall I turn on the light in the
    kitchen?", "Schalte ich das Licht aus?" or "¿Enciendo la luz de la cocina?" says the same words without the "Shall
    I", without the "ich", or with another ending of the verb; so the first word has to begin and end
    with the same letters.

    Two or three words are an echo only if they are the whole last sentence and speech to text heard a question.

    Limits: an echo that lost the beginning of its last sentence is taken for a reply, as are shorter ones ("remind
    you"); and an order that repeats word for word a question without a verb of its own ("Turn on the kitchen light?")
    is taken for an echo.
    """
    said = _words(heard[:_LONGEST_END])[:_LONGEST_ECHO]
    sentences = [words for part in _SPOKEN_END.split(spoken[-_LONGEST_END:]) if (words := _words(part))]
    if not said or not sentences:
        return False
    if _weight(said) < _FEWEST:
        is_asked = heard.rstrip().endswith(tuple(_MARKS)) and spoken.rstrip().endswith(tuple(_MARKS))
        return is_asked and len(said) >= _FEWEST_ASKED and said == sentences[-1]
    return any(
        _follows(said, sentences[:end]) for end in range(len(sentences), max(0, len(sentences) - _LAST_SENTENCES), -1)
    )


def asks(answer: str) -> bool:
    """Return whether a reply to `answer` is waited for."""
    sentences = _sentences(_without_titles(answer[-_LONGEST_END:]))
    last = next((i for i in reversed(range(len(sentences))) if _is_question(sentences[i])), None)
    if last is None:
        return False
    question, following = sentences[last], sentences[last + 1 :]
    if not following or _is_list("".join(following)):
        return True
    return len(following) == 1 and _is_hint(following[0], question)


def _is_hint(sentence: str, question: str) -> bool:
    """Return whether a sentence behind a question leaves it open."""
    asked, said = set(_words(question)), _words(sentence)
    if len(said) > _LONGEST_HINT or not asked.isdisjoint(_TOLD):
        return False
    return sum(word in asked for word in said) * 2 < len(said)


def _is_list(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(_LIST_LINE.match(line) for line in lines)


def _sentences(text: str) -> list[str]:
    """Return the sentences that say something, each with its end."""
    sentences: list[str] = []
    begin = 0
    for end in _SENTENCE_END.finditer(text):
        if _ends_sentence(text, end):
            sentences.append(text[begin : end.end()])
            begin = end.end()
    sentences.append(text[begin:])
    return [sentence for sentence in sentences if _words(sentence)]


def _ends_sentence(text: str, end: re.Match[str]) -> bool:
    """Return whether a sentence ends here: not so in "3.5", "e.g. in" or "What Is Love? by Haddaway"."""
    rest = text[end.end() : end.end() + 50]
    following = rest.lstrip()
    if not following or end[0][0] in _WIDE:
        return True
    if rest[0].isspace() or unicodedata.category(rest[0]) == "So":
        is_ordinal = end[0] == "." and text[end.start() - 1 : end.start()].isdigit() and "\n" not in rest[:1]
        return not (following[0].islower() or (is_ordinal and not _is_question(text[: end.end()])))
    return False


def _is_question(sentence: str) -> bool:
    end = sentence.rstrip()
    while end and (end[-1] in _STOPS + "\"'*_`~" or unicodedata.category(end[-1]) in _ORNAMENTS):
        end = end[:-1].rstrip()
    return end.endswith(tuple(_MARKS)) or bool(_PARTICLES.search(end[-9:]))


def _without_titles(text: str) -> str:
    """Return `text` without the question marks of what it only quotes."""
    return _SPANS.sub(lambda span: _unquestioned(span, text), text)


def _unquestioned(span: re.Match[str], text: str) -> str:
    before = text[: span.start()].rstrip(" *_\"'([")
    after = text[span.end() : span.end() + 1]
    is_sentence = (not before or before[-1] in _MARKS + _STOPS + "\n") and not after.strip(_CLOSES + " \n")
    first = next((char for char in span[0] if char.isalnum()), "")
    is_part = first.islower() and not _words(text[span.end() :])
    if is_sentence or is_part:
        return span[0]
    return "".join(" " if char in _MARKS + _STOPS else char for char in span[0])


def _follows(said: Sequence[str], sentences: Sequence[Sequence[str]]) -> bool:
    """Return whether `said` has the end of these sentences, with the beginning of one."""
    before = [word for words in sentences for word in words][-_LONGEST_ECHO:]
    places = [place - len(before) for place in _matched(said, before)]  # from the end
    if not places or len(places) < _SHARE * max(len(said), -places[0]):
        return False
    begins = [(-sum(len(words) for words in sentences[i:]), sentences[i][0]) for i in range(len(sentences))]
    return any(
        {begin, min(begin + 1, -1)}.issubset(places)
        and any(_same(word, first) and word[0] + word[-1] == first[0] + first[-1] for word in said)
        for begin, first in begins
    )


def _matched(said: Sequence[str], spoken: Sequence[str]) -> list[int]:
    """Return the places in `spoken` of the longest sequence of words that both have, as late as possible."""
    lengths = [[0] * (len(spoken) + 1) for _ in range(len(said) + 1)]
    for i, word in enumerate(said):
        for j, other in enumerate(spoken):
            is_same = _same(word, other)
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if is_same else max(lengths[i][j + 1], lengths[i + 1][j])
    places: list[int] = []
    i, j = len(said), len(spoken)
    while i and j:
        if _same(said[i - 1], spoken[j - 1]):
            i, j = i - 1, j - 1
            places.append(j)
        elif lengths[i - 1][j] >= lengths[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return places[::-1]


def _same(one: str, other: str) -> bool:
    """Return whether speech to text may have heard one word for the other."""
    if one == other or min(len(one), len(other)) < _LONG_WORD:
        return one == other
    letters = SequenceMatcher(None, one, other, autojunk=False)
    return letters.real_quick_ratio() >= _ALIKE and letters.quick_ratio() >= _ALIKE and letters.ratio() >= _ALIKE


def _weight(words: Sequence[str]) -> float:
    return sum(0.5 if unicodedata.east_asian_width(word[0]) == "W" and len(word) == 1 else 1 for word in words)


def _words(text: str) -> list[str]:
    """Return the words without case, accents and apostrophes."""
    folded = unicodedata.normalize("NFKD", text.casefold().translate(_APOSTROPHES))
    plain = "".join(char for char in folded if not unicodedata.combining(char))
    return _WORD.findall(unicodedata.normalize("NFC", plain))


_TOLD: Final = frozenset(word for reporting in REPORTING for word in _words(reporting))
