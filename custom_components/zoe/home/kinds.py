"""How Home Assistant calls kinds of things in the languages of a home, from its own translations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from homeassistant.core import HomeAssistant
from homeassistant.helpers.translation import async_get_translations
from homeassistant.util.hass_dict import HassKey

_ALWAYS: Final = frozenset({"cover", "lock", "valve"})


@dataclass(frozen=True, slots=True)
class Kinds:
    """The names of kinds, by "domain" and "domain.device_class"."""

    names: Mapping[str, frozenset[str]]

    @property
    def all_names(self) -> frozenset[str]:
        """The names of all kinds."""
        return frozenset().union(*self.names.values())

    def called(self, domain: str, *device_classes: str) -> frozenset[str]:
        """Return the names of a domain, or of device classes of it."""
        keys = [f"{domain}.{device_class}" for device_class in device_classes] or [domain]
        return frozenset().union(*(self.names.get(key, frozenset()) for key in keys))


type _Wanted = tuple[frozenset[str], frozenset[str]]

_KINDS: HassKey[dict[_Wanted, Kinds]] = HassKey("zoe_kinds")


async def async_load_kinds(hass: HomeAssistant, *languages: str) -> Kinds:
    """Return the names of the kinds that there are, in English and in `languages` (tags)."""
    domains = frozenset(entity_id.partition(".")[0] for entity_id in hass.states.async_entity_ids()) | _ALWAYS
    wanted = domains, frozenset(("en", *(tag.partition("-")[0].lower() for tag in languages)))
    known = hass.data.setdefault(_KINDS, {})
    if wanted not in known:
        known[wanted] = await _async_read(hass, *wanted)
    return known[wanted]


async def _async_read(hass: HomeAssistant, domains: frozenset[str], languages: frozenset[str]) -> Kinds:
    names: dict[str, set[str]] = {}
    for language in languages:
        texts = await async_get_translations(hass, language, "entity_component", domains)
        for path, text in texts.items():
            _, domain, _, device_class, *rest = path.split(".")
            if rest == ["name"]:
                names.setdefault(domain if device_class == "_" else f"{domain}.{device_class}", set()).add(text)
    return Kinds({key: frozenset(texts) for key, texts in names.items()})
