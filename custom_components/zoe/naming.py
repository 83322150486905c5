"""The names in the arguments of a tool call, held against the things and places of the home."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import llm

from . import refusal
from .grounding import GROUNDED_ARGUMENTS, ArgumentValues, argument_names, argument_values
from .intervention import Intervention
from .inventory import Inventory, inventory
from .names import Found, Named, Resolution, resolve

_EVERYTHING: Final = "all"
"""The name by which Home Assistant's intents mean every device."""


class Note(Protocol):
    """Counts and traces something that was put right."""

    def __call__(self, kind: str, **details: object) -> None:
        """Take note of it."""


@dataclass(frozen=True, slots=True)
class Grounding:
    """What exists, and which of it each tool may name (`argument_values`)."""

    inventory: Inventory
    values: ArgumentValues

    @classmethod
    @callback
    def of(cls, hass: HomeAssistant, api: llm.APIInstance) -> Self:
        """Look around in the home."""
        assistant = api.llm_context.assistant
        return cls(inventory(hass, assistant), argument_values(hass, assistant, api.tools))

    def resolved(self, tool: llm.Tool, arguments: dict[str, Any], note: Note) -> dict[str, Any]:
        """Return `arguments` with names that exist; places first, because they tell apart things of one name.

        Raises:
            RefusalError: nothing has such a name, or several things have.
        """
        result = dict(arguments)
        grounded = [name for name in GROUNDED_ARGUMENTS if name in result and name in argument_names(tool)]
        for argument in sorted(grounded, key=lambda name: GROUNDED_ARGUMENTS[name] == "name"):
            known = self._known(tool, argument)
            if known:
                self._resolve(tool, argument, known, result, note)
        return result

    def _known(self, tool: llm.Tool, argument: str) -> list[Named]:
        """Return what `argument` may name; nothing means anything."""
        allowed = set(self.values.get(f"{tool.name}.{argument}", self.values.get(argument, [])))
        return [named for named in self.inventory[GROUNDED_ARGUMENTS[argument]] if named.name in allowed]

    def _resolve(self, tool: llm.Tool, argument: str, known: list[Named], result: dict[str, Any], note: Note) -> None:
        said = result[argument]
        if isinstance(said, list):
            result[argument] = [_one(argument, item, _search(item, known), note) for item in said]
        elif isinstance(said, str) and said != _EVERYTHING:
            found = self._found(argument, said, known, result)
            if found.name is None and self._moved_to_area(tool, argument, said, result):
                note(Intervention.AREA_AS_NAME, said=said)
                return
            result[argument] = _one(argument, said, found, note)
            place = argument.replace("name", "area")
            if found.area and place in argument_names(tool):
                result.setdefault(place, found.area)

    def _found(self, argument: str, said: str, known: list[Named], result: dict[str, Any]) -> Resolution:
        area = result.get(argument.replace("name", "area")) if GROUNDED_ARGUMENTS[argument] == "name" else None
        here = [named for named in known if area in named.areas]
        found = resolve(said, here) if here else Resolution()
        return found if found.name else resolve(said, known)

    def _moved_to_area(self, tool: llm.Tool, argument: str, said: str, result: dict[str, Any]) -> bool:
        """Take a name that is an area as one, if a domain says which things in it are meant."""
        free = argument == "name" and "area" not in result and "domain" in result
        if not free or "area" not in argument_names(tool):
            return False
        found = resolve(said, self._known(tool, "area"))
        if found.name is None or found.found not in (Found.EXACT, Found.LETTERS):
            return False
        del result["name"]
        result["area"] = found.name
        return True


def _search(said: object, known: list[Named]) -> Resolution:
    return resolve(str(said), known)


def _one(argument: str, said: object, found: Resolution, note: Note) -> str:
    """Return the name that was found."""
    if found.name is None:
        tell: Callable[..., refusal.RefusalError] = refusal.ambiguous_name if found.ambiguous else refusal.unknown_name
        raise tell(argument, str(said), found.candidates)
    if found.name != said:
        note(f"name_{found.found}", said=said, meant=found.name)
    return found.name
