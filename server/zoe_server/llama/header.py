"""The header of a model file, which llama.cpp gives as text, with the numbers and truth values that it means.

In `general.*` nearly everything is text, also where it looks like a number (a version, a name); elsewhere what looks
like a number is one.
Source: ggml, `docs/gguf.md`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

_TEMPLATE: Final = "tokenizer.chat_template"
_NUMBERS_OF_GENERAL: Final = re.compile(r"general\.(alignment|file_type|quantization_version|sampling\..+|\w+\.count)")
_WHOLE: Final = re.compile(r"-?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"-?[0-9]+\.[0-9]+")

HeaderValue = str | int | float | bool


def typed(header: Mapping[str, str]) -> dict[str, HeaderValue]:
    """Return the values as what they are; chat templates, which are programs, are left out."""
    return {key: _value(key, text) for key, text in header.items() if not key.startswith(_TEMPLATE)}


def _value(key: str, text: str) -> HeaderValue:
    if key.startswith("general.") and not _NUMBERS_OF_GENERAL.fullmatch(key):
        return text
    if text in ("true", "false"):
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    number = float(text) if _DECIMAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text  # JSON has no infinity
