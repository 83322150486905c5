"""The things and places that the arguments of a tool call name, held against those of the home.

    {"name": "kitchen ceiling light"}                   -> {"name": "Ceiling light"}   `names.resolve`
    {"name": "Smart lock"}, a lock and its battery      -> {"name": "lock.smart"}      the one that can do it
    {"name": "Corner", "domain": ["light"]}, a switch   -> {"name": "Corner"}          the one of that name
    {"entity_id": "light.desk"}                         -> {"name": "Desk lamp"}       another argument
    {"name": "Kitchen", "domain": ["light"]}            -> {"area": "Kitchen", ...}    a place, no thing

What is not known, or is several things, is refused with the candidates.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol

import probatio
from homeassistant.helpers import llm
from homeassistant.helpers.selector import AreaSelector, EntitySelector, FloorSelector

from ..home import GROUNDED_ARGUMENTS, ArgumentValues, Inventory, Named, argument_names
from .effects import Effect, Judge, unwrapped
from .names import Found, Resolution, resolve
from .outcome import Intervention, RefusalError, ambiguous_name, unknown_argument, unknown_name

_EVERYTHING: Final = "all"
"""The name by which Home Assistant's intents mean every device.
"""

_NAMING_KEYS: Final = ("area", "device", "entity", "floor", "location", "name", "place", "room", "target", "zone")
"""What is in the names of arguments, in programs, that stand for a thing or a place."""
_FILTERS: Final = ("area", "floor", "domain", "device_class")
_WHOLE: Final = (Found.EXACT, Found.LETTERS)

type Arguments = dict[str, Any]


class Note(Protocol):
    """Counts and traces something that was put right."""

    def __call__(self, kind: str, **details: object) -> None:
        """Take note of it."""


@dataclass(frozen=True, slots=True)
class Grounding:
    """What exists, and which of it each tool may name (`argument_values`)."""

    inventory: Inventory
    values: ArgumentValues
    judge: Judge

    async def async_resolved(self, tool: llm.Tool, arguments: Arguments, note: Note) -> Arguments:
        """Return `arguments` with names that exist; places first, because they tell apart things of one name.

        Raises:
            RefusalError: nothing has such a name, several things have, or the tool has no such argument.
        """
        result = self._known_arguments(tool, arguments, note)
        if isinstance(unwrapped(tool), llm.ActionTool):
            return self._selected(tool, result, note)
        grounded = [name for name in GROUNDED_ARGUMENTS if name in result and name in argument_names(tool)]
        for argument in sorted(grounded, key=lambda name: GROUNDED_ARGUMENTS[name] == "name"):
            known = self._known(tool, argument)
            if known:
                self._resolve(tool, argument, known, result, note)
        return await self._one_thing(tool, result, note)

    def _known_arguments(self, tool: llm.Tool, arguments: Arguments, note: Note) -> Arguments:
        """Return arguments that the tool has; another one that names a thing or a place stands for that."""
        names = argument_names(tool)
        if not names:
            return arguments
        result = {key: value for key, value in arguments.items() if key in names}
        for key in arguments.keys() - names:
            argument, value = self._meant(key, arguments[key], names - result.keys())
            if argument is None and self._is_said_twice(value, result.get("name")):
                continue
            if argument is None:
                raise unknown_argument(tool.name, key, sorted(names))
            note(Intervention.ARGUMENT_NAME, said=key, argument=argument)
            result[argument] = value
        return result

    def _meant(self, key: str, value: object, free: Collection[str]) -> tuple[str | None, object]:
        """Return which of the `free` arguments a value is for that stands under another key, and the value."""
        free = free if any(part in key.casefold() for part in _NAMING_KEYS) else ()
        while isinstance(value, list | dict) and len(value) == 1:
            (value,) = value.values() if isinstance(value, dict) else value
        for argument in ("name", "area", "floor"):
            if argument in free and isinstance(value, str):
                found = resolve(value, self.inventory[argument])
                if found.name is not None and found.found in _WHOLE:
                    return argument, value
        return None, value

    def _is_said_twice(self, value: object, name: object) -> bool:
        """Return whether a value is another name of the thing that is named already."""
        things = [{one.key for one in self.inventory["name"] if said in (one.name, one.key)} for said in (value, name)]
        return bool(things[0] & things[1])

    def _selected(self, tool: llm.Tool, arguments: Arguments, note: Note) -> Arguments:
        """Return the fields of a script with the ids of entities and the names of places that exist."""
        result = dict(arguments)
        for marker, selector in tool.parameters.schema.items():
            field = str(marker.schema if isinstance(marker, probatio.Marker) else marker)
            known = self._selectable(selector)
            if field not in result or known is None:
                continue
            said = result[field]
            several = isinstance(said, list)
            found = [self._entity_or_place(field, one, known, selector, note) for one in (said if several else [said])]
            result[field] = found if several else found[0]
        return result

    def _selectable(self, selector: object) -> list[Named] | None:
        """Return what a selector can choose; None for one that chooses no thing and no place."""
        if isinstance(selector, AreaSelector):
            return self.inventory["area"]
        if isinstance(selector, FloorSelector):
            return self.inventory["floor"]
        if not isinstance(selector, EntitySelector):
            return None
        config: Any = selector.config
        filters = [*config.get("filter", ()), config]
        domains = {domain for one in filters for domain in _as_list(one.get("domain"))}
        return [named for named in self.inventory["name"] if not domains or named.key.partition(".")[0] in domains]

    @staticmethod
    def _entity_or_place(field: str, said: object, known: list[Named], selector: object, note: Note) -> str:
        found = resolve(str(said), known)
        name = _one(field, said, found, note)
        if not isinstance(selector, EntitySelector):
            return name
        return next(named.key for named in known if named.name == name and found.area in (None, *named.areas))

    def _known(self, tool: llm.Tool, argument: str) -> list[Named]:
        """Return what `argument` may name; nothing means anything. A script has a tool of its own, and a name as
        well."""
        allowed = set(self.values.get(f"{tool.name}.{argument}", self.values.get(argument, [])))
        intent_tool = unwrapped(tool)
        if allowed and argument == "name" and isinstance(intent_tool, llm.IntentTool):
            can = {named.key.partition(".")[0] for named in self.inventory["name"]}
            able = {domain for domain in can if self.judge.can(intent_tool.intent_type, domain)}
            return [named for named in self.inventory["name"] if named.key.partition(".")[0] in able]
        return [named for named in self.inventory[GROUNDED_ARGUMENTS[argument]] if named.name in allowed]

    def _resolve(self, tool: llm.Tool, argument: str, known: list[Named], result: Arguments, note: Note) -> None:
        said = result[argument]
        filters = argument in _FILTERS and isinstance(result.get("name"), str)
        if filters and any(resolve(str(item), known).name is None for item in _as_list(said)):
            note(Intervention.FILTER_DROPPED, argument=argument)  # one that nothing passes; the name tells the thing
            del result[argument]
        elif isinstance(said, list):
            result[argument] = [_one(argument, item, resolve(str(item), known), note) for item in said]
        elif isinstance(said, str) and said != _EVERYTHING:
            found = self._found(argument, said, known, result)
            if found.name is None and self._moved_to_area(tool, argument, said, result):
                note(Intervention.AREA_AS_NAME, said=said)
                return
            result[argument] = _one(argument, said, found, note)
            place = argument.replace("name", "area")
            if found.area and place in argument_names(tool):
                result.setdefault(place, found.area)

    def _found(self, argument: str, said: str, known: list[Named], result: Arguments) -> Resolution:
        area = result.get(argument.replace("name", "area")) if GROUNDED_ARGUMENTS[argument] == "name" else None
        here = [named for named in known if area in named.areas]
        found = resolve(said, here) if here else Resolution()
        return found if found.name else resolve(said, known)

    def _moved_to_area(self, tool: llm.Tool, argument: str, said: str, result: Arguments) -> bool:
        """Take a name that is an area as one, if a domain says which things in it are meant."""
        free = argument == "name" and "area" not in result and "domain" in result
        if not free or "area" not in argument_names(tool):
            return False
        found = resolve(said, self._known(tool, "area"))
        if found.name is None or found.found not in _WHOLE:
            return False
        del result["name"]
        result["area"] = found.name
        return True

    async def _one_thing(self, tool: llm.Tool, arguments: Arguments, note: Note) -> Arguments:
        """Return a call whose name is one thing that can do it, without filters that it does not pass.

        Where several things that can have the name, they stay: Home Assistant knows whose room is meant.
        """
        intent_tool, name = unwrapped(tool), arguments.get("name")
        if not isinstance(intent_tool, llm.IntentTool) or not isinstance(name, str) or name == _EVERYTHING:
            return arguments
        same = {named.key for named in self.inventory["name"] if name in (named.name, named.key)}
        if not same:
            return arguments
        able = await self._able(intent_tool, arguments)
        if not able:
            rest = {key: value for key, value in arguments.items() if key not in _FILTERS}
            able = await self._able(intent_tool, rest)
            if len(able) != 1:
                return arguments
            note(Intervention.FILTER_DROPPED, **{key: value for key, value in arguments.items() if key in _FILTERS})
            arguments = rest
        if len(able) == 1 and len(same) > 1:
            return {**arguments, "name": able[0].entity_id}
        return arguments

    async def _able(self, tool: llm.IntentTool, arguments: Arguments) -> tuple[Effect, ...]:
        return (await self.judge.async_intent_effects(tool.intent_type, arguments)).each


def _one(argument: str, said: object, found: Resolution, note: Note) -> str:
    """Return the name that was found."""
    if found.name is None:
        tell: Callable[..., RefusalError] = ambiguous_name if found.ambiguous else unknown_name
        raise tell(argument, str(said), found.candidates)
    if found.name != said:
        note(f"name_{found.found}", said=said, meant=found.name)
    return found.name


def _as_list(value: object) -> list[str]:
    return (
        [] if value is None else [str(one) for one in value] if isinstance(value, list | set | tuple) else [str(value)]
    )
