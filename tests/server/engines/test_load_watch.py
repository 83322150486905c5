"""How long a load is waited for, with a clock that is set by hand."""

from pathlib import Path

import pytest

from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.load_watch import LoadWatch
from zoe_server.engines.process import Work

STALL_S = 300.0
STUCK_S = 1800.0


class Load:
    """A process that computes all the time, or not, and the watch over it."""

    def __init__(self, *, computes: bool) -> None:
        self._computes = computes
        self._now_s = 5.0
        spec = ModelSpec("m", Path("unused"), stuck_load_s=STUCK_S)
        self.watch = LoadWatch(spec, self._work, STALL_S, lambda: self._now_s)

    def after(self, seconds: float) -> str | None:
        """Return what is objected to after so many more seconds, in which somebody looked every now and then."""
        end_s = self._now_s + seconds
        while self._now_s < end_s:
            self._now_s = min(end_s, self._now_s + 10.0)
            if (objection := self.watch.objection()) is not None:
                return objection
        return None

    def _work(self) -> Work:
        return Work(cpu_s=self._now_s if self._computes else 1.0)


@pytest.mark.parametrize(("computes", "bound_s"), [(False, STALL_S), (True, STUCK_S)])
def test_silence_has_a_bound_that_is_longer_for_who_computes(computes: bool, bound_s: float) -> None:
    load = Load(computes=computes)
    assert load.after(bound_s - 10.0) is None
    objection = load.after(10.0)
    assert objection is not None
    assert f"{bound_s:.0f} s" in objection
    assert ("stuck_load_after_s" in objection) is computes


@pytest.mark.parametrize(("computes", "bound_s"), [(False, STALL_S), (True, STUCK_S)])
def test_a_word_begins_it_anew(computes: bool, bound_s: float) -> None:
    load = Load(computes=computes)
    for _ in range(3):
        assert load.after(bound_s - 10.0) is None
        load.watch.heard()
    assert load.after(bound_s) is not None
