"""The string formats of JSON schema that an answer can be held to, as patterns of the values that exist.

Source: RFC 3339, 5.6 (without leap seconds and the year 0), RFC 9562, RFC 2673.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_YEAR: Final = r"(000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"
_DAYS: Final = r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_LEAP_YEAR: Final = r"(\d\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_DATE: Final = f"({_YEAR}-{_DAYS}|{_LEAP_YEAR}-02-29)"
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
_BYTE: Final = r"(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])"
_HEX: Final = "[0-9a-fA-F]"

FORMATS: Final[Mapping[str, str]] = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "uuid": f"^{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}}$",
    "ipv4": rf"^{_BYTE}(\.{_BYTE}){{3}}$",
}
