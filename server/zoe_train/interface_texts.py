"""Sentences of Home Assistant's own user interface: text in a language that asks nothing of a home.

They are no talk, but there are hundreds in nearly every language, and they teach a classifier what the ordinary words
of that language are. Sentences about switching things are left out.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import hass_frontend

_FOLDER: Final = Path(hass_frontend.__file__).parent / "static" / "translations"
_NAMES: Final = {"zh-CN": "zh-Hans", "zh-TW": "zh-Hant", "zh-HK": "zh-Hant", "de-CH": "de"}
_ABOUT_DEVICES: Final = re.compile(
    r"\.(card|card_features|panel\.lovelace|components\.entity|state|device_automation)\b"
)
_PLACEHOLDER: Final = re.compile(r"[{}<>\[\]]|https?:")
_MIN_WORDS: Final = 4
_MIN_CHARACTERS: Final = 12
_MAX_CHARACTERS: Final = 120


def interface_texts(language: str) -> list[str]:
    """Return the sentences in `language`, sorted; none where there is no translation. English ones do not count."""
    texts = _texts(_NAMES.get(language, language))
    return sorted(texts if language == "en" else texts - _texts("en"))


@functools.cache
def _texts(name: str) -> frozenset[str]:
    files = list(_FOLDER.glob(f"{name}-{'[0-9a-f]' * 32}.json"))
    data = json.loads(files[0].read_text(encoding="utf-8")) if files else {}
    return frozenset(text for path, text in _leaves(data, "") if _is_sentence(path, text))


def _leaves(data: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(data, str):
        yield path, data


def _is_sentence(path: str, text: str) -> bool:
    if _ABOUT_DEVICES.search(path) or _PLACEHOLDER.search(text) or len(text) > _MAX_CHARACTERS:
        return False
    return len(text.split()) >= _MIN_WORDS or (not text.isascii() and len(text) >= _MIN_CHARACTERS)
