"""Which tool a model means that writes its name without the prefix, or with a wrong one.

HassTurnOn, light__HassTurnOn, functions.HassTurnOn, turn_on  -> intent__HassTurnOn, if no other tool ends like it
"""

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

MAX_CANDIDATES: Final = 5

_PREFIX: Final = re.compile(r".*(?:__|[.:/])")
_SIGNS: Final = re.compile(r"[\W_]+")
_SHORTEST_SUFFIX: Final = 4


def resolve_tool(said: str, names: Collection[str]) -> str | None:
    """Return which of `names` is meant, or None if it is none of them, or more than one."""
    if said in names:
        return said
    action = _letters(_PREFIX.sub("", said))
    same = [name for name in names if action and _letters(_PREFIX.sub("", name)) == action]
    ending = [name for name in names if len(action) >= _SHORTEST_SUFFIX and _letters(name).endswith(action)]
    found = same or ending
    return found[0] if len(found) == 1 else None


def similar_tools(said: str, names: Collection[str]) -> list[str]:
    """Return the names that are most like `said`."""
    actions = {_letters(_PREFIX.sub("", name)): name for name in names}
    close = get_close_matches(_letters(_PREFIX.sub("", said)), actions, MAX_CANDIDATES, cutoff=0.3)
    return [actions[action] for action in close] or sorted(names)[:MAX_CANDIDATES]


def _letters(text: str) -> str:
    return _SIGNS.sub("", text).casefold()
