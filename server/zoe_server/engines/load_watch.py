"""`LoadWatch`: is a load that says nothing worth waiting for?"""

from __future__ import annotations

from collections.abc import Callable

from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.process import Work


class LoadWatch:
    """Watches the load of `spec` by what its process says (`heard`) and does (`work`); `now_s` tells the time.

    A process may be silent for the spec's `stuck_load_s` as long as it does something, which is judged every `stall_s`:
    a driver that compiles its kernels at the first start says nothing for many minutes.
    """

    def __init__(self, spec: ModelSpec, work: Callable[[], Work], stall_s: float, now_s: Callable[[], float]) -> None:
        self._spec = spec
        self._work = work
        self._stall_s = stall_s
        self._now_s = now_s
        self.heard()

    def heard(self) -> None:
        """Take note that the load has come further."""
        self._heard_s = self._looked_s = self._now_s()
        self._before = self._work()

    def objection(self) -> str | None:
        """Return why nobody should wait any longer, None if it makes sense to wait."""
        now_s = self._now_s()
        if now_s - self._heard_s >= self._spec.stuck_load_s:
            return (
                f"its load made no progress for {now_s - self._heard_s:.0f} s, although its process computes. What it "
                f"wrote is in its log (GET /admin/models/{self._spec.name}/log); a machine that needs longer needs a "
                "larger stuck_load_after_s in [server]"
            )
        if now_s - self._looked_s < self._stall_s:
            return None
        work = self._work()
        if not work.is_progress(self._before, now_s - self._looked_s):
            return f"its process neither said nor did anything for {self._stall_s:.0f} s while it loaded"
        self._before, self._looked_s = work, now_s
        return None
