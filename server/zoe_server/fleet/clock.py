"""`Clock`: the time as the fleet sees it, so that a test can make it pass."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Seconds that never go back."""

    def now_s(self) -> float:
        """Return the present moment."""
        return time.monotonic()

    async def sleep(self, duration_s: float) -> None:
        """Return after `duration_s`."""
        await asyncio.sleep(duration_s)
