"""Who this server is: a random id, made once and kept in the user's data folder.

It tells clients that a server at another address is still the same one. It is no secret and proves nothing.
"""

from __future__ import annotations

import logging
import re
import uuid
from pathlib import Path
from typing import Final

_LOGGER: Final = logging.getLogger(__name__)
_ID: Final = re.compile(r"[0-9a-f]{32}")


def server_id(path: Path) -> str | None:
    """Return the id in the file at `path`, which is made if it is missing or damaged.

    None where it cannot be kept: an id that changes with every start would be worse than none.
    """
    try:
        return _read(path) or _make(path)
    except OSError as error:
        _LOGGER.warning(
            "%s cannot be kept (%s), so clients know this server by its address only; make the folder writable",
            path,
            error.strerror or error,
        )
        return None


def _read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return text if _ID.fullmatch(text) else None


def _make(path: Path) -> str:
    made = uuid.uuid4().hex
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{made}.part")
    part.write_text(f"{made}\n", encoding="ascii")
    part.replace(path)
    return made
