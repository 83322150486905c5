"""A JSON schema as a document: where its references lead, and how a place in it is named.

This module knows nothing of grammars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

MAX_NODES: Final = 5_000
"""Documents that have, or unfold to, more schemas are refused."""
MAX_DEPTH: Final = 40
"""Schemas nested deeper are refused."""

_LONGEST_NAME: Final = 60
_PLAIN_NAME: Final = re.compile(r"[\w$-]{1,60}")


class SchemaError(ValueError):
    """A schema cannot be honoured exactly; `path` says where, beginning with a dot or a bracket unless it is empty."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def step_to(key: str | int) -> str:
    """Return how a path goes on to a member: `.name`, `[0]`, `["any text"]`."""
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN_NAME.fullmatch(key) else f"[{json.dumps(key[:_LONGEST_NAME], ensure_ascii=False)}]"


def find(document: Mapping[str, Any], reference: str) -> object:
    """Return whatever a reference such as `#/$defs/area` points to; None if there is nothing."""
    node: Any = document
    for key in pointer(reference):
        if isinstance(node, Mapping):
            node = node.get(key)
        elif isinstance(node, list | tuple) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node


def pointer(reference: str) -> list[str]:
    """Return the keys on the way to what a local reference points to."""
    parts = unquote(reference.removeprefix("#")).split("/")[1:]
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]
