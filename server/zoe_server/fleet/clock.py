"""`Clock`: the time as the fleet sees it, so that a test can make it pass."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Seconds that never go back."""

    def now_s(self) -> float:
        """Return the present moment."""
        return time.monotonic()

    async def sleep_until(self, moment_s: float) -> None:
        """Return when `moment_s` has come."""
        await asyncio.sleep(max(0.0, moment_s - self.now_s()))
