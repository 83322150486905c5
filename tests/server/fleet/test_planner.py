"""What the fleet decides: every branch of the tree, and what holds whatever happens."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zoe_server.fleet.model_state import ModelState
from zoe_server.fleet.planner import (
    Decision,
    Drain,
    Evict,
    FleetPolicy,
    GiveUp,
    Load,
    Refuse,
    Reopen,
    Resident,
    Urgency,
    Wait,
    Want,
    decide,
)

POLICY = FleetPolicy(min_residency_s=30.0, drain_after_s=10.0, background_patience_s=60.0, return_after_s=20.0)
NOW_S = 1000.0
OLD = Resident("old", 4, loaded_at_s=0.0, last_used_s=100.0)
RECENT = Resident("recent", 4, loaded_at_s=0.0, last_used_s=900.0)
FRESH = Want("new", 4, since_s=NOW_S)


def decided(
    *residents: Resident, wants: tuple[Want, ...] = (FRESH,), budget: int = 8, now_s: float = NOW_S
) -> Decision:
    return decide(residents, wants, budget, now_s, POLICY)


def test_1_what_never_fits_is_refused_with_the_reason() -> None:
    assert decided(wants=(replace(FRESH, size_bytes=9),)) == Refuse("new", 8, ())
    assert decided(replace(OLD, pinned=True, size_bytes=5)) == Refuse("new", 3, ("old",))
    assert decided(replace(OLD, pinned=True, size_bytes=9)) == Refuse("new", 0, ("old",))


def test_1_a_pinned_model_that_was_dismissed_makes_room() -> None:
    leaving = replace(OLD, pinned=True, to_unload=True, draining=True, size_bytes=5)
    assert decided(leaving) == Evict("old", "new")
    assert decided(replace(leaving, loaded_at_s=NOW_S)) == Evict("old", "new")


def test_2_what_fits_is_loaded() -> None:
    assert decided(OLD) == Load("new")
    assert decided() == Load("new")


@pytest.mark.parametrize("phase", [ModelState.LOADING, ModelState.UNLOADING])
def test_one_load_or_eviction_at_a_time(phase: ModelState) -> None:
    assert decided(replace(OLD, state=phase)) == Wait()
    assert isinstance(decided(replace(OLD, state=phase), RECENT), Wait)
    assert decided(replace(OLD, state=phase), replace(RECENT, keep_until_s=0.0), budget=80) == Wait()


def test_3_1_the_least_recently_used_goes_and_no_more_than_necessary() -> None:
    assert decided(RECENT, OLD) == Evict("old", "new")
    small = replace(OLD, name="small", size_bytes=1, last_used_s=0.0)
    assert decided(replace(RECENT, size_bytes=6), small) == Evict("recent", "new")
    assert decided(replace(RECENT, size_bytes=3), replace(OLD, size_bytes=3), small) == Evict("old", "new")


def test_3_1_the_busy_the_pinned_and_the_young_stay() -> None:
    for staying in (
        replace(OLD, open_requests=1),
        replace(OLD, pinned=True),
        replace(OLD, loaded_at_s=NOW_S - 29, last_used_s=NOW_S - 29),
    ):
        assert decided(staying, RECENT) == Evict("recent", "new")


def test_3_1_nobody_goes_as_long_as_that_is_not_enough() -> None:
    busy = replace(RECENT, open_requests=1)
    assert decided(OLD, busy, wants=(replace(FRESH, size_bytes=8),)) == Wait(NOW_S + 10)


def test_3_2_who_waited_long_gets_room_from_the_young_and_drains_the_busy() -> None:
    waited = replace(FRESH, since_s=NOW_S - 10)
    young = replace(OLD, loaded_at_s=NOW_S - 15)
    busy = replace(RECENT, open_requests=1)
    assert decided(young, busy, wants=(waited,)) == Evict("old", "new")
    assert decided(busy, wants=(replace(waited, size_bytes=8),)) == Drain("recent", "new")
    both = replace(waited, size_bytes=8)
    assert decided(OLD, busy, wants=(both,)) == Drain("old", "new")
    drained = replace(OLD, draining=True)
    assert decided(drained, busy, wants=(both,)) == Drain("recent", "new")
    assert decided(drained, replace(busy, draining=True), wants=(both,)) == Wait()
    assert decided(drained, replace(busy, draining=True, open_requests=0), wants=(both,)) == Evict("old", "new")


def test_3_2_who_is_being_drained_stays_the_choice() -> None:
    waited = replace(FRESH, since_s=NOW_S - 10)
    draining = replace(RECENT, open_requests=1, draining=True)
    assert decided(replace(OLD, open_requests=1), draining, wants=(waited,)) == Wait()


def test_3_3_waiting_ends_with_patience_or_youth() -> None:
    young = replace(OLD, loaded_at_s=NOW_S - 25)
    assert decided(young, replace(RECENT, pinned=True)) == Wait(NOW_S + 5)
    assert decided(replace(young, loaded_at_s=NOW_S), replace(RECENT, pinned=True)) == Wait(NOW_S + 10)
    assert decided(replace(OLD, open_requests=1), replace(RECENT, pinned=True)) == Wait(NOW_S + 10)
    waited = (replace(FRESH, since_s=0.0),)
    newest = replace(OLD, loaded_at_s=NOW_S - 1, open_requests=1)
    assert decided(newest, replace(RECENT, pinned=True), wants=waited) == Wait(NOW_S + 9)


def test_3_3_somebody_else_is_served_from_what_is_not_promised() -> None:
    busy = replace(OLD, size_bytes=6, open_requests=1)
    large, small = replace(FRESH, size_bytes=6), Want("small", 2, NOW_S)
    assert decided(busy, wants=(large, small)) == Load("small")
    assert decided(busy, wants=(replace(large, size_bytes=7), small)) == Wait(NOW_S + 10)


def test_3_3_what_goes_beyond_a_promise_is_for_the_next_one_when_it_is_gone() -> None:
    large = replace(OLD, size_bytes=6, open_requests=1)
    other = replace(RECENT, size_bytes=2, open_requests=1)
    waited = (replace(FRESH, since_s=0.0), Want("small", 2, 0.0))
    assert decided(large, other, wants=waited) == Drain("old", "new")
    assert decided(replace(large, draining=True), other, wants=waited) == Wait()
    assert decided(replace(large, state=ModelState.UNLOADING, open_requests=0), other, wants=waited) == Wait()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Want("one", 4, NOW_S - 1), Want("other", 4, NOW_S)),
        (Want("one", 4, NOW_S), Want("other", 4, NOW_S - 59, Urgency.BACKGROUND)),
        (Want("one", 4, NOW_S - 60, Urgency.BACKGROUND), Want("other", 4, NOW_S - 59)),
        (Want("one", 4, NOW_S, Urgency.BACKGROUND), Want("other", 4, 0.0, Urgency.STARTUP)),
        (Want("one", 4, NOW_S, Urgency.STARTUP), Want("other", 4, NOW_S, Urgency.STARTUP)),
    ],
)
def test_wants_have_an_order(one: Want, other: Want) -> None:
    assert decided(wants=(one, other)) == Load("one")
    if one.urgency is not other.urgency or one.since_s != other.since_s:
        assert decided(wants=(other, one)) == Load("one")


def test_home_replaces_guests_that_nobody_uses_and_nobody_else() -> None:
    home = Want("home", 4, 0.0, Urgency.STARTUP)
    other = replace(RECENT, loads_at_start=True, last_used_s=0.0)
    assert decided(OLD, other, wants=(home,)) == Evict("old", "home")
    assert decided(replace(OLD, loads_at_start=True), other, wants=(home,)) == Wait()
    assert decided(replace(OLD, open_requests=1), other, wants=(home,)) == Wait()
    assert decided(replace(OLD, last_used_s=NOW_S - 15), other, wants=(home,)) == Wait(NOW_S + 5)
    assert decided(replace(OLD, loaded_at_s=NOW_S - 25), other, wants=(home,)) == Wait(NOW_S + 5)


def test_4_who_is_unused_for_long_or_to_be_unloaded_goes() -> None:
    assert decided(replace(OLD, keep_until_s=NOW_S), wants=()) == Evict("old")
    assert decided(replace(OLD, keep_until_s=NOW_S + 5), wants=()) == Wait(NOW_S + 5)
    assert decided(replace(OLD, keep_until_s=NOW_S, pinned=True), wants=()) == Wait()
    assert decided(replace(OLD, keep_until_s=NOW_S, open_requests=1), wants=()) == Wait()
    leaving = replace(OLD, to_unload=True, draining=True, pinned=True, loaded_at_s=NOW_S)
    assert decided(leaving, wants=()) == Evict("old")
    assert decided(replace(leaving, open_requests=1), wants=()) == Wait()


@pytest.mark.parametrize("phase", [ModelState.LOADING, ModelState.RESTARTING])
def test_4_the_load_of_who_is_to_be_unloaded_is_given_up(phase: ModelState) -> None:
    assert decided(replace(OLD, state=phase, to_unload=True, draining=True), wants=()) == GiveUp("old")
    assert decided(replace(OLD, state=phase, to_unload=True, draining=True)) == GiveUp("old")
    assert decided(replace(OLD, state=phase), wants=()) == Wait()


def test_5_who_is_drained_for_nobody_is_reopened() -> None:
    draining = replace(OLD, draining=True, open_requests=1)
    assert decided(draining, wants=()) == Reopen("old")
    assert decided(replace(draining, pinned=True), wants=()) == Reopen("old")
    assert decided(draining, wants=(Want("old", 4, NOW_S - 10),)) == Reopen("old")
    assert decided(draining, replace(RECENT, state=ModelState.LOADING), wants=()) == Reopen("old")


def test_6_nothing_to_do() -> None:
    assert decided(OLD, RECENT, wants=()) == Wait()
    assert decided(wants=()) == Wait()
    assert decided(OLD, wants=(Want("old", 4, 0.0),)) == Wait()


@dataclass
class Model:
    """A model in the simulation: `size` in memory, and the requests that wait for it with the moment they came."""

    name: str
    size: int
    loads_at_start: bool = False
    waiting: list[float] = field(default_factory=list)
    background: bool = False


class Town:
    """Carries decisions out as the fleet does, and checks each of them."""

    def __init__(self, models: list[Model], budget: int) -> None:
        self.models = {model.name: model for model in models}
        self.budget = budget
        self.now_s = 0.0
        self.residents: dict[str, Resident] = {}
        self.refused: set[str] = set()

    def wants(self) -> list[Want]:
        wants = []
        for model in self.models.values():
            if model.waiting:
                urgency = Urgency.BACKGROUND if model.background else Urgency.INTERACTIVE
                wants.append(Want(model.name, model.size, model.waiting[0], urgency))
            elif model.loads_at_start and model.name not in self.residents and model.name not in self.refused:
                wants.append(Want(model.name, model.size, 0.0, Urgency.STARTUP))
        return wants

    def decide(self) -> Decision:
        return decide(list(self.residents.values()), self.wants(), self.budget, self.now_s, POLICY)

    def change(self, name: str, **fields: object) -> None:
        self.residents[name] = replace(self.residents[name], **fields)  # type: ignore[arg-type]  # any of its fields

    def carry_out(self, decision: Decision) -> None:
        moving = [one for one in self.residents.values() if one.state is not ModelState.READY]
        match decision:
            case Load(name):
                assert not moving
                assert name not in self.residents
                model = self.models[name]
                self.residents[name] = Resident(
                    name, model.size, ModelState.LOADING, loads_at_start=model.loads_at_start
                )
                assert sum(one.size_bytes for one in self.residents.values()) <= self.budget
            case Evict(name, wanted_by):
                assert not moving
                self.check_eviction(self.residents[name], wanted_by)
                self.change(name, state=ModelState.UNLOADING)
            case GiveUp(name):
                assert moving == [self.residents[name]]
                assert self.residents[name].to_unload
                self.change(name, state=ModelState.UNLOADING)
            case Drain(name, wanted_by):
                self.check_patience(self.residents[name], wanted_by)
                assert not self.residents[name].draining
                self.change(name, draining=True)
            case Reopen(name):
                assert self.residents[name].draining
                self.change(name, draining=False)
                self.let_in(name)
            case Refuse(name, room):
                assert room < self.models[name].size
                self.models[name].waiting.clear()
                self.refused.add(name)

    def check_eviction(self, one: Resident, wanted_by: str | None) -> None:
        assert one.state is ModelState.READY
        assert one.open_requests == 0
        assert one.to_unload or not one.pinned
        if wanted_by is None:
            assert one.to_unload or one.keep_until_s <= self.now_s
        elif self.now_s < one.loaded_at_s + POLICY.min_residency_s and not one.to_unload:
            assert self.now_s >= one.loaded_at_s + POLICY.drain_after_s
            self.check_patience(one, wanted_by)

    def check_patience(self, one: Resident, wanted_by: str) -> None:
        assert not one.pinned or one.to_unload
        want = next(want for want in self.wants() if want.name == wanted_by)
        assert POLICY.patience_ends_s(want) <= self.now_s

    def let_in(self, name: str) -> None:
        waiting = self.models[name].waiting
        self.change(name, open_requests=self.residents[name].open_requests + len(waiting))
        waiting.clear()

    def ask(self, name: str) -> None:
        resident = self.residents.get(name)
        if resident is not None and resident.state is ModelState.READY and not resident.draining:
            self.change(name, open_requests=resident.open_requests + 1)
        elif name not in self.refused:
            self.models[name].waiting.append(self.now_s)

    def finish(self, name: str) -> None:
        resident = self.residents.get(name)
        if resident is not None and resident.open_requests:
            self.change(name, open_requests=resident.open_requests - 1, last_used_s=self.now_s)

    def move_on(self) -> None:
        """Let the load or the eviction that is under way end."""
        for one in list(self.residents.values()):
            if one.state is ModelState.UNLOADING:
                del self.residents[one.name]
            elif one.state is ModelState.LOADING:
                self.change(one.name, state=ModelState.READY, loaded_at_s=self.now_s, last_used_s=self.now_s)
                self.let_in(one.name)

    def settle(self) -> None:
        """Decide and carry out until the planner waits."""
        for _ in range(4 * len(self.models) + 4):
            decision = self.decide()
            if isinstance(decision, Wait):
                assert decision.until_s > self.now_s
                return
            self.carry_out(decision)
        pytest.fail("it never comes to rest")


NAMES = ("a", "b", "c", "d")


class AnyTown(RuleBasedStateMachine):
    """Requests come and end, time goes by, and models are pinned and to be unloaded in any order."""

    @initialize(sizes=st.lists(st.integers(0, 6), min_size=4, max_size=4), home=st.sets(st.sampled_from(NAMES)))
    def build(self, sizes: list[int], home: set[str]) -> None:
        models = [Model(name, size, name in home) for name, size in zip(NAMES, sizes, strict=True)]
        self.town = Town(models, budget=8)

    @rule(name=st.sampled_from(NAMES), background=st.booleans())
    def ask(self, name: str, *, background: bool) -> None:
        if not self.town.models[name].waiting:
            self.town.models[name].background = background
        self.town.ask(name)

    @rule(name=st.sampled_from(NAMES))
    def finish(self, name: str) -> None:
        self.town.finish(name)

    @rule(name=st.sampled_from(NAMES))
    def leave(self, name: str) -> None:
        self.town.models[name].waiting.clear()

    @rule(name=st.sampled_from(NAMES), pinned=st.booleans())
    def pin(self, name: str, *, pinned: bool) -> None:
        if name in self.town.residents:
            self.town.change(name, pinned=pinned)
            self.town.refused.clear()

    @rule(name=st.sampled_from(NAMES))
    def request_unload(self, name: str) -> None:
        if name in self.town.residents:
            self.town.change(name, to_unload=True, draining=True)

    @rule(name=st.sampled_from(NAMES), keep_s=st.sampled_from([0.0, 5.0, math.inf]))
    def keep(self, name: str, keep_s: float) -> None:
        if name in self.town.residents:
            self.town.change(name, keep_until_s=self.town.now_s + keep_s)

    @rule(duration_s=st.sampled_from([0.5, 5.0, 10.0, 31.0, 61.0]))
    def time_goes_by(self, duration_s: float) -> None:
        self.town.now_s += duration_s

    @rule()
    def time_comes(self) -> None:
        decision = self.town.decide()
        if isinstance(decision, Wait) and decision.until_s < math.inf:
            self.town.now_s = decision.until_s
            assert self.town.decide() != decision

    @rule()
    def decide_once(self) -> None:
        self.town.carry_out(self.town.decide())

    @rule()
    def settle(self) -> None:
        self.town.settle()

    @rule()
    def move_on(self) -> None:
        self.town.move_on()

    @precondition(lambda self: len(self.town.models) > 0)
    @rule()
    def every_want_ends_when_requests_do(self) -> None:
        """Nobody asks any more, every request ends: in bounded time, nobody waits."""
        town = self.town
        for _ in range(40):
            if not any(model.waiting for model in town.models.values()):
                return
            town.settle()
            town.move_on()
            for name in NAMES:
                while name in town.residents and town.residents[name].open_requests:
                    town.finish(name)
            town.now_s += 5.0
        pytest.fail(f"somebody still waits: {town.wants()} beside {town.residents}")

    @invariant()
    def nobody_is_where_nobody_can_be(self) -> None:
        if hasattr(self, "town"):
            moving = [one for one in self.town.residents.values() if one.state is not ModelState.READY]
            assert len(moving) <= 1
            assert sum(one.size_bytes for one in self.town.residents.values()) <= self.town.budget


TestAnyTown = AnyTown.TestCase
TestAnyTown.settings = settings(deadline=None, stateful_step_count=40, max_examples=150)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 8), min_size=2, max_size=5),
    length_s=st.integers(1, 8),
    load_s=st.integers(1, 5),
    background=st.sets(st.integers(0, 4)),
)
def test_nobody_starves_though_all_models_are_asked_for_all_the_time(
    sizes: list[int], length_s: int, load_s: int, background: set[int]
) -> None:
    """Every second somebody asks for each model; a request takes `length_s`, a load or an eviction `load_s`."""
    models = [Model(str(n), size, background=n in background) for n, size in enumerate(sizes)]
    town = Town(models, budget=8)
    ends: dict[float, list[str]] = {}
    turn_s = max(POLICY.drain_after_s, POLICY.background_patience_s * bool(background)) + length_s + 2 * load_s
    bound_s = (len(sizes) + 1) * (turn_s + len(sizes) * load_s)
    for second in range(400):
        town.now_s = float(second)
        for name in ends.pop(town.now_s, []):
            town.finish(name)
        before = {name: one.open_requests for name, one in town.residents.items()}
        for model in models:
            town.ask(model.name)
        if second % load_s == 0:
            town.move_on()
        town.settle()
        for name, one in town.residents.items():
            begun = one.open_requests - before.get(name, 0)
            ends.setdefault(town.now_s + length_s, []).extend([name] * max(0, begun))
        assert all(town.now_s - model.waiting[0] <= bound_s for model in models if model.waiting)
    assert all(model.size > 8 or model.name not in town.refused for model in models)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=3, max_size=5))
def test_models_that_do_not_fit_together_get_their_turn_in_peace(sizes: list[int]) -> None:
    """All are asked for every second: none goes before it had `drain_after_s`, however long the others have waited."""
    town = Town([Model(str(n), 4 + size) for n, size in enumerate(sizes)], budget=8)
    loads = 0
    for second in range(300):
        town.now_s = float(second)
        for name in town.models:
            town.ask(name)
            while name in town.residents and town.residents[name].open_requests:
                town.finish(name)
        town.settle()
        loads += any(one.state is ModelState.LOADING for one in town.residents.values())
        town.move_on()
    assert 300 / (POLICY.min_residency_s + 3) <= loads <= 1 + 300 / POLICY.drain_after_s
