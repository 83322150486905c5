"""Metrics as Prometheus reads them: which of its formats is asked for, and the text.

Sources: Prometheus, "Exposition formats"; OpenMetrics 1.0; RFC 9110, 12.5.1 (Accept).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

Format = Literal["text", "openmetrics"]
_OPENMETRICS_TYPE: Final = "application/openmetrics-text"
_TEXT_TYPE: Final = "text/plain"
_VERSION: Final = "version="


def asked_format(accept: str) -> Format | None:
    """Return the format that a header `Accept` asks for as Prometheus does, None if it asks for none.

    `text/plain` counts with a version only: without one, anybody sends it who takes any text.
    """
    ranges = [_media_range(part) for part in accept.split(",")]
    if any(kind == _OPENMETRICS_TYPE for kind, _ in ranges):
        return "openmetrics"
    versioned = any(kind == _TEXT_TYPE and any(p.startswith(_VERSION) for p in given) for kind, given in ranges)
    return "text" if versioned else None


def _media_range(part: str) -> tuple[str, list[str]]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    return kind, parameters


@dataclass(frozen=True, slots=True)
class _Collected:
    """Families in the place of a registry, which is what the library writes out."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def content_type(form: Format) -> str:
    """Return the content type of `form`."""
    return openmetrics.CONTENT_TYPE_LATEST if form == "openmetrics" else CONTENT_TYPE_PLAIN_0_0_4


def exposition(families: Sequence[Metric], form: Format) -> bytes:
    """Return the text, in UTF-8."""
    if form == "openmetrics":
        text: bytes = openmetrics.generate_latest(_Collected(families))  # type: ignore[no-untyped-call]
        return text
    return generate_latest(_Collected(families))
