"""What was said: the server's judgement of the sentence, and Home Assistant's own reading of it.

The server judges with a classifier trained on Home Assistant's sentences in all their languages, and says so in the
first chunk of an answer (`Said`). Home Assistant's own recognizer reads far fewer sentences, but whatever it reads it
understands to the entity (`Reading`): it is evidence where another server than Zoe's judges nothing, and it tells a
place or thing that was named and does not exist. What neither knows: what a speaker means.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Self

import home_assistant_intents
from hassil.errors import MissingListError, MissingRuleError
from hassil.parse_expression import parse_sentence
from hassil.recognize import RecognizeResult
from hassil.sample import sample_expression
from homeassistant.components import conversation
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import intent
from homeassistant.util.hass_dict import HassKey

from ..const import LOGGER
from .words import inflected, mentions, names_something, without_particles

LIKELY: Final = 0.5
SURE: Final = 0.7
"""From here on a sentence is so surely an order that an answer to it is contradicted, though no tool was called."""

READING_INTENTS: Final = frozenset(
    {
        intent.INTENT_GET_STATE,
        intent.INTENT_GET_TEMPERATURE,
        intent.INTENT_GET_CURRENT_DATE,
        intent.INTENT_GET_CURRENT_TIME,
        intent.INTENT_TIMER_STATUS,
        "HassGetWeather",
    }
)
_STATE_INTENTS: Final = frozenset({intent.INTENT_GET_STATE, intent.INTENT_GET_TEMPERATURE})
_NO_ACTION: Final = frozenset({intent.INTENT_NEVERMIND, intent.INTENT_RESPOND})
_TARGETS: Final = ("name", "area", "floor")
_MOST_UNKNOWN_WORDS: Final = 2
_MISSING: Final = "<missing>"
_KINDS: Final = ("order", "question", "reply", "talk", "state")

# How the rules of Home Assistant's sentences are called that stand for all of something, or for the home.
_RULES_FOR_ALL: Final = re.compile(
    r"^(?!are_|er_|gs_)(?:.*_)?(?:all|alle|alla|allt|tous|tout|todos?|todas?|tutt[oiae]|every\w*|partout|ueberall)(?:_|$)"
)
_RULES_FOR_HERE: Final = re.compile(r"^(?:in_|de_)?(?:here|hier|her|ici|qui|aqu[ií])$")
_RULES_FOR_HOME: Final = re.compile(r"^(?:home|house|casa|maison|haus|huis)$")
_MOST_PHRASES: Final = 300
_LONG_PHRASE: Final = 4
_LONGEST_ENDING: Final = 5

_PHRASES: HassKey[dict[str, Phrases]] = HassKey("zoe_phrases")


@dataclass(frozen=True, slots=True)
class Said:
    """How likely a sentence is each of these, 0 to 1; `state` is how likely it is, as a question, about present
    states."""

    order: float = 0.0
    question: float = 0.0
    reply: float = 0.0
    talk: float = 0.0
    state: float = 0.0

    @classmethod
    def from_chunk(cls, chunk: Mapping[str, Any]) -> Self | None:
        """Read what the first chunk of an answer says; None where the server does not judge."""
        said = _judged(chunk, "said")
        return cls(**{kind: said.get(kind, 0.0) for kind in _KINDS}) if said else None


def denial_in(chunk: Mapping[str, Any]) -> float | None:
    """Return how likely an answer that ends with this chunk says that something was not done; None if nobody judged."""
    return _judged(chunk, "answered").get("denies")


def _judged(chunk: Mapping[str, Any], what: str) -> dict[str, float]:
    """Return the probabilities that a chunk has of something; whatever else is there, is none."""
    extension = chunk.get("zoe")
    judged = extension.get(what) if isinstance(extension, dict) else None
    figures = judged.items() if isinstance(judged, dict) else ()
    return {str(key): float(value) for key, value in figures if isinstance(value, int | float)}


@dataclass(frozen=True, slots=True)
class Reading:
    """What Home Assistant understands of a sentence: an intent and its slots.

    `unknown` is a thing or place in it that does not exist, "" if there is none. `complete` says that all of it is
    understood, and that nothing is missing, such as the room that "the lights" are in.
    """

    intent_type: str
    slots: Mapping[str, Any]
    unknown: str = ""
    complete: bool = True

    @property
    def said(self) -> Said | None:
        """What kind of sentence it is; None if it is not understood entirely, or not about things of the home."""
        if self.intent_type in _NO_ACTION or not (self.complete or self._lacks_only_a_place):
            return None
        if self.intent_type in READING_INTENTS:
            return Said(question=1.0, state=float(self.intent_type in _STATE_INTENTS))
        return Said(order=1.0) if any(slot in self.slots for slot in (*_TARGETS, "domain")) else None

    @property
    def _lacks_only_a_place(self) -> bool:
        return not self.unknown and "domain" in self.slots

    @property
    def everywhere(self) -> bool:
        """Whether it is about all things of a kind in the house."""
        return self.complete and "domain" in self.slots and not any(slot in self.slots for slot in _TARGETS)


async def async_read(hass: HomeAssistant, sentence: str, language: str) -> Reading | None:
    """Let Home Assistant's recognizer read a sentence, said nowhere; it takes some milliseconds of another thread."""
    agent: Any = conversation.async_get_agent(hass, conversation.HOME_ASSISTANT_AGENT)
    if not hasattr(agent, "async_recognize_intent"):
        LOGGER.debug("Home Assistant's own agent cannot be asked what a sentence means")
        return None
    result = await agent.async_recognize_intent(
        conversation.ConversationInput(
            text=sentence,
            context=Context(),
            conversation_id=None,
            device_id=None,
            satellite_id=None,
            language=language,
            agent_id=conversation.HOME_ASSISTANT_AGENT,
        )
    )
    if result is None:
        return None
    slots = {name: entity.value for name, entity in result.entities.items()}
    texts = {name: str(getattr(entity, "text", "")) for name, entity in result.unmatched_entities.items()}
    return Reading(result.intent.name, slots, _unknown(result, texts), complete=not texts)


