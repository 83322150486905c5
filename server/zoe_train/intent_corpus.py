"""The sentences that the intent classifier is trained on, and those that it is measured with, in all languages.

To a home: templates of the package home-assistant-intents. Talk and thought: our own patterns. A template or pattern is
either trained on or held out, never both. For training only: English commands from the patterns of zoe-nano, and texts
of Home Assistant's interface.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from zlib import crc32

import home_assistant_intents

from zoe_server.routing.intent import normalize
from zoe_train.english_commands import command_patterns, commands
from zoe_train.home_sentences import HomeLanguage
from zoe_train.interface_texts import interface_texts
from zoe_train.small_talk import SmallTalk, load_small_talk, split, ways_to_say

Kind = Literal["automation", "talk", "reasoning"]

LANGUAGES: Final = tuple(sorted(home_assistant_intents.get_languages()))
_HELD_OUT_SHARE: Final = 5
_HOME_SENTENCES: Final = {"en": 3000}
_MOST_HOME_SENTENCES: Final = 450
_MOST_HELD_OUT: Final = 120
_WAYS: Final = {"en": 30}
_MOST_WAYS: Final = 14
_INTERFACE_TEXTS: Final = 150
_COMMAND_WAYS: Final = 5
_SHARES: Final[dict[Kind, float]] = {"automation": 0.4, "talk": 0.42, "reasoning": 0.18}
_ENGLISH_SHARES: Final[dict[Kind, float]] = {"automation": 0.31, "talk": 0.48, "reasoning": 0.21}
"""English has far more ways to command than to talk here; the other languages are the other way round."""


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence of a kind in a language, and how much it counts in training."""

    language: str
    kind: Kind
    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Corpus:
    """The two parts; no held-out sentence is one of training, not even in other spelling."""

    training: list[Example]
    held_out: list[Example]


def make_corpus(seed: int) -> Corpus:
    """Return the sentences of all languages; equal seeds make equal ones."""
    training: list[Example] = []
    held_out: list[Example] = []
    for language in LANGUAGES:
        rng = random.Random(f"{seed} {language}")
        talk = load_small_talk(language)
        home = HomeLanguage(language, talk)
        training += _weighted(
            [*_home(rng, language, home, held_out=False), *_talk(rng, language, talk, held_out=False)]
            + [Example(language, "talk", text) for text in _sample(rng, interface_texts(language), _INTERFACE_TEXTS)]
            + (_english(rng, talk) if language == "en" else [])
        )
        held_out += [*_home(rng, language, home, held_out=True), *_talk(rng, language, talk, held_out=True)]
    seen = {normalize(example.text) for example in training}
    return Corpus(training, [example for example in held_out if normalize(example.text) not in seen])


def is_held_out(template: str) -> bool:
    """Return whether a template of the package is for the evaluation; equal ones of different languages are alike."""
    return crc32(template.encode()) % _HELD_OUT_SHARE == 0


def _home(rng: random.Random, language: str, home: HomeLanguage, *, held_out: bool) -> Iterator[Example]:
    templates = [template for template in home.templates() if is_held_out(template.key) is held_out]
    n_wanted = _MOST_HELD_OUT if held_out else _HOME_SENTENCES.get(language, _MOST_HOME_SENTENCES)
    n_ways = 1 + n_wanted // (len(templates) or 1)
    texts = {home.say(rng, template): None for template in templates for _ in range(min(n_ways, 8))}
    for text in _sample(rng, list(texts), n_wanted):
        yield Example(language, "automation", text if held_out else home.with_remark(rng, text))


def _english(rng: random.Random, talk: SmallTalk) -> list[Example]:
    texts = dict.fromkeys(commands(rng, command_patterns(), talk, _COMMAND_WAYS))
    return [Example("en", "automation", text) for text in texts]


def _talk(rng: random.Random, language: str, talk: SmallTalk, *, held_out: bool) -> Iterator[Example]:
    """Return ways to say the patterns.

    There are only four kinds of tasks that need thought, so a different one is held out in each language.
    """
    n_ways = _WAYS.get(language, _MOST_WAYS)
    for pattern in split(talk.talk, held_out=held_out):
        yield from (Example(language, "talk", text) for text in ways_to_say(rng, pattern, n_ways))
    for pattern in split(talk.thought, held_out=held_out, offset=crc32(language.encode())):
        yield from (Example(language, "reasoning", text) for text in ways_to_say(rng, pattern, n_ways))


def _weighted(examples: list[Example]) -> list[Example]:
    """Return the examples of one language so that each kind has its share, however many sentences it has."""
    counts = {kind: sum(example.kind == kind for example in examples) for kind in _SHARES}
    shares = _ENGLISH_SHARES if examples[0].language == "en" else _SHARES
    return [Example(e.language, e.kind, e.text, shares[e.kind] / counts[e.kind]) for e in examples]


def _sample(rng: random.Random, texts: list[str], at_most: int) -> list[str]:
    return rng.sample(texts, min(at_most, len(texts)))
