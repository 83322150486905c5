"""A day of the three models that a Jetson of 16 GB is for: tools and chat together, vision in their place and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tests.server.fleet.test_hardware import detect
from zoe_server.catalogue.entry import Entry
from zoe_server.catalogue.known import Catalogue, shipped
from zoe_server.fleet.hardware_policy import recommend
from zoe_server.fleet.memory import GPU_OVERHEAD_BYTES
from zoe_server.fleet.model_state import ModelState
from zoe_server.fleet.planner import (
    Drain,
    Evict,
    FleetPolicy,
    Load,
    Refuse,
    Resident,
    Urgency,
    Wait,
    Want,
    decide,
)

TOOLS, CHAT, VISION = "qwen2.5-coder-7b", "llama-3.2-3b", "qwen2-vl-7b"
CATALOGUE = Catalogue(shipped())
POLICY = FleetPolicy()


def entry(name: str) -> Entry:
    found = CATALOGUE.find(name)
    assert found is not None
    return found


def size_bytes(name: str) -> int:
    """Return what a model takes on the GPU."""
    return (entry(name).memory_bytes or 0) + GPU_OVERHEAD_BYTES


@dataclass
class Day:
    """Carries decisions out at once, and writes down what happened."""

    budget_bytes: int
    now_s: float = 0.0
    residents: dict[str, Resident] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    peak_bytes: int = 0

    def until_quiet(self, *wanted: str) -> Sequence[str]:
        """Let the fleet do what it will until every one of `wanted` answered once, and it waits for nothing."""
        self.done.clear()
        wants = {name: Want(name, size_bytes(name), self.now_s) for name in wanted}
        for _ in range(100):
            for name in wants.keys() & self.residents.keys():
                self.residents[name] = replace(self.residents[name], last_used_s=self.now_s)
                del wants[name]
            if not self._step(list(wants.values())):
                return self.done
        raise AssertionError(f"the fleet does not come to rest: {self.done}")

    def _step(self, wants: list[Want]) -> bool:
        home = [Want(name, size_bytes(name), 0.0, Urgency.STARTUP) for name in (TOOLS, CHAT)]
        decision = decide(list(self.residents.values()), [*wants, *home], self.budget_bytes, self.now_s, POLICY)
        match decision:
            case Load(name):
                loads_at_start = name != VISION
                self.residents[name] = Resident(
                    name,
                    size_bytes(name),
                    ModelState.READY,
                    loads_at_start=loads_at_start,
                    loaded_at_s=self.now_s,
                    last_used_s=self.now_s,
                )
                self.peak_bytes = max(self.peak_bytes, sum(one.size_bytes for one in self.residents.values()))
                self.done.append(f"load {name}")
            case Evict(name):
                del self.residents[name]
                self.done.append(f"evict {name}")
            case Drain(name):
                self.residents[name] = replace(self.residents[name], draining=True)
            case Wait(until_s):
                self.now_s = until_s if until_s < float("inf") else self.now_s
                return until_s < float("inf")
            case Refuse(name):
                raise AssertionError(f"{name} does not fit")
        return True


def test_three_seed_models_on_16_gb() -> None:
    budget_bytes = recommend(detect("jetson-orin-nx")).budget_bytes
    day = Day(budget_bytes)
    assert day.until_quiet() == [f"load {TOOLS}", f"load {CHAT}"]
    day.now_s += 600
    # The chat model is too small to make room alone, and it need not go where the other one does.
    looked = [f"evict {TOOLS}", f"load {VISION}", f"evict {VISION}", f"load {TOOLS}"]
    assert day.until_quiet(VISION) == looked
    assert set(day.residents) == {TOOLS, CHAT}
    assert day.peak_bytes <= budget_bytes < 13e9


def test_every_fallback_of_the_seed_models_is_smaller() -> None:
    """What stands in after a shortage of memory has to need less of it."""
    for name in (TOOLS, VISION):
        chain = CATALOGUE.fallbacks(name)
        assert chain
        assert all(size_bytes(other) < size_bytes(name) for other in chain)
