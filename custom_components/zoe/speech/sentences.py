"""The integration's own sentences, in the language of a turn where there is a translation, else in English."""

from collections.abc import Iterable
from typing import Final, Self

from homeassistant.core import HomeAssistant
from homeassistant.helpers.translation import async_get_translations

from ..const import DOMAIN
from .units import VOCABULARIES

LANGUAGES: Final = frozenset(VOCABULARIES)
_CATEGORY: Final = "common"


class Sentences:
    """Says what the model did not, or said wrongly. `language` is the one of the sentences."""

    def __init__(self, language: str, texts: dict[str, str]) -> None:
        self.language = language
        self._texts = texts

    def speaks(self, language: str) -> bool:
        """Return whether the sentences are in the language of this tag."""
        return self.language == language.partition("-")[0].lower()

    @classmethod
    async def async_load(cls, hass: HomeAssistant, language: str) -> Self:
        """Load the sentences for a language tag such as "de-CH"."""
        wanted = language.partition("-")[0].lower()
        spoken = wanted if wanted in LANGUAGES else "en"
        return cls(spoken, await async_get_translations(hass, spoken, _CATEGORY, {DOMAIN}))

    def say(self, key: str, names: Iterable[str] = (), **values: object) -> str:
        """Return the sentence `key`; `names` fill its placeholder of that name, as a list."""
        return self._text(key).format(names=", ".join(names), **values)

    def words(self, key: str) -> frozenset[str]:
        """Return the words or phrases that the text `key` lists with commas."""
        return frozenset(word.strip().casefold() for word in self._text(key).split(","))

    def _text(self, key: str) -> str:
        return self._texts[f"component.{DOMAIN}.{_CATEGORY}.{key}"]
