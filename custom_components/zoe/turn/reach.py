"""Which things a call may reach, given what was said: its room, the whole house, and the one that is called.

A call without name and place acts in the speaker's room; elsewhere in the whole house only if the sentence says so,
or if there is one such thing. A thing that is called by name has to be spoken of: by its names, its place, its kind,
or by what the conversation was about before. A sentence that names another thing or place speaks of that. What cannot
be known here: synonyms, and names in another language than the sentence's; then the model is told to ask.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers import intent, llm

from ..home import Inventory, Named, argument_names
from .effects import Effect, Effects, Judge, Risk, unwrapped
from .outcome import not_spoken_of, unknown_place, which_place
from .said import Phrases, Reading, async_load_phrases, async_read
from .words import is_made_of, mentions, relates, sounds_like, without, words_in

_GENERIC: Final = frozenset({intent.INTENT_TURN_ON, intent.INTENT_TURN_OFF, intent.INTENT_TOGGLE})
_MOST_CANDIDATES: Final = 8

type Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sentence:
    """What the user said, in which language (a tag), and what of the conversation counts with it.

    `before` are the last things that were said by either side, the newest last; `replies` says that the last of them
    asks something.
    """

    text: str
    language: str
    before: Sequence[str] = ()
    replies: bool = False


@dataclass(frozen=True)
class Reach:
    """Holds the calls of one turn against its sentence."""

    hass: HomeAssistant
    context: llm.LLMContext
    sentence: Sentence
    inventory: Inventory
    judge: Judge

    def begin_reading(self) -> None:
        """Let Home Assistant read the sentence while the model thinks about it."""
        _ = self._reading

    async def async_reading(self) -> Reading | None:
        """Return what Home Assistant understands of the sentence; it is asked once."""
        return await asyncio.shield(self._reading)

    async def async_read(self, text: str) -> Reading | None:
        """Return what Home Assistant understands of another text in the language of the sentence."""
        return await async_read(self.hass, text, self.sentence.language)

    @cached_property
    def _reading(self) -> asyncio.Task[Reading | None]:
        return self.hass.async_create_task(self.async_read(self.sentence.text), "read a sentence")

    async def async_satisfied(self) -> bool:
        """Return whether all that the sentence orders, as Home Assistant understands it, is so."""
        reading = await self.async_reading()
        if reading is None or not reading.complete or reading.said is None or not reading.said.order:
            return False
        return (await self.judge.async_intent_effects(reading.intent_type, reading.slots)).satisfied

    def speaks_of_home(self, answer: str = "") -> bool:
        """Return whether the sentence, what was said right before, or its answer speaks of anything of this home."""
        said = " ".join((*self.sentence.before[-2:], self.sentence.text, answer))
        named = (named.name for kind in ("name", "area", "floor") for named in self.inventory[kind])
        return relates(said, named) or relates(said, self.judge.kinds.all_names)

    async def async_within(self, tool: llm.Tool, arguments: Arguments, effects: Effects) -> tuple[Arguments, Effects]:
        """Return a call with the place that it is about, where it says neither a thing nor a place.

        Raises:
            RefusalError: nobody knows where, or the place does not exist.
        """
        reaches_out = {"area", "name"} <= argument_names(tool) and bool(effects.each or effects.by_kind)
        if not reaches_out or effects.named or effects.placed:
            return arguments, effects
        places = self._mentioned_areas(self.sentence.text)
        if len(places) == 1:
            return await self._in_area(tool, arguments, places[0])
        if unknown := await self._unknown(effects):
            raise unknown_place(unknown, sorted(area.name for area in self._areas))
        if await self._is_everywhere():
            return arguments, effects
        if self._speaker_area is not None:
            narrowed, inside = await self._in_area(tool, arguments, self._speaker_area)
            if inside.each:
                return narrowed, inside
        if len(effects.each) == 1:
            return arguments, effects
        raise which_place(sorted({place for effect in effects.each for place in self._area_names(effect)[:1]}))

    async def _is_everywhere(self) -> bool:
        """Return whether the sentence is about the whole house."""
        reading, phrases = await self.async_reading(), await self.async_phrases()
        if phrases.everything_in(self.sentence.text) or (reading is not None and reading.everywhere):
            return True
        return reading is not None and phrases.home_in(reading.unknown)

    async def async_check(self, tool: llm.Tool, arguments: Arguments, effects: Effects, *, asks: bool) -> None:
        """Refuse a call of a thing or a place that nobody spoke of; with `asks`, the user is asked about the thing.

        Raises:
            RefusalError: nobody did; the candidates are of the same kind.
        """
        if not effects.each or not (effects.named or effects.placed):
            return
        unknown = await self._unknown(effects)
        by_name = effects.risk > Risk.SAFE and effects.named and not asks
        if named := await self._named_among_others(effects):
            raise not_spoken_of(effects.names(), named, unknown)
        if any(self._is_spoken_of(effect, effects, unknown, by_name=by_name) for effect in effects.each):
            return
        if await self._is_implied(tool, arguments, effects, unknown, by_name=by_name):
            return
        domains = {effect.domain for effect in effects.each}
        like = sorted({one.name for one in self.inventory["name"] if one.key.partition(".")[0] in domains})
        raise not_spoken_of(effects.names(), like[:_MOST_CANDIDATES], unknown)

    async def _named_among_others(self, effects: Effects) -> list[str]:
        """Return the things that a sentence names where a call takes others beside them that nobody spoke of."""
        text = self.sentence.text
        if effects.named or (await self.async_phrases()).everything_in(text):
            return []
        named = [effect for effect in effects.each if self._is_named(effect, self._names(effect))]
        ids = {effect.entity_id for effect in named}
        beside_them = any(
            not relates(text, [*self._kinds_of(effect), *self._places(effect)])
            for effect in effects.each
            if named and effect.entity_id not in ids
        )
        return sorted({effect.name for effect in named}) if beside_them else []

    def _is_spoken_of(self, effect: Effect, effects: Effects, unknown: str, *, by_name: bool) -> bool:
        """Return whether the sentence speaks of a thing: by its names or its place, or `by_name` only."""
        names, text = self._names(effect), self.sentence.text
        if self._is_named(effect, names):
            return True
        if unknown:
            return False
        if not effects.named:
            return relates(text, self._places(effect))
        return not self._is_another(effect, names) and relates(
            text, names if by_name else [*names, *self._places(effect)]
        )

    def _is_another(self, effect: Effect, names: Sequence[str]) -> bool:
        """Return whether the sentence names another thing or another place, and of this thing a part at most."""
        text = self.sentence.text
        if self._is_named(effect, names):
            return False
        others = {one.name for one in self._mentioned if one.key != effect.entity_id}
        rest = without(text, others)
        if others and not relates(rest, [*names, *self._places(effect)]):
            return True
        places = self._places(effect)
        return bool(places and self._mentioned_areas(rest)) and not any(mentions(rest, place) for place in places)

    def _is_named(self, effect: Effect, names: Sequence[str]) -> bool:
        """Return whether the sentence has a whole name of a thing.

        A name of one word says little: "the bathroom fan" is no fan of another room.
        """
        text = self.sentence.text
        said = [name for name in names if mentions(text, name)]
        if any(len(words_in(name)) > 1 for name in said):
            return True
        elsewhere = self._mentioned_areas(without(text, said))
        return bool(said) and (not elsewhere or any(mentions(text, place) for place in self._places(effect)))

    async def _is_implied(
        self, tool: llm.Tool, arguments: Arguments, effects: Effects, unknown: str, *, by_name: bool
    ) -> bool:
        """Return whether a thing or a place is meant that the sentence does not name."""
        if effects.named and all(self._is_another(effect, self._names(effect)) for effect in effects.each):
            return False
        before = " ".join(self.sentence.before)
        refers = self.sentence.replies or not unknown
        if refers and any(relates(before, self._names(effect)) for effect in effects.each):
            return True
        if by_name or await self._is_the_only_one(tool, arguments, effects):
            return not by_name
        return not unknown and await self._is_here_or_of_a_kind(effects)

    async def _is_here_or_of_a_kind(self, effects: Effects) -> bool:
        """Return whether something is in the speaker's room, or the sentence names its kind, or everything."""
        here = set(self._speaker_names)
        if any(here.intersection(self._area_names(effect)) for effect in effects.each):
            return True
        if (await self.async_phrases()).everything_in(self.sentence.text):
            return True
        if effects.placed:
            return False
        reading = await self.async_reading()
        understood = _domains(reading.slots.get("domain")) if reading is not None else ()
        named = (
            effect.domain in understood or relates(self.sentence.text, self._kinds_of(effect))
            for effect in effects.each
        )
        return any(named)

    async def _is_the_only_one(self, tool: llm.Tool, arguments: Arguments, effects: Effects) -> bool:
        """Return whether a tool for one kind of things has but one to act on."""
        tool = unwrapped(tool)
        if not isinstance(tool, llm.IntentTool) or tool.intent_type in _GENERIC or effects.placed:
            return False
        free = {key: value for key, value in arguments.items() if key not in ("name", "area", "floor")}
        return len((await self.judge.async_intent_effects(tool.intent_type, free)).each) == 1

    async def _unknown(self, effects: Effects) -> str:
        """Return what was named and does not exist among what a call reaches, "" if there is nothing of that."""
        reading = await self.async_reading()
        text = reading.unknown if reading else ""
        if not text or self._is_known(text, {effect.domain for effect in effects.each}):
            return ""
        return "" if (await self.async_phrases()).stand_in(text) else text

    async def async_phrases(self) -> Phrases:
        """Return what Home Assistant's sentences in the language of the sentence have for some things."""
        return await async_load_phrases(self.hass, self.sentence.language)

    def _is_known(self, text: str, domains: Collection[str]) -> bool:
        """Return whether a place, a kind of things, or a thing of these domains is called so."""
        things = [one.name for one in self.inventory["name"] if one.key.partition(".")[0] in domains]
        names = [*things, *(place.name for kind in ("area", "floor") for place in self.inventory[kind])]
        misheard = any(sounds_like(text, name) for name in names)
        return misheard or is_made_of(text, (*names, *self.judge.kinds.all_names))

    async def _in_area(self, tool: llm.Tool, arguments: Arguments, area: ar.AreaEntry) -> tuple[Arguments, Effects]:
        narrowed = {**{key: value for key, value in arguments.items() if key != "name"}, "area": area.name}
        return narrowed, await self.judge.async_effects(tool, narrowed)

    def _mentioned_areas(self, text: str) -> list[ar.AreaEntry]:
        return [area for area in self._areas if any(mentions(text, name) for name in (area.name, *area.aliases))]

    @property
    def _areas(self) -> Iterable[ar.AreaEntry]:
        return ar.async_get(self.hass).async_list_areas()

    @cached_property
    def _speaker_area(self) -> ar.AreaEntry | None:
        device_id = self.context.device_id
        device = dr.async_get(self.hass).async_get(device_id) if device_id else None
        area_id = dr.async_get_effective_area_id(self.hass, device) if device else None
        return ar.async_get(self.hass).async_get_area(area_id) if area_id else None

    @property
    def _speaker_names(self) -> list[str]:
        return [self._speaker_area.name] if self._speaker_area else []

    @cached_property
    def _mentioned(self) -> list[Named]:
        """The names of things that the sentence has."""
        return [one for one in self.inventory["name"] if mentions(self.sentence.text, one.name)]

    @cached_property
    def _by_entity(self) -> dict[str, list[Named]]:
        """The names of each entity, by its id."""
        found: dict[str, list[Named]] = {}
        for named in self.inventory["name"]:
            found.setdefault(named.key, []).append(named)
        return found

    def _names(self, effect: Effect) -> list[str]:
        return [named.name for named in self._by_entity.get(effect.entity_id, ())] or [effect.name]

    def _area_names(self, effect: Effect) -> list[str]:
        """Return the names of the area that a thing is in, its own name first."""
        named = self._by_entity.get(effect.entity_id)
        return list(named[0].areas) if named else []

    def _places(self, effect: Effect) -> list[str]:
        """Return the names of the area and of the floor that a thing is in."""
        names = self._area_names(effect)
        area = ar.async_get(self.hass).async_get_area_by_name(names[0]) if names else None
        floor = fr.async_get(self.hass).async_get_floor(area.floor_id) if area and area.floor_id else None
        return [*names, *((floor.name, *floor.aliases) if floor else ())]

    def _kinds_of(self, effect: Effect) -> frozenset[str]:
        state = self.hass.states.get(effect.entity_id)
        device_class = state.attributes.get("device_class") if state else None
        classes = (str(device_class),) if device_class else ()
        return self.judge.kinds.called(effect.domain) | (
            self.judge.kinds.called(effect.domain, *classes) if classes else frozenset()
        )


def _domains(slot: object) -> Sequence[str]:
    return slot if isinstance(slot, list) else (str(slot),)
