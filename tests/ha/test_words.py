"""The words of the languages are complete, and there are words for all of the integration's languages."""

import json
import re
from pathlib import Path

import pytest

from custom_components.zoe.speech import units as module
from custom_components.zoe.speech.sentences import LANGUAGES
from custom_components.zoe.speech.units import CURRENCY, VOCABULARIES, Vocabulary, vocabulary

FOLDER = Path(module.__file__).parent / "words"
ENGLISH = VOCABULARIES["en"]
LEFT_OUT = {"es": {"mi", "cd"}, "fr": {"cd"}, "it": {"mi", "cd"}}  # common words there
ONLY_ENGLISH = {"p/kWh"}
SIGNS = set("=≠≈±\u00d7÷≤≥<>√²³^")


def test_every_language_has_a_file() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(VOCABULARIES) == LANGUAGES


@pytest.mark.parametrize(("language", "words"), VOCABULARIES.items())
def test_words(language: str, words: Vocabulary) -> None:
    assert set(words.units) == set(ENGLISH.units) - LEFT_OUT.get(language, set()) - (
        ONLY_ENGLISH if language != "en" else set()
    )
    assert set(words.currencies) == set(ENGLISH.currencies)
    assert set(words.signs) == SIGNS
    assert set(words.per_unit) <= set(words.units)
    assert set(words.no_unit_attached) <= set(words.units)
    for name in [*words.units.values(), *words.currencies.values()]:
        for form in (name.one, name.many):
            assert form == form.strip()
            assert re.fullmatch(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*", form), form
    texts = [words.range, words.minus, words.per, words.per_several, *words.signs.values()]
    lists = [words.counted, words.magnitudes, words.reporting, words.placeholders]
    assert all(texts)
    assert all(lists)
    assert "minutes" not in words.counting or language in ("en", "fr")


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.stem)
def test_no_key_is_written_twice(path: Path) -> None:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)


def test_units_that_are_more_often_words_are_left_out() -> None:
    assert {"in", "a", "M", "C", "t", "ha", "B", "p", "y"}.isdisjoint(ENGLISH.units)


def test_codes_of_currencies_are_no_beginnings_of_words() -> None:
    assert re.match(CURRENCY, "CHF20")
    assert not re.match(CURRENCY, "krill")


def test_the_language_of_a_tag() -> None:
    assert vocabulary("de-CH") is VOCABULARIES["de"]
    assert vocabulary("ja") is None
