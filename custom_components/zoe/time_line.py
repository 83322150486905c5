"""The line with the current time that Home Assistant ends a system prompt with.

It differs in every request, and all that follows it has to be computed again. So it moves behind what the user said,
each time with the moment at which that was said: what is in the conversation already stays as it is.
"""

import re
from datetime import datetime
from typing import Final

from homeassistant.util import dt as dt_util

_LINE: Final = re.compile(r"\n?Current time is \d\d:\d\d:\d\d\. Today's date is \d{4}-\d\d-\d\d\.(?=\n|\Z)\n?")


def without_time(prompt: str) -> tuple[str, bool]:
    """Return a system prompt without the line, and whether it had one."""
    rest, found = _LINE.subn("\n", prompt, count=1)
    return (rest.rstrip("\n"), True) if found else (prompt, False)


def with_time(said: str, moment: datetime) -> str:
    """Return what the user said at `moment`, with the line behind it, in the home's time zone."""
    local = dt_util.as_local(moment)
    return f"{said}\n\nCurrent time is {local:%H:%M:%S}. Today's date is {local:%Y-%m-%d}."
