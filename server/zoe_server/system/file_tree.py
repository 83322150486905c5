"""`FileTree`: what a machine says of itself in small files, below a root that tests replace by a recorded one.

A file that is not there, may not be read or is empty is no error: machines differ in what they tell. It knows no
meaning of any file.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

_LOGGER: Final = logging.getLogger(__name__)
_THIS_MACHINE: Final = Path("/")


class FileTree:
    """The files below `root`; paths are given without a leading slash, as `proc/meminfo`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def is_this_machine(self) -> bool:
        """Whether these are the files of the machine that runs this program, and not recorded ones."""
        return self._root == _THIS_MACHINE

    def text(self, path: str) -> str | None:
        """Return the file's text without white space and null characters around it, None where there is none."""
        try:
            text = (self._root / path).read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError) as error:
            _LOGGER.debug("/%s tells nothing: %s", path, error)
            return None
        return text.strip(" \t\r\n\0") or None

    def lines(self, path: str) -> list[str]:
        """Return the lines of the file, none where there is none."""
        return (self.text(path) or "").splitlines()

    def number(self, path: str) -> int | None:
        """Return the whole number that is all of the file, None where it is none."""
        text = self.text(path)
        return whole_number(text) if text is not None else None

    def matches(self, pattern: str) -> list[str]:
        """Return the paths of the files that match, in the order of their names."""
        try:
            return [path.relative_to(self._root).as_posix() for path in sorted(self._root.glob(pattern))]
        except OSError as error:
            _LOGGER.debug("/%s tells nothing: %s", pattern, error)
            return []


def whole_number(text: str) -> int | None:
    """Return the number that `text` is, None where it is none or has more digits than a 64-bit number."""
    digits = text.strip()
    is_number = digits.removeprefix("-").isdecimal() and digits.isascii() and len(digits) <= len(str(-(1 << 63)))
    return int(digits) if is_number else None
