"""What of the home voice assistants may use: its names, what tools may do with what, and when that changes."""

from .cache import HomeCache, home_cache, names_changed
from .exposure import (
    Exposed,
    Inventory,
    Named,
    area_of,
    async_hide,
    exposed_areas,
    exposed_domains,
    exposed_entities,
    exposed_things,
    inventory,
)
from .kinds import Kinds, async_load_kinds
from .values import (
    GROUNDED_ARGUMENTS,
    ArgumentValues,
    PromptedHome,
    acting_domains,
    argument_names,
    argument_values,
    varies_by_satellite,
)

__all__ = [
    "GROUNDED_ARGUMENTS",
    "ArgumentValues",
    "Exposed",
    "HomeCache",
    "Inventory",
    "Kinds",
    "Named",
    "PromptedHome",
    "acting_domains",
    "area_of",
    "argument_names",
    "argument_values",
    "async_hide",
    "async_load_kinds",
    "exposed_areas",
    "exposed_domains",
    "exposed_entities",
    "exposed_things",
    "home_cache",
    "inventory",
    "names_changed",
    "varies_by_satellite",
]
