"""What may be done of a tool call, given what was said.

The evidence are the effects of the call (`effects.py`), the names of the home (`reach.py`), and what kind of sentence
was said (`said.py`):

    1. later      what is wanted later is not done now, where no timer can be started
    2. reach      a call without a name acts in the speaker's room, or in the whole house if that was said
    3. the thing  what is called and what was said have something to do with each other
    4. question   a change because of what is surely a question is refused once; of a door, always, unless it is asked
                  about next
    5. left out   what guards the home is no part of a call that does not name it
    6. consent    what opens the home waits for a yes, and is never done by an AI task

Each may refuse with a result that tells the model what to do. What it cannot know: who speaks.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from homeassistant.helpers import intent, llm
from homeassistant.helpers.json import json_dumps_sorted

from .effects import Effect, Effects, Risk
from .outcome import ConsentError, cannot_wait, never_unattended, nothing_left, question_only
from .reach import Reach
from .said import LIKELY, Said

type Confirm = Literal["never", "opening", "everything"]
type Signature = tuple[str, str]

_ASKED_FROM: Final[dict[Confirm, Risk | None]] = {
    "never": None,
    "opening": Risk.OPENING,
    "everything": Risk.UNKNOWN,
}


def signature(tool: str, arguments: dict[str, Any]) -> Signature:
    """Return what two calls have in common that are the same."""
    return tool, json_dumps_sorted(arguments)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked about before it is done, and the calls that were agreed to.

    Nobody is there to be asked where a turn is `unattended`, as an AI task is.
    """

    confirm: Confirm = "opening"
    consented: frozenset[Signature] = frozenset()
    unattended: bool = False


class Allowed(NamedTuple):
    """The calls to make in place of one, by their arguments, and their effects.

    `left_out` names what guards the home and is not touched.
    """

    calls: list[dict[str, Any]]
    effects: Effects
    left_out: tuple[str, ...] = ()


@dataclass(slots=True)
class Guard:
    """Judges the calls of one turn. `said` is set once the server has judged the sentence."""

    tools: list[llm.Tool]
    reach: Reach
    rules: Rules
    said: Said | None = None
    _told: set[Signature] = field(default_factory=set)

    async def async_said(self) -> Said | None:
        """Return what kind of sentence it is: by the server, else by Home Assistant's sentences; None if unknown."""
        if self.said is None and (reading := await self.reach.async_reading()) is not None:
            return reading.said
        return self.said

    async def async_check(self, tool: llm.Tool, arguments: dict[str, Any]) -> Allowed:
        """Return what may be done of a call.

        Raises:
            RefusalError: nothing of it, or not yet.
        """
        effects = await self.reach.judge.async_effects(tool, arguments)
        if not effects.changes:
            return Allowed([arguments], effects)
        agreed = signature(tool.name, arguments) in self.rules.consented
        if not (agreed or self.rules.unattended):
            await self._check_later(effects)
        arguments, effects = await self.reach.async_within(tool, arguments, effects)
        if not (agreed or self.rules.unattended):
            await self.reach.async_check(tool, arguments, effects, asks=self._asks(effects))
            await self._check_question(tool, arguments, effects)
        allowed = self._without_left_out(arguments, effects)
        if not agreed:
            self._check_consent(tool, arguments, allowed.effects)
        return allowed

    async def _check_later(self, effects: Effects) -> None:
        """Refuse to do now what is wanted later, where no timer is offered that could wait for it."""
        timers = any(tool.name.endswith(intent.INTENT_START_TIMER) for tool in self.tools)
        if timers or not effects.each or effects.delayed:
            return
        reading = await self.reach.async_reading()
        command = reading.slots.get("conversation_command") if reading is not None else None
        if command and (inner := await self.reach.async_read(str(command))) and inner.complete:
            raise cannot_wait()

    async def _check_question(self, tool: llm.Tool, arguments: dict[str, Any], effects: Effects) -> None:
        """Refuse a change because of a question once; of a door always, unless the user is asked about it next."""
        readers = [other.name for other in self.tools if other.annotations.read_only]
        said = await self.async_said()
        if said is None or self.reach.sentence.replies or not readers:
            return
        key = signature(tool.name, arguments)
        opens = effects.risk is Risk.OPENING
        if said.question >= LIKELY and (key not in self._told or (opens and not self._asks(effects))):
            self._told.add(key)
            raise question_only(readers)

    def _check_consent(self, tool: llm.Tool, arguments: dict[str, Any], effects: Effects) -> None:
        if self.rules.unattended:
            if effects.risk is Risk.OPENING:
                raise never_unattended(effects.names(Risk.OPENING))
            return
        level = _ASKED_FROM[self.rules.confirm]
        if level is not None and effects.risk >= level:
            raise ConsentError(tool.name, arguments, effects, level)

    def _asks(self, effects: Effects) -> bool:
        """Return whether the user is asked about what a call does before it is done."""
        level = _ASKED_FROM[self.rules.confirm]
        return level is not None and effects.risk >= level and not self.rules.unattended

    def _without_left_out(self, arguments: dict[str, Any], effects: Effects) -> Allowed:
        """Return the calls that do what a call does, but for what guards the home and was not named.

        One door of a kind that was named is as good as named where the user is asked about it.
        """
        left_out = effects.left_out
        only_one = len(effects.each) == 1 and effects.by_kind and self._asks(effects)
        return Allowed([arguments], effects) if not left_out or only_one else _rest(arguments, effects, left_out)


def _rest(arguments: dict[str, Any], effects: Effects, left_out: tuple[Effect, ...]) -> Allowed:
    """Return what is left of a call without some effects."""
    kept = effects.without(left_out)
    names = tuple(dict.fromkeys(effect.name for effect in left_out if effect.guards))
    if not kept.each:
        raise nothing_left(names)
    domains = {effect.domain for effect in kept.each}
    if domains.isdisjoint(effect.domain for effect in left_out):
        return Allowed([{**arguments, "domain": sorted(domains)}], kept, names)
    rest = {key: value for key, value in arguments.items() if key not in ("area", "floor", "domain", "device_class")}
    return Allowed([{**rest, "name": effect.entity_id} for effect in kept.each], kept, names)
