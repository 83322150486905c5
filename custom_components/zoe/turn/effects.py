"""What a tool call will do, before it is made: which things, in which direction, and how much of a risk that is.

Things are found in the way Home Assistant will find them (`intent.async_match_targets` with the constraints of the
intent's own handler), so calls of a whole area, floor, domain or device class are expanded. On and off mean lock and
unlock, open and close by domain. A timer's delayed command is judged by what Home Assistant will understand of it.
What a script, a scene, a button or a tool of another integration does is unknown, unless its annotations say that it
is harmless.

This is the one place that knows it; whatever guards the home reads `Effects`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any, Final, Self

from homeassistant.const import ATTR_DEVICE_CLASS, STATE_OFF, STATE_ON
from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import intent, llm

from ..home import Kinds
from .said import async_read
from .words import is_part_of, relates, without

_EVERYTHING: Final = "all"
"""The name by which Home Assistant's intents mean every device.
"""

_MOVABLE: Final = frozenset({"cover", "valve"})
_UNKNOWN_WORLD: Final = frozenset({"automation", "button", "input_button", "remote", "scene", "script"})
_DOORS: Final = frozenset({"door", "garage", "gate"})
_OPENINGS: Final = _DOORS | {"window"}
_SHADES: Final = frozenset({"awning", "blind", "curtain", "damper", "shade", "shutter"})
_NO_DOORS: Final = ("climate", "fan", "humidifier", "light", "media_player", "vacuum", "water_heater")
_ONLY_ON: Final = frozenset({"button", "input_button"})
_SERVICE_DIRECTIONS: Final = {"open_cover": "open", "close_cover": "close"}
_COMMAND: Final = "conversation_command"


class Direction(StrEnum):
    """What is done to a thing."""

    ON = "on"
    OFF = "off"
    OPEN = "open"
    CLOSE = "close"
    LOCK = "lock"
    UNLOCK = "unlock"
    ARM = "arm"
    DISARM = "disarm"
    STOP = "stop"
    RUN = "run"
    CHANGE = "change"


class Risk(IntEnum):
    """How much is at stake, the most last. `SAFE` is closing, locking, arming or stopping what guards the home."""

    HARMLESS = 0
    SAFE = 1
    UNKNOWN = 2
    OPENING = 3


_REVERSED: Final = {
    "alarm_control_panel": (Direction.ARM, Direction.DISARM),
    "cover": (Direction.OPEN, Direction.CLOSE),
    "lock": (Direction.LOCK, Direction.UNLOCK),
    "valve": (Direction.OPEN, Direction.CLOSE),
}
"""What on and off mean for these domains; for all others, themselves.
"""
_OPENS: Final = frozenset({Direction.OPEN, Direction.UNLOCK, Direction.DISARM})
_TARGET_STATES: Final = {
    Direction.ON: frozenset({STATE_ON}),
    Direction.OFF: frozenset({STATE_OFF}),
    Direction.OPEN: frozenset({"open"}),
    Direction.CLOSE: frozenset({"closed"}),
    Direction.LOCK: frozenset({"locked"}),
    Direction.UNLOCK: frozenset({"unlocked", "open"}),
    Direction.DISARM: frozenset({"disarmed"}),
}


@dataclass(frozen=True, slots=True)
class Effect:
    """What is done to one thing. `satisfied` says that it was so before."""

    entity_id: str
    name: str
    direction: Direction
    risk: Risk
    satisfied: bool = False

    @property
    def domain(self) -> str:
        """The thing's domain."""
        return self.entity_id.partition(".")[0]

    @property
    def guards(self) -> bool:
        """Whether the thing is of a kind that guards the home."""
        return self.domain in _REVERSED or self.risk is Risk.OPENING


@dataclass(frozen=True, slots=True)
class Effects:
    """What a call does. Without `changes` it only reads.

    `outside` names a tool whose effects nobody knows. `named` says that the call names its thing; `by_kind`, that it
    names the kind (a domain or a device class); `placed`, that it names an area or floor. `delayed` effects come later.
    """

    each: tuple[Effect, ...] = ()
    changes: bool = True
    outside: str = ""
    named: bool = False
    by_kind: bool = False
    placed: bool = False
    delayed: bool = False

    @property
    def risk(self) -> Risk:
        """The greatest risk of all of it."""
        return max((effect.risk for effect in self.each), default=Risk.UNKNOWN if self.outside else Risk.HARMLESS)

    @property
    def satisfied(self) -> bool:
        """Whether all of it was so before, as far as there is anything."""
        return bool(self.each) and all(effect.satisfied for effect in self.each)

    def names(self, at_least: Risk = Risk.HARMLESS) -> tuple[str, ...]:
        """Return the names of what it does something of such a risk to, or of the tool."""
        names = tuple(dict.fromkeys(effect.name for effect in self.each if effect.risk >= at_least))
        return names or ((self.outside,) if self.outside else ())

    @property
    def left_out(self) -> tuple[Effect, ...]:
        """What a call does not do that names no thing: nothing that guards the home, and nothing that nobody knows.

        A call that names a kind may still do to that kind what is safe, and open what no burglar comes in by.
        """
        if self.named or self.outside:
            return ()
        if self.by_kind:
            return tuple(effect for effect in self.each if effect.risk > Risk.SAFE)
        return tuple(effect for effect in self.each if effect.risk > Risk.HARMLESS or effect.guards)

    def without(self, effects: Collection[Effect]) -> Self:
        """Return what is left without some effects."""
        return replace(self, each=tuple(effect for effect in self.each if effect not in effects))


