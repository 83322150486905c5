"""A list of sentences with what each must change: read from YAML, judged by the state of the home afterwards.

The schema is described at the head of the YAML files. Pure: knows neither Home Assistant nor a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

Values = Mapping[str, Any]
"""What is known of one entity: `state`, `brightness_pct`, `hue`, `saturation`, `position`, `items`, ..."""

_TOLERANCE: Final = {"brightness_pct": 1, "percentage": 1, "position": 1, "volume_pct": 1, "temperature": 0.1}


@dataclass(frozen=True)
class Sentence:
    """One task."""

    say: str
    kind: str = ""
    setup: Mapping[str, Values] = field(default_factory=dict)
    expect: Mapping[str, Values] = field(default_factory=dict)
    reply: tuple[str, ...] = ()


def load_sentences(path: Path) -> list[Sentence]:
    """Read the tasks of a file.

    Raises:
        TypeError: an item has an unknown key or no `say`.
    """
    items = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Sentence(**{**item, "reply": tuple(item.get("reply", ()))}) for item in items]


def color_name(hue: float, saturation: float) -> str:
    """Return the name of a colour; hue in degrees, saturation in percent."""
    if saturation < 15:  # noqa: PLR2004 -- the ranges are those of the schema
        return "white"
    if 315 <= hue < 345 or (saturation < 50 and (hue >= 345 or hue < 15)):  # noqa: PLR2004
        return "pink"
    limits = (
        (15, "red"),
        (48, "orange"),
        (75, "yellow"),
        (165, "green"),
        (195, "cyan"),
        (258, "blue"),
        (315, "purple"),
    )
    return next((name for limit, name in limits if hue < limit), "red")


def faults(sentence: Sentence, before: Mapping[str, Values], after: Mapping[str, Values], reply: str) -> list[str]:
    """Return what is wrong after a sentence; nothing, if it did what it should and nothing else."""
    wrong = [
        f"{entity_id}: {key} is {_actual(after[entity_id], key)!r}, not {wanted!r}"
        for entity_id, values in sentence.expect.items()
        for key, wanted in values.items()
        if not _matches(key, _actual(after[entity_id], key), wanted)
    ]
    wrong += [
        f"{entity_id}: changed from {dict(before[entity_id])} to {dict(values)}"
        for entity_id, values in after.items()
        if entity_id not in sentence.expect and values != before[entity_id]
    ]
    if sentence.reply and not any(occurs(text, reply) for text in sentence.reply):
        wrong.append(f"the reply {reply!r} has none of {list(sentence.reply)}")
    return wrong


def occurs(text: str, reply: str) -> bool:
    """Return whether `text` stands in the reply as whole words, whatever the case."""
    spoken = reply.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").strip()
    spoken = spoken if spoken.endswith(".") else f"{spoken}."
    return re.search(rf"(?<![a-z0-9]){re.escape(text)}(?![a-z0-9])", spoken) is not None


def _actual(values: Values, key: str) -> Any:  # noqa: ANN401 -- a YAML value
    if key == "color_name":
        return color_name(values["hue"], values["saturation"]) if "hue" in values else None
    return values.get(key)


def _matches(key: str, actual: Any, wanted: Any) -> bool:  # noqa: ANN401 -- YAML values
    if key in _TOLERANCE:
        return actual is not None and abs(float(actual) - float(wanted)) <= _TOLERANCE[key] + 1e-9
    if key == "state" and isinstance(wanted, list):
        return actual in wanted
    if key in ("items", "completed"):
        return sorted(str(item).lower() for item in actual or ()) == sorted(str(item).lower() for item in wanted)
    return bool(actual == wanted)
