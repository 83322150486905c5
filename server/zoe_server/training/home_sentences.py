"""Sentences to a home in all languages, made from the templates of the package `home-assistant-intents`.

A template is an expression of hassil; here each of its choices is drawn at random, where hassil itself would write out
all of them. Names of devices and areas come from `small_talk/`. Small talk among the intents (`HassRespond`) is left out.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import home_assistant_intents
from hassil.expression import Expression, ListReference, Permutation, RuleReference, Sentence, TextChunk
from hassil.expression import Alternative, Group
from hassil.intents import Intents, RangeSlotList, SlotList, TextSlotList
from hassil.util import normalize_whitespace

from zoe_server.training.small_talk import SmallTalk

_DATA: Final = Path(home_assistant_intents.__file__).parent / "data"
_TALK: Final = {"HassRespond", "HassNevermind"}
_COURTESY: Final = 0.15
_OPTIONAL: Final = 0.4


@dataclass(frozen=True, slots=True)
class HomeTemplate:
    """One way to say something to the home; `key` is its text, by which it is held out or trained on."""

    key: str
    sentence: Sentence
    lists: Mapping[str, SlotList]
    rules: Mapping[str, Sentence]


class HomeLanguage:
    """The templates of one language, and how their gaps are filled."""

    def __init__(self, language: str, talk: SmallTalk) -> None:
        data = json.loads((_DATA / f"{language}.json").read_text(encoding="utf-8"))
        self._intents = Intents.from_dict(data)
        self._talk = talk
        self._courtesies: list[str] = [words for words in data.get("skip_words", []) if not set(words) & set("()[]<>{}")]

    def templates(self) -> Iterator[HomeTemplate]:
        """Return all templates except small talk."""
        for name, intent in self._intents.intents.items():
            for block in intent.data if name not in _TALK else ():
                lists = {**self._intents.slot_lists, **block.slot_lists}
                rules = {**self._intents.expansion_rules, **block.expansion_rules}
                for sentence in block.sentences:
                    yield HomeTemplate(sentence.text or "", sentence, lists, rules)

    def say(self, rng: random.Random, template: HomeTemplate) -> str:
        """Return one way to say `template`, now and then with a courtesy of the language before or behind it."""
        text = normalize_whitespace(self._draw(rng, template.sentence.expression, template)).strip()
        if self._courtesies and rng.random() < _COURTESY:
            pair = [text, rng.choice(self._courtesies)]
            rng.shuffle(pair)
            return " ".join(pair)
        return text

    def _draw(self, rng: random.Random, node: Expression, template: HomeTemplate) -> str:
        match node:
            case TextChunk():
                return node.original_text
            case ListReference():
                return self._fill(rng, node, template)
            case RuleReference():
                return self._draw(rng, template.rules[node.rule_name].expression, template)
            case Alternative() if node.is_optional and rng.random() >= _OPTIONAL:
                return ""
            case Alternative():
                return self._draw(rng, rng.choice(node.items), template)
            case Permutation():
                return " ".join(self._draw(rng, item, template) for item in rng.sample(node.items, len(node.items)))
            case Group():
                return "".join(self._draw(rng, item, template) for item in node.items)
        raise TypeError(f"an expression of hassil that is not known here: {node!r}")

    def _fill(self, rng: random.Random, reference: ListReference, template: HomeTemplate) -> str:
        if (bounds := reference.get_inline_range()) is not None:
            return str(rng.randint(bounds[0], bounds[1]))
        values = template.lists.get(reference.list_name)
        if isinstance(values, TextSlotList) and values.values:
            return self._draw(rng, rng.choice(values.values).text_in, template)
        if isinstance(values, RangeSlotList):
            return str(rng.randrange(values.start, values.stop + 1, values.step))
        return self._name(rng, reference.list_name)

    def _name(self, rng: random.Random, list_name: str) -> str:
        """Return a word for a list that only a home has, or that takes any words."""
        words = {"area": self._talk.rooms, "floor": self._talk.floors}.get(list_name)
        if words:
            return rng.choice(words)
        device = rng.choice(self._talk.devices)
        return f"{rng.choice(self._talk.rooms)} {device}" if rng.random() < 0.3 else device