def _unknown(result: RecognizeResult, texts: Mapping[str, str]) -> str:
    """Return the one name that is not known, where the sentence around it is surely understood; else ""."""
    named = {name: text.strip() for name, text in texts.items() if text != _MISSING}
    ((slot, text),) = named.items() if len(named) == 1 else (("", ""),)
    short = len(text.split()) <= _MOST_UNKNOWN_WORDS and names_something(text)
    sure = slot in _TARGETS and short and 2 * (result.text_chunks_matched or 0) >= len(text)
    return text if sure and result.intent.name not in READING_INTENTS else ""


@dataclass(frozen=True, slots=True)
class Phrases:
    """What Home Assistant's sentences in a language have for all of something or the whole house, for here, for
    colours.

    `colors` are the names that Home Assistant's actions know, by the words of the language.
    """

    language: str = ""
    everything: frozenset[str] = frozenset()
    home: frozenset[str] = frozenset()
    here: frozenset[str] = frozenset()
    colors: Mapping[str, str] = field(default_factory=dict)

    def everything_in(self, sentence: str) -> bool:
        """Return whether a sentence has a word for all, every or the whole house."""
        sentence = without_particles(sentence, self.language)
        words = sentence.split()
        return any(
            mentions(sentence, phrase) or any(inflected(word, phrase) or _continues(word, phrase) for word in words)
            for phrase in self.everything
        )

    def stand_in(self, text: str) -> bool:
        """Return whether a text stands where a name could stand and is none: here, everything."""
        return self.everything_in(text) or self.home_in(text) or any(mentions(text, phrase) for phrase in self.here)

    def home_in(self, text: str) -> bool:
        """Return whether a place is the home itself."""
        return any(mentions(text, phrase) for phrase in self.home)


async def async_load_phrases(hass: HomeAssistant, language: str) -> Phrases:
    """Return the phrases of a language (a tag), read in another thread the first time."""
    base = language.partition("-")[0].lower()
    known = hass.data.setdefault(_PHRASES, {})
    if base not in known:
        known[base] = await hass.async_add_executor_job(_read_phrases, base)
    return known[base]


def _continues(word: str, phrase: str) -> bool:
    """Return whether a word begins with a phrase of one word, as "everything" does with "every"."""
    return len(phrase) >= _LONG_PHRASE and word.startswith(phrase) and len(word) - len(phrase) <= _LONGEST_ENDING


def _read_phrases(language: str) -> Phrases:
    intents = home_assistant_intents.get_intents(language)
    if intents is None:
        return Phrases()
    rules = {name: parse_sentence(text) for name, text in intents.get("expansion_rules", {}).items()}

    def expansions(names: re.Pattern[str]) -> frozenset[str]:
        samples = (
            sample_expression(rule.expression, expansion_rules=rules, slot_lists={}, skip_optionals=True)
            for name, rule in rules.items()
            if names.search(name)
        )
        return frozenset(without_particles(text, language) for each in samples for text in islice(each, _MOST_PHRASES))

    try:
        # "I am home" says nothing of all of it.
        home = expansions(_RULES_FOR_HOME) - {""}
        everything = expansions(_RULES_FOR_ALL) - home
        colors = intents.get("lists", {}).get("color", {}).get("values", ())
        return Phrases(language, everything - {""}, home, expansions(_RULES_FOR_HERE) - {""}, _names(colors))
    except MissingRuleError, MissingListError:
        LOGGER.debug("The phrases of the language %s could not be read", language)
        return Phrases()


def _names(values: Iterable[object]) -> dict[str, str]:
    """Return what the values of a list stand for, by each way to say them."""
    pairs = ((one["in"], one["out"]) for one in values if isinstance(one, dict) and {"in", "out"} <= one.keys())
    said = (
        (text, str(out)) for template, out in pairs for text in sample_expression(parse_sentence(template).expression)
    )
    return {text.strip().casefold(): out for text, out in said}
