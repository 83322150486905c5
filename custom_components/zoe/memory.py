"""What the household wants its agents to know: short facts, the oldest first, the same for all agents.

Kept in Home Assistant's storage. In the system prompt they stand last, behind all that satellites have in common, so
that a new fact leaves the long part of the prompt computed. The newest that fit are there; all can be looked up.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.singleton import singleton
from homeassistant.helpers.storage import Store
from homeassistant.util.hass_dict import HassKey

from .const import DOMAIN

MAX_FACTS: Final = 100
MAX_FACT_CHARS: Final = 200
MAX_PROMPT_CHARS: Final = 2000
"""What facts may take of a prompt: about 500 tokens, an eighth of a small model's context."""
MAX_RECALLED: Final = 20

_VERSION: Final = 1
_HEADING: Final = "What people of this household want you to remember:"
_MORE: Final = "- (older facts can be looked up)"
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_UNSPOKEN: Final = re.compile(r"[\W_]+")

type Stored = dict[str, list[str]]


class MemoryRefusedError(Exception):
    """A fact cannot be kept or found; the text, for the model, says why and what would do."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A fact as it is kept, and whether it was known already."""

    fact: str
    known: bool


def normalised(text: str) -> str:
    """Return a fact as it is kept: one line, without control characters and what is no text."""
    composed = unicodedata.normalize("NFC", text)
    printable = (" " if unicodedata.category(char) in _UNPRINTABLE else char for char in composed)
    return " ".join("".join(printable).split())


class Memory:
    """Owner of the facts."""

    def __init__(self, store: Store[Stored], facts: Iterable[str] = ()) -> None:
        self._store = store
        self._facts = list(facts)
        self._listeners: list[Callable[[], None]] = []

    @property
    def facts(self) -> list[str]:
        """Every fact, the oldest first."""
        return list(self._facts)

    @callback
    def async_listen(self, listener: Callable[[], None]) -> CALLBACK_TYPE:
        """Call `listener` when the facts have changed; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def async_remember(self, text: str) -> Kept:
        """Keep a fact, unless it is there in the same words.

        Raises:
            MemoryRefusedError: it says nothing, is too long, or there are too many.
        """
        fact = normalised(text)
        if known := next((other for other in self._facts if _words(other) == _words(fact)), None):
            return Kept(known, known=True)
        await self._async_replace([*self._facts, fact])
        return Kept(fact, known=False)

    async def async_forget(self, text: str) -> str:
        """Remove the one fact that has all the words of `text`, or the text itself, and return it.

        Raises:
            MemoryRefusedError: there is none, or more than one; says which there are.
        """
        words = _words(text)
        same = [fact for fact in self._facts if _words(fact) == words]
        found = same or [fact for fact in self._facts if words and _has(fact, text, words)]
        if len(found) != 1:
            raise MemoryRefusedError(_which(found, self.recall(text) or self._facts))
        await self._async_replace([fact for fact in self._facts if fact != found[0]])
        return found[0]

    def recall(self, text: str = "") -> list[str]:
        """Return the facts that have words of `text`, those with most of them first; without words, the newest."""
        words = set(_words(text))
        if not words:
            return self._facts[: -MAX_RECALLED - 1 : -1]
        shared = {fact: len(words.intersection(_words(fact))) for fact in self._facts}
        found = sorted((fact for fact in self._facts if shared[fact]), key=lambda fact: -shared[fact])
        return found[:MAX_RECALLED]

    async def async_edit(self, shown: Iterable[str], edited: Iterable[str]) -> None:
        """Take over what somebody made of the facts that he was `shown`; others may have come meanwhile, and stay.

        Raises:
            MemoryRefusedError: one is too long, or there are too many.
        """
        wanted = {_words(fact): fact for text in edited if (fact := normalised(text))}
        removed = {_words(fact) for fact in shown} - wanted.keys()
        kept = {_words(fact): fact for fact in self._facts if _words(fact) not in removed}
        facts = list({**kept, **wanted}.values())
        if facts != self._facts:
            await self._async_replace(facts)

    async def async_clear(self) -> None:
        """Forget everything, on the disk too."""
        self._facts = []
        await self._store.async_remove()

    def as_prompt(self) -> str:
        """Return what a system prompt ends with, "" if nothing is known."""
        lines: list[str] = []
        room = MAX_PROMPT_CHARS
        for fact in reversed(self._facts):
            room -= len(fact)
            if room < 0:
                lines.append(_MORE)
                break
            lines.append(f"- {fact}")
        return "\n".join([_HEADING, *reversed(lines)]) if lines else ""

    async def _async_replace(self, facts: list[str]) -> None:
        for fact in facts:
            if not _words(fact):
                raise MemoryRefusedError("There is nothing to remember in it.")
            if len(fact) > MAX_FACT_CHARS:
                raise MemoryRefusedError(f"A fact may have {MAX_FACT_CHARS} characters at most. Say it shorter.")
        if len(facts) > max(MAX_FACTS, len(self._facts)):
            raise MemoryRefusedError(f"{MAX_FACTS} facts are kept already. Ask which one may be forgotten.")
        self._facts = facts
        await self._store.async_save({"facts": facts})
        for listener in list(self._listeners):
            listener()


def _words(text: str) -> tuple[str, ...]:
    """Return what two spellings of the same fact have in common."""
    return tuple(_UNSPOKEN.sub(" ", text.casefold()).split())


def _has(fact: str, text: str, words: tuple[str, ...]) -> bool:
    """Return whether all words are in a fact; some scripts put no space between them."""
    return set(words) <= set(_words(fact)) or normalised(text).casefold() in fact.casefold()


def _which(found: list[str], near: list[str]) -> str:
    if found:
        return f"More than one fact is meant by that: {'; '.join(found)}"
    listed = "; ".join(near[:MAX_RECALLED])
    return f"No fact has all of these words. {f'There are: {listed}' if listed else 'Nothing is remembered yet.'}"


DATA_MEMORY: HassKey[Memory] = HassKey(f"{DOMAIN}_memory")


@singleton(DATA_MEMORY, async_=True)
async def async_load_memory(hass: HomeAssistant) -> Memory:
    """Return the household's memory, read from the disk the first time."""
    store: Store[Stored] = Store(hass, _VERSION, f"{DOMAIN}.memory", private=True)
    stored = await store.async_load() or {}
    return Memory(store, stored.get("facts", ()))
