"""Sentences to a home in all languages, made from the templates of the package `home-assistant-intents`.

A template is an expression of hassil; here each of its choices is drawn at random, where hassil itself would write out
all of them. Names of devices and areas come from `small_talk/`. What is talk among the
intents (`HassRespond`) is left out.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import home_assistant_intents
from hassil.expression import (
    Alternative,
    Expression,
    Group,
    ListReference,
    Permutation,
    RuleReference,
    Sentence,
    TextChunk,
)
from hassil.intents import Intents, RangeSlotList, SlotList, TextSlotList, WildcardSlotList
from hassil.util import normalize_whitespace

from zoe_train.phrases import say
from zoe_train.small_talk import SmallTalk, split

DATA: Final = Path(home_assistant_intents.__file__).parent / "data"
_TALK: Final = {"HassRespond", "HassNevermind"}
_COURTESY: Final = 0.15
_OPTIONAL: Final = 0.4
_ANY_WORDS: Final = 0.6
_REMARK: Final = 0.04


@dataclass(frozen=True, slots=True)
class HomeTemplate:
    """One way to say something to the home; `key` is its text, by which it is held out or trained on."""

    intent: str
    key: str
    sentence: Sentence
    lists: Mapping[str, SlotList]
    rules: Mapping[str, Sentence]


class HomeLanguage:
    """The templates of one language, and how their gaps are filled."""

    def __init__(self, language: str, talk: SmallTalk) -> None:
        data = json.loads((DATA / f"{language}.json").read_text(encoding="utf-8"))
        self._intents = Intents.from_dict(data)
        self._talk = talk
        self._trained_talk = split(talk.talk, held_out=False)
        self._courtesies: list[str] = [
            words for words in data.get("skip_words", []) if not set(words) & set("()[]<>{}")
        ]

    def templates(self) -> Iterator[HomeTemplate]:
        """Return all templates except small talk."""
        for name, intent in self._intents.intents.items():
            for block in intent.data if name not in _TALK else ():
                lists = {**self._intents.slot_lists, **block.slot_lists}
                rules = {**self._intents.expansion_rules, **block.expansion_rules}
                for sentence in block.sentences:
                    yield HomeTemplate(name, sentence.text or "", sentence, lists, rules)

    def say(self, rng: random.Random, template: HomeTemplate) -> str:
        """Return one way to say `template`, now and then with a courtesy of the language before or behind it."""
        text = normalize_whitespace(self._draw(rng, template.sentence.expression, template)).strip()
        if self._courtesies and rng.random() < _COURTESY:
            return " ".join(rng.sample([text, rng.choice(self._courtesies)], 2))
        return text

    def with_remark(self, rng: random.Random, text: str) -> str:
        """Return `text`, now and then with some talk before or behind it: it is an order all the same."""
        if rng.random() >= _REMARK:
            return text
        return ", ".join(rng.sample([text, say(rng, rng.choice(self._trained_talk))], 2))

    def _draw(self, rng: random.Random, node: Expression, template: HomeTemplate) -> str:
        match node:
            case TextChunk():
                text: str = node.original_text
            case ListReference():
                text = self._fill(rng, node, template)
            case RuleReference():
                text = self._draw(rng, template.rules[node.rule_name].expression, template)
            case Group():
                drawn = [self._draw(rng, item, template) for item in _chosen(rng, node)]
                text = (" " if isinstance(node, Permutation) else "").join(drawn)
            case _:
                raise TypeError(f"an expression of hassil that is not known here: {node!r}")
        return text

    def _fill(self, rng: random.Random, reference: ListReference, template: HomeTemplate) -> str:
        if (bounds := reference.get_inline_range()) is not None:
            return str(rng.randint(bounds[0], bounds[1]))
        values = template.lists.get(reference.list_name)
        if isinstance(values, TextSlotList) and values.values:
            return self._draw(rng, rng.choice(values.values).text_in, template)
        if isinstance(values, RangeSlotList):
            return str(rng.randrange(values.start, values.stop + 1, values.step))
        if isinstance(values, WildcardSlotList) and rng.random() < _ANY_WORDS:
            return self._words(rng)
        return self._name(rng, reference.list_name)

    def _words(self, rng: random.Random) -> str:
        """Return some words of talk: what is put on a list, played or announced may be anything."""
        words = say(rng, rng.choice(self._trained_talk)).split()
        start = rng.randrange(len(words))
        return " ".join(words[start : start + rng.randint(1, 3)])

    def _name(self, rng: random.Random, list_name: str) -> str:
        """Return a word for a list that only a home has, or that takes any words."""
        words = {"area": self._talk.rooms, "floor": self._talk.floors}.get(list_name)
        if words:
            return rng.choice(words)
        device = rng.choice(self._talk.devices)
        return f"{rng.choice(self._talk.rooms)} {device}" if rng.random() < 0.3 else device


def _chosen(rng: random.Random, group: Group) -> list[Expression]:
    """Return the parts of `group` that are said, in the order in which they are said."""
    if isinstance(group, Permutation):
        return rng.sample(group.items, len(group.items))
    if not isinstance(group, Alternative):
        return group.items
    return [] if group.is_optional and rng.random() >= _OPTIONAL else [rng.choice(group.items)]
