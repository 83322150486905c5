"""Answers that deny and answers that do not: those of the package home-assistant-intents, and our own (`sayings/`).

Its `errors` deny; what it says when something was done or read does not. They are templates of Jinja, rendered here
with names and values drawn at random; a few that want more of a home than that are left out.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import jinja2
import jinja2.sandbox

from zoe_train.home_sentences import DATA
from zoe_train.intent_corpus import LANGUAGES
from zoe_train.phrases import say
from zoe_train.said_corpus import HELD_OUT, Part, sayings_of, strange_words
from zoe_train.sayings import Sayings, is_held_out
from zoe_train.small_talk import SmallTalk, load_small_talk, split

_ENVIRONMENT: Final = jinja2.sandbox.SandboxedEnvironment()
_NO_ANSWERS: Final = {"HassNevermind"}
_ALONE: Final = 0.7
_ASKED: Final = 0.85
_STATES: Final = ("on", "off", "open", "closed", "21.5 °C", "45 %", "3", "locked")
_DOMAINS: Final = ("light", "switch", "fan", "climate", "lock", "vacuum", "media_player", "scene")
_CONDITIONS: Final = ("sunny", "rainy", "cloudy", "fog", "clear-night")


@dataclass(frozen=True, slots=True)
class AnswerExample:
    """An answer, and whether it denies."""

    language: str
    text: str
    denies: bool


def answer_corpus(seed: int, part: Part, n_each: int) -> list[AnswerExample]:
    """Return up to `n_each` different answers of either kind in every language; equal seeds make equal ones."""
    found: list[AnswerExample] = []
    for language in LANGUAGES:
        rng = random.Random(f"{seed} {language} {part}")
        found += _Answers(language, rng, part).examples(n_each)
    return found


class _Answers:
    def __init__(self, language: str, rng: random.Random, part: Part) -> None:
        self._language = language
        self._rng = rng
        self._held_out = part in HELD_OUT
        self._small_talk: SmallTalk = load_small_talk(language)
        self._sayings: Sayings = sayings_of(language, part)
        self._strange: list[str] = [] if self._held_out else strange_words(language)
        responses = json.loads((DATA / f"{language}.json").read_text(encoding="utf-8"))["responses"]
        done = [text for name, one in responses["intents"].items() if name not in _NO_ANSWERS for text in one.values()]
        self._errors = [text for text in responses["errors"].values() if is_held_out(text) is self._held_out]
        self._done = [text for text in done if is_held_out(text) is self._held_out]

    def examples(self, n_each: int) -> Iterator[AnswerExample]:
        for denies in (False, True):
            texts = dict.fromkeys(text for _ in range(3 * n_each) if (text := self._text(denies=denies)))
            yield from (AnswerExample(self._language, text, denies) for text in [*texts][:n_each])

    def _text(self, *, denies: bool) -> str:
        text = self._denial() if denies else self._claim()
        draw = self._rng.random()
        if draw < _ALONE or not text:
            return text
        other = self._claim() if denies or draw < 0.9 else self._chat()
        return f"{'. '.join(self._rng.sample([text.rstrip('. '), other], 2))}." if other else text

    def _denial(self) -> str:
        patterns = self._sayings.of("!", "!?")
        if patterns and (not self._errors or self._rng.random() < 0.75):
            saying = self._rng.choice(patterns)
            text = self._sayings.say(self._rng, saying, self._strange)
            asks = saying.mark == "!?" and self._rng.random() < _ASKED
            return self._written(text, "?" if asks else "")
        return self._rendered(self._errors)

    def _claim(self) -> str:
        draw = self._rng.random()
        patterns = self._sayings.of(".")
        if draw < 0.12:
            return self._written(self._chat(), "")
        if patterns and (not self._done or draw < 0.75):
            return self._written(self._sayings.say(self._rng, self._rng.choice(patterns), self._strange), "")
        return self._rendered(self._done)

    def _chat(self) -> str:
        return say(self._rng, self._rng.choice(split(self._small_talk.talk, held_out=self._held_out)))

    def _written(self, text: str, mark: str) -> str:
        return text[:1].upper() + text[1:] + (mark or self._rng.choice(("", ".", ".", "!")))

    def _rendered(self, templates: list[str]) -> str:
        """Return one of `templates` rendered, "" if it wants what is not known here."""
        if not templates:
            return ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the templates: escapes that Python no longer knows
                text = _ENVIRONMENT.from_string(self._rng.choice(templates)).render(self._context())
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, ArithmeticError, IndexError):
            return ""
        return " ".join(text.split())

    def _context(self) -> dict[str, Any]:
        rng, talk = self._rng, self._small_talk
        name, room = rng.choice(talk.devices), rng.choice(talk.rooms)
        number = rng.randint(1, 60)
        state = SimpleNamespace(
            state=rng.choice(_CONDITIONS), state_with_unit=rng.choice(_STATES), domain=rng.choice(_DOMAINS),
            entity_id="climate.home", name=name, attributes={"temperature": number, "temperature_unit": "°C"},
        )  # fmt: skip
        matched = [{"name": one} for one in rng.sample(talk.devices, min(len(talk.devices), rng.randint(1, 5)))]
        slots = {
            "name": name, "area": room, "floor": rng.choice(talk.floors or talk.rooms), "item": name, "state": "on",
            "device_class": name, "minutes": str(number), "temperature": number, "canceled": rng.randint(1, 3),
            "media": name, "fan_mode": "auto", "timers": [],
        }  # fmt: skip
        query = SimpleNamespace(matched=matched, unmatched=matched[: rng.randint(0, 1)])
        names = {"entity": name, "area": room, "floor": room, "domain": rng.choice(_DOMAINS), "device_class": name}
        return {
            **names, "state": state, "slots": SimpleNamespace(**slots), "query": query,
            "state_attr": lambda *_: number,
        }  # fmt: skip
