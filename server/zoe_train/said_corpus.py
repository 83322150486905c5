"""The sentences that the classifier of what was said is trained on, and those that it is measured with.

Orders and questions: the templates of the package home-assistant-intents, by their intents, and our own patterns
(`sayings/`). What begins with a question or a remark and goes on with an order is an order, so they are put together in
every language, with and without marks between. Talk: `small_talk/`; in training texts of the interface, too.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from zoe_server.routing.intent import normalize
from zoe_train.home_sentences import DATA, HomeLanguage, HomeTemplate
from zoe_train.intent_corpus import LANGUAGES, is_held_out
from zoe_train.interface_texts import interface_texts
from zoe_train.phrases import say
from zoe_train.sayings import Mark, Sayings, load_sayings
from zoe_train.small_talk import SmallTalk, load_small_talk, split

_STATES: Final = frozenset({"HassGetState", "HassClimateGetTemperature", "HassGetWeather"})
_OTHER_QUESTIONS: Final = frozenset({"HassGetCurrentTime", "HassGetCurrentDate", "HassTimerStatus"})
_WIDE: Final = "\uff1f"
_MARKS: Final = {
    **dict.fromkeys(("ar", "fa", "ur"), "\u061f"),
    **dict.fromkeys(("ja", "zh-CN", "zh-TW", "zh-HK"), _WIDE),
    "el": ";",
    "hy": "\u055e",
}
_COMMAS: Final = {
    **dict.fromkeys(("ar", "fa", "ur"), "\u060c "),
    **dict.fromkeys(("zh-CN", "zh-TW", "zh-HK"), "\uff0c"),
    "ja": "\u3001",
}
_AND: Final = re.compile(r"elif loop\.last and not loop\.first:? ?%\}(.*?)\{%", re.DOTALL)
_MARKED: Final = 0.5
_POLITE_MARK: Final = 0.06
_POLITE_WORDS: Final = 4
"""What is shorter, and has a question mark, asks: "Garage closed?"."""
_STOPPED: Final = 0.3
_JOINTS: Final = (0.36, 0.19, 0.26, 0.06, 0.08, 0.05)
"""Between two parts: comma, nothing, a word, comma and word, question mark, full stop."""
_TRIES: Final = 4
_SHARES: Final = {"order": 0.38, "question": 0.32, "reply": 0.07, "talk": 0.23}
_INTERFACE_SHARE: Final = 0.15
_SAID_SHARE: Final = 0.4
_STATE_SHARE: Final = 0.62
_TEMPLATE_SHARE: Final = 0.4
_MANY: Final = (0.5, 0.3)
"""Both shares where there are many patterns of our own."""

Part = Literal["fitting", "calibration", "training", "evaluation"]
"""The classifier is fitted to one part of all templates and patterns and calibrated with another. Then it is trained on
all but the templates of the package that are held out, and evaluated with those."""
HELD_OUT: Final = frozenset({"calibration", "evaluation"})
_MIN_STRANGE: Final = 5


@dataclass(frozen=True, slots=True)
class SaidExample:
    """A sentence of a kind (`said.KINDS`), and of a question whether present states answer it; None if unknown."""

    language: str
    kind: str
    text: str
    state: bool | None = None
    weight: float = 1.0


class SaidLanguage:
    """All ways to say something in one language, to train on or held out."""

    def __init__(self, language: str, rng: random.Random, part: Part) -> None:
        self.language = language
        self._rng = rng
        self._held_out = part in HELD_OUT
        self._small_talk: SmallTalk = load_small_talk(language)
        self._strange: list[str] = [] if self._held_out else strange_words(language)
        self._home = HomeLanguage(language, _with_strange(rng, self._small_talk, self._strange))
        self._sayings: Sayings = sayings_of(language, part)
        templates = [one for one in self._home.templates() if is_held_out(one.key) is self._held_out]
        self._states = [one for one in templates if one.intent in _STATES]
        self._others = [one for one in templates if one.intent in _OTHER_QUESTIONS]
        self._orders = [one for one in templates if one.intent not in _STATES | _OTHER_QUESTIONS]
        many = len(self._sayings.of("~", "~~")) > len(self._others)
        self._state_share, self._template_share = _MANY if many else (_STATE_SHARE, _TEMPLATE_SHARE)
        self._ands = [*self._sayings.words.get("and", ()), *_and_words(language)]

    def examples(self, n: int) -> Iterator[SaidExample]:
        """Yield about `n` different sentences, each kind its share of them."""
        for kind, make in (
            ("order", self._order),
            ("question", self._question),
            ("reply", self._reply),
            ("talk", self._talk),
        ):
            seen: dict[str, SaidExample] = {}
            for _ in range(_TRIES * n):
                if len(seen) >= n * _SHARES[kind]:
                    break
                made = make()
                if made is not None and (normalized := normalize(made.text)) and not _unfinished(made.text):
                    seen.setdefault(f"{normalized}{made.text[-1]}", made)
            yield from seen.values()

    def _order(self) -> SaidExample | None:
        draw = self._rng.random()
        order = self._any_order()
        if not order:
            return None
        if draw < 0.45:
            text = self._stopped(order)
        elif draw < 0.9:
            text = self._joined(self._opening(), self._second_order() or order)
        else:
            text = self._joined(order, self._opening() or order)
        return SaidExample(self.language, "order", text)

    def _question(self) -> SaidExample | None:
        draw = self._rng.random()
        text, state = self._any_question()
        if not text:
            return None
        if draw < 0.06:
            text = self._joined(self._said(">") or self._chat() or text, text)
        elif draw < 0.12:
            text, state = self._joined(text, self._any_question()[0] or text), None
        return SaidExample(self.language, "question", text, state)

    def _reply(self) -> SaidExample | None:
        text = self._said("=") if self._rng.random() < 0.8 else ""
        words = (
            *self._small_talk.rooms,
            *self._small_talk.floors,
            *self._small_talk.devices,
            str(self._rng.randrange(60)),
        )
        return SaidExample(self.language, "reply", self._stopped(text or self._rng.choice(words)))

    def _talk(self) -> SaidExample | None:
        draw = self._rng.random()
        if draw < _INTERFACE_SHARE and not self._held_out and (texts := interface_texts(self.language)):
            return SaidExample(self.language, "talk", self._rng.choice(texts), weight=0.5)
        text = self._said("-", ">") if draw < _INTERFACE_SHARE + _SAID_SHARE else ""
        text = text or self._chat()
        return SaidExample(self.language, "talk", text + self._rng.choice(("", "", ".", "?", "!"))) if text else None

    def _any_order(self) -> str:
        return self._either(self._said("+"), self._orders)

    def _second_order(self) -> str:
        return (self._said("*") if self._rng.random() < 0.55 else "") or self._any_order()

    def _opening(self) -> str:
        """Return what may stand before or behind an order."""
        draw = self._rng.random()
        if draw < 0.7:
            return self._any_question("~", marked=0.15)[0]
        return (self._said(">") if draw < 0.92 else "") or self._chat()

    def _any_question(self, *others: Mark, marked: float = _MARKED) -> tuple[str, bool | None]:
        """Return a question, and whether present states answer it; one of our `others` if they do not."""
        draw = self._rng.random()
        state = draw < self._state_share
        if draw < 0.09 and (short := self._said("??")):
            return f"{short}{self._mark}", True
        if state:
            text = self._either(self._said("?"), self._states)
        else:
            text = self._either(self._said(*(others or ("~", "~~"))), self._others)
        if not text and not state:
            text, state = self._either(self._said("?"), self._states), True
        return text + (self._mark if text and self._rng.random() < marked else ""), state

    def _either(self, saying: str, templates: Sequence[HomeTemplate]) -> str:
        if templates and (not saying or self._rng.random() < self._template_share):
            return self._home.say(self._rng, self._rng.choice(templates))
        return saying

    def _said(self, *marks: Mark) -> str:
        patterns = self._sayings.of(*marks)
        return self._sayings.say(self._rng, self._rng.choice(patterns), self._strange) if patterns else ""

    def _chat(self) -> str:
        patterns = split((*self._small_talk.talk, *self._small_talk.thought), held_out=self._held_out)
        return say(self._rng, self._rng.choice(patterns)) if patterns else ""

    def _stopped(self, text: str) -> str:
        """Return an order or a reply with a mark behind it, or without; some ask for what they want."""
        if self._rng.random() < _POLITE_MARK and len(text.split()) >= _POLITE_WORDS:
            return text + self._mark
        return text + (self._rng.choice(".!.") if self._rng.random() < _STOPPED else "")

    def _joined(self, first: str, second: str) -> str:
        if not first:
            return second
        comma = _COMMAS.get(self.language, ", ")
        word = f" {self._rng.choice(self._ands)} " if self._ands else comma
        between = (comma, " ", word, f"{comma.strip()}{word}", f"{self._mark} ", ". ")
        joint = self._rng.choices(between, _JOINTS)[0]
        return first.rstrip("?.!;\u061f\u055e\uff1f") + joint + second

    @property
    def _mark(self) -> str:
        mark = _MARKS.get(self.language, "?")
        return f" {mark}" if self.language == "fr" and self._rng.random() < 0.7 else mark


def said_corpus(seed: int, part: Part, n_sentences: Callable[[str], int]) -> list[SaidExample]:
    """Return the sentences of all languages, `n_sentences` of each; equal seeds make equal ones."""
    found: list[SaidExample] = []
    for language in LANGUAGES:
        rng = random.Random(f"{seed} {language} {part}")
        found += SaidLanguage(language, rng, part).examples(n_sentences(language))
    return found


def sayings_of(language: str, part: Part) -> Sayings:
    """Return those of our own patterns that belong to `part`."""
    sayings = load_sayings(language)
    if part == "evaluation":
        return Sayings(sayings.words, ())
    return sayings if part == "training" else sayings.part(held_out=part == "calibration")


@functools.cache
def strange_words(language: str) -> list[str]:
    """Return long words of a language, mostly none that a home would be called by; none of some languages."""
    words = (word.strip(".,:;!?()\"'").lower() for text in interface_texts(language) for word in text.split())
    return sorted({word for word in words if len(word) >= _MIN_STRANGE and word.isalpha()})


def _with_strange(rng: random.Random, talk: SmallTalk, strange: Sequence[str]) -> SmallTalk:
    """Return `talk` with as many strange devices and half as many strange rooms."""
    if not strange:
        return talk
    devices = rng.sample(strange, min(len(talk.devices), len(strange)))
    rooms = rng.sample(strange, min(len(talk.rooms) // 2, len(strange)))
    return dataclasses.replace(talk, devices=(*talk.devices, *devices), rooms=(*talk.rooms, *rooms))


def _and_words(language: str) -> list[str]:
    """Return the words for "and" that the answers of the package join names with."""
    responses = json.loads((DATA / f"{language}.json").read_text(encoding="utf-8")).get("responses", {})
    found = _AND.findall(json.dumps(responses, ensure_ascii=False).replace("\\n", " "))
    return [*dict.fromkeys(word for text in found if 0 < len(word := text.strip()) < 12 and "{" not in word)]


def _unfinished(text: str) -> bool:
    return any(character in text for character in "{}<>[]")