@dataclass(frozen=True, slots=True)
class Judge:
    """Makes `Effects`. `marked` are the entities that the household wants to be asked about."""

    hass: HomeAssistant
    context: llm.LLMContext
    kinds: Kinds
    marked: frozenset[str] = frozenset()

    async def async_effects(self, tool: llm.Tool, arguments: Mapping[str, Any]) -> Effects:
        """Return what a call of `tool` with `arguments` will do."""
        if tool.annotations.read_only:
            return Effects(changes=False)
        tool = unwrapped(tool)
        if isinstance(tool, llm.IntentTool):
            return await self.async_intent_effects(tool.intent_type, arguments)
        if isinstance(tool, llm.ActionTool):
            state = self.hass.states.get(tool.name.replace("__", ".", 1))
            if state is not None:
                return Effects((self._effect(state, Direction.RUN),), named=True)
        if not tool.annotations.open_world and not tool.annotations.destructive:
            return Effects()
        if tool.integration == "zoe" or (_is_core(tool) and tool.integration not in _UNKNOWN_WORLD):
            return Effects()  # our own memory, and what Home Assistant plays
        return Effects(outside=tool.title or tool.name)

    async def async_intent_effects(self, intent_type: str, slots: Mapping[str, Any]) -> Effects:
        """Return what an intent with these slots will do."""
        if command := slots.get(_COMMAND):
            return replace(await self._async_command_effects(str(command)), delayed=True)
        handler = self._handler(intent_type)
        name, area, floor = (_text(slots.get(slot)) for slot in ("name", "area", "floor"))
        domains, device_classes = _listed(slots.get("domain")), _listed(slots.get("device_class"))
        effects = Effects(
            named=name not in (None, _EVERYTHING), by_kind=bool(domains or device_classes), placed=bool(area or floor)
        )
        constraints = intent.MatchTargetsConstraints(
            name=None if name == _EVERYTHING else name,
            area_name=area,
            floor_name=floor,
            domains=domains or self._domains(handler),
            device_classes=device_classes,
            features=getattr(handler, "required_features", None),
            states=getattr(handler, "required_states", None),
            assistant=self.context.assistant,
            allow_duplicate_names=True,  # which of them it is, Home Assistant tells by the room: all count
        )
        if not constraints.has_constraints:
            return effects
        states = intent.async_match_targets(self.hass, constraints).states
        able = [state for state in states if self.can(intent_type, state.domain)]
        return replace(
            effects, each=tuple(self._effect(state, self._direction(handler, state, slots)) for state in able)
        )

    def can(self, intent_type: str, domain: str) -> bool:
        """Return whether an intent does anything to things of a domain."""
        if intent_type not in (intent.INTENT_TURN_ON, intent.INTENT_TURN_OFF, intent.INTENT_TOGGLE):
            domains = self._domains(self._handler(intent_type))
            return domains is None or domain in domains
        if domain in _ONLY_ON:
            return intent_type == intent.INTENT_TURN_ON
        if domain in _REVERSED and domain != "alarm_control_panel":
            return True
        service = "turn_off" if intent_type == intent.INTENT_TURN_OFF else "turn_on"
        return self.hass.services.has_service(domain, service)

    def _handler(self, intent_type: str) -> intent.IntentHandler | None:
        return next((one for one in intent.async_get(self.hass) if one.intent_type == intent_type), None)

    def _domains(self, handler: intent.IntentHandler | None) -> set[str] | None:
        """Return the domains that a handler acts on; None for all."""
        domains = getattr(handler, "required_domains", None) or getattr(handler, "platforms", None)
        return set(domains) if domains else None

    async def _async_command_effects(self, command: str) -> Effects:
        """Return what Home Assistant will do when a timer says `command`; what it does not understand, it does not
        do.

        A command that speaks of something that guards the home counts as opening it nevertheless.
        """
        reading = await async_read(self.hass, command, self.context.language or self.hass.config.language)
        if reading is not None and reading.complete:
            return await self.async_intent_effects(reading.intent_type, reading.slots)
        every = (self._effect(state, _REVERSED[state.domain][0]) for state in self.hass.states.async_all(_REVERSED))
        opened = (replace(effect, direction=Direction.CHANGE, risk=Risk.OPENING) for effect in every)
        return Effects(tuple(effect for effect in opened if relates(command, (effect.name,))), named=True)

    def _direction(self, handler: intent.IntentHandler | None, state: State, slots: Mapping[str, Any]) -> Direction:
        intent_type = handler.intent_type if handler else ""
        if intent_type == intent.INTENT_STOP_MOVING:
            return Direction.STOP
        if intent_type == intent.INTENT_SET_POSITION:
            return _moved(state, slots.get("position"))
        if service := _SERVICE_DIRECTIONS.get(getattr(handler, "service", "")):
            return Direction(service)
        if intent_type not in (intent.INTENT_TURN_ON, intent.INTENT_TURN_OFF, intent.INTENT_TOGGLE):
            return Direction.CHANGE
        return Direction.RUN if state.domain in _UNKNOWN_WORLD else self._switched(state, intent_type)

    @staticmethod
    def _switched(state: State, intent_type: str) -> Direction:
        on, off = _REVERSED.get(state.domain, (Direction.ON, Direction.OFF))
        if intent_type == intent.INTENT_TOGGLE:
            return off if state.domain == "lock" else on
        return on if intent_type == intent.INTENT_TURN_ON else off

    def _effect(self, state: State, direction: Direction) -> Effect:
        satisfied = state.state in _TARGET_STATES.get(direction, ())
        return Effect(state.entity_id, state.name, direction, self._risk(state, direction), satisfied)

    def _risk(self, state: State, direction: Direction) -> Risk:
        if state.entity_id in self.marked:
            return Risk.SAFE if direction in (Direction.LOCK, Direction.CLOSE, Direction.STOP) else Risk.OPENING
        if state.domain == "cover" and self._is_shade(state):
            return Risk.HARMLESS
        if state.domain in _REVERSED:
            return Risk.OPENING if direction in _OPENS else Risk.SAFE
        if state.domain == "siren":
            return Risk.SAFE if direction is Direction.OFF else Risk.UNKNOWN
        if state.domain in (*_UNKNOWN_WORLD, "switch", "input_boolean") and self._opens_a_door(state):
            return Risk.OPENING if direction is not Direction.OFF else Risk.SAFE
        return Risk.UNKNOWN if state.domain in _UNKNOWN_WORLD else Risk.HARMLESS

    def _is_shade(self, state: State) -> bool:
        """Return whether a cover is one by its class or, without one, by its name; when in doubt, it is a door."""
        device_class = state.attributes.get(ATTR_DEVICE_CLASS)
        if device_class is not None:
            return device_class in _SHADES
        shades, doors = (self.kinds.called("cover", *classes) for classes in (_SHADES, _OPENINGS))
        return any(relates(state.name, (kind,)) for kind in shades) and not any(
            relates(state.name, (kind,)) for kind in doors
        )

    def _opens_a_door(self, state: State) -> bool:
        """Return whether something that could do anything is called like a door, a gate or a garage.

        Not if it is called like something else as well, such as a light: the garage's light opens nothing.
        """
        doors = self.kinds.called("cover", *_DOORS)
        named = [kind for kind in doors if relates(state.name, (kind,))]
        if state.domain in _UNKNOWN_WORLD:
            named += [kind for kind in doors if is_part_of(kind, state.name)]
        others = frozenset().union(*(self.kinds.called(domain) for domain in _NO_DOORS))
        return bool(named) and not relates(without(state.name, named), others)


def unwrapped(tool: llm.Tool) -> llm.Tool:
    """Return the tool behind the namespaces that several APIs put around it."""
    while isinstance(tool, llm.NamespacedTool):
        tool = tool.tool
    return tool


def _is_core(tool: llm.Tool) -> bool:
    return type(tool).__module__.startswith("homeassistant.components.")


def _moved(state: State, position: object) -> Direction:
    """Return in which direction a position moves a thing; where that is not known, everything but shut is open."""
    current = state.attributes.get("current_position")
    if not isinstance(position, int | float) or position > (current if isinstance(current, int | float) else 0):
        return Direction.OPEN
    return Direction.CLOSE


def _text(value: object) -> str | None:
    """Return a value as intents read it: a number is a name, too."""
    return None if value is None or value == "" else str(value)


def _listed(value: object) -> list[str] | None:
    if not value:
        return None
    return [str(item) for item in value] if isinstance(value, Iterable) and not isinstance(value, str) else [str(value)]
