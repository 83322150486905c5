"""`Reconciler`: carries out what the planner decides, one decision after the other, in one task.

It wakes whenever something changes (a request waits, one ended, an engine is gone) and when a
moment comes that the planner named. Loads and evictions take time and go on beside it, one at a time, so that all else
can be decided meanwhile. It never decides itself what goes or comes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from zoe_server import errors
from zoe_server.catalogue.spec import CHAT_ROLE, TOOLS_ROLE
from zoe_server.fleet import planner
from zoe_server.fleet.clock import Clock
from zoe_server.fleet.description import gigabytes
from zoe_server.fleet.model import Model
from zoe_server.fleet.model_state import ModelState
from zoe_server.fleet.planner import FleetPolicy, Resident
from zoe_server.fleet.sizing import UNBOUNDED_BYTES, Sizing

_LOGGER: Final = logging.getLogger(__name__)
_ASK_AGAIN_S: Final = 60.0
"""How old what the machine said about its memory may get, in seconds."""
_ASK_BEFORE_REFUSAL_S: Final = 1.0
"""The same where a model would be refused because of it."""


class Reconciler:
    """Has `models` in memory as the planner decides; they are in the order of the configuration."""

    def __init__(self, models: Sequence[Model], sizing: Sizing, policy: FleetPolicy, clock: Clock) -> None:
        self._models = {model.name: model for model in sorted(models, key=_turn_at_start)}
        self._sizing = sizing
        self._policy = policy
        self._clock = clock
        self._budget_bytes = UNBOUNDED_BYTES
        self._asked_s = -math.inf
        self._changed = asyncio.Event()
        self._decided = asyncio.Condition()
        self._move: asyncio.Task[None] | None = None

    @property
    def budget_bytes(self) -> int | None:
        """How much memory all models together may take; None while that is unknown, or where it is not bounded."""
        return None if self._budget_bytes == UNBOUNDED_BYTES else self._budget_bytes

    @property
    def extra_bytes(self) -> int:
        """What a model takes in addition to its size because of how this machine computes."""
        return self._sizing.extra_bytes

    @property
    def models(self) -> tuple[Model, ...]:
        """All that there are, in the order of their first loads."""
        return tuple(self._models.values())

    async def add(self, model: Model) -> None:
        """Have `model`, too, from now on."""
        model.estimate(await self._sizing.estimate(model.spec))
        self._models = {**self._models, model.name: model}
        self.wake()

    def remove(self, model: Model) -> None:
        """Have `model` no more, of which nothing is in memory."""
        self._models = {name: other for name, other in self._models.items() if other is not model}

    def wake(self) -> None:
        """Take note that something has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Reconcile until this is cancelled; a load or an eviction that is under way is given up then."""
        try:
            await self._weigh_all()
            while True:
                self._changed.clear()
                decision = self._decide()
                if self._asks_again(decision):
                    await self._ask_budget()
                elif isinstance(decision, planner.Wait):
                    self._leave_out_what_does_not_fit()
                    await self._rest(min(decision.until_s, self._next_start_s(), self._asked_s + _ASK_AGAIN_S))
                elif self._moves and isinstance(decision, planner.Load | planner.Evict):
                    await self._rest(math.inf)
                else:
                    self._carry_out(decision)
        except Exception:
            _LOGGER.exception("the fleet is out of order; restart the server")
            raise
        finally:
            if self._move is not None:
                self._move.cancel()
                await asyncio.wait({self._move})

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; it is looked at whenever nothing more can be done for the moment."""
        async with self._decided:
            await self._decided.wait_for(condition)

    def explain_wait(self, model: Model) -> str:
        """Return what a request to this model waits for, in words."""
        if model.state in (ModelState.LOADING, ModelState.RESTARTING):
            return f"still {model.state.value}: {model.reason}"
        if model.is_to_unload:
            return "it is still being unloaded"
        if model.draining or model.takes_memory:
            return "others wait for its memory, and go first"
        return self._explain_room(model)

    def _explain_room(self, model: Model) -> str:
        residents = [one for one in self._residents() if one.name != model.name]
        there = ", ".join(_in_words(one) for one in residents) or "nothing"
        if self.budget_bytes is None:
            return f"it is loaded after others; there is {there}"
        free_bytes = self._budget_bytes - sum(one.size_bytes for one in residents)
        return f"it needs {gigabytes(model.size_bytes)}, {gigabytes(max(0, free_bytes))} are free beside {there}"

    def _asks_again(self, decision: planner.Decision) -> bool:
        """Whether to look at the machine's memory again before `decision`."""
        age_s = self._clock.now_s() - self._asked_s
        if isinstance(decision, planner.Refuse):
            return age_s >= _ASK_BEFORE_REFUSAL_S
        return isinstance(decision, planner.Wait) and not self._moves and age_s >= _ASK_AGAIN_S

    async def _ask_budget(self) -> None:
        """Ask how much there is for models now; those that were refused and fit now get another chance."""
        self._asked_s = self._clock.now_s()
        held = [one for model in self._models.values() if (one := model.loaded()) is not None]
        self._budget_bytes = await self._sizing.budget_bytes(held)
        stays_bytes = sum(one.size_bytes for one in self._residents() if one.is_kept)
        for model in self._models.values():
            if model.size_bytes <= self._budget_bytes - stays_bytes:
                model.may_fit_again()

    async def _weigh_all(self) -> None:
        await self._ask_budget()
        for model in self._models.values():
            model.estimate(await self._sizing.estimate(model.spec))

    @property
    def _moves(self) -> bool:
        return self._move is not None and not self._move.done()

    def _residents(self) -> list[Resident]:
        return [one for model in self._models.values() if (one := model.resident()) is not None]

    def _decide(self) -> planner.Decision:
        now_s = self._clock.now_s()
        for model in self._models.values():
            if model.state is ModelState.QUARANTINED and now_s >= model.not_before_s:
                model.reset_failures()
            model.admit()
        due = [model for model in self._models.values() if model.not_before_s <= now_s]
        wants = [want for model in due if (want := model.want()) is not None]
        return planner.decide(self._residents(), wants, self._budget_bytes, now_s, self._policy)

    def _carry_out(self, decision: planner.Decision) -> None:
        match decision:
            case planner.Load(name):
                model = self._models[name]
                self._begin(self._load(model, model.load()), f"load {name}")
            case planner.Evict(name, wanted_by):
                model = self._models[name]
                self._begin(self._evict(model, wanted_by, model.unload()), f"evict {name}")
            case planner.GiveUp(name):
                model = self._models[name]
                self._begin(self._give_up(self._move, model, model.unload()), f"give up {name}")
            case planner.Drain(name, wanted_by):
                _LOGGER.info("model %s takes no new requests until %s had its turn", name, wanted_by)
                self._models[name].drain()
            case planner.Reopen(name):
                self._models[name].reopen()
            case planner.Refuse(name, room_bytes, pinned):
                self._refuse(self._models[name], room_bytes, pinned)

    def _begin(self, move: Coroutine[Any, Any, None], name: str) -> None:
        self._move = asyncio.create_task(move, name=name)
        self._move.add_done_callback(self._moved)

    def _moved(self, move: asyncio.Task[None]) -> None:
        if not move.cancelled() and (error := move.exception()) is not None:
            _LOGGER.error("the fleet could not %s", move.get_name(), exc_info=error)
        self.wake()

    async def _load(self, model: Model, load: Callable[[], Awaitable[errors.ZoeError | None]]) -> None:
        try:
            free_bytes = await self._sizing.free_bytes()
            problem = await load()
        except Exception as error:
            _LOGGER.exception("model %s could not be loaded", model.name)
            problem = await model.fail(errors.EngineUnavailableError(f"it could not be loaded: {error!r}"))
        if problem is not None:
            await self._adjust_size(model, problem)
            return
        model.admit()
        if model.engine is not None:
            measured_bytes = await self._sizing.weigh(model.spec, model.engine, free_bytes)
            model.resize(measured_bytes or model.size_bytes)
        _LOGGER.info("model %s is loaded (%s)", model.name, gigabytes(model.size_bytes))

    async def _adjust_size(self, model: Model, problem: errors.ZoeError) -> None:
        """A model that found too little memory needs more than there was; after some time it may be tried again."""
        if isinstance(problem, errors.OutOfMemoryError):
            taken_bytes = sum(one.size_bytes for one in self._residents())
            if taken_bytes:
                model.resize(max(model.size_bytes, self._budget_bytes - taken_bytes + 1))
        else:
            model.estimate(await self._sizing.estimate(model.spec))

    async def _give_up(
        self, load: asyncio.Task[None] | None, model: Model, unload: Callable[[str], Awaitable[None]]
    ) -> None:
        if load is not None:
            load.cancel()
            await asyncio.wait({load})
        await self._evict(model, None, unload)

    async def _evict(self, model: Model, wanted_by: str | None, unload: Callable[[str], Awaitable[None]]) -> None:
        why = f"{wanted_by} needed its memory" if wanted_by else "nobody used it"
        why = "it was unloaded" if model.is_to_unload else why
        if wanted_by is None or model.is_to_unload:
            model.stay_away()
        await unload(f"{why}; it is loaded again when somebody asks for it")
        if not model.takes_memory:
            _LOGGER.info("model %s is not in memory any more: %s", model.name, why)

    def _refuse(self, model: Model, room_bytes: int, pinned: Sequence[str]) -> None:
        lost = [one.name for one in self._residents() if one.state is ModelState.LOST]
        beside = f" beside the pinned models ({', '.join(pinned)})" if pinned else ""
        beside += f" beside what cannot be ended ({', '.join(lost)})" if lost else ""
        reason = (
            f"it needs about {gigabytes(model.size_bytes)}, and models may take {gigabytes(room_bytes)}{beside}; "
            "choose a smaller model or context, or allow more with memory_budget_bytes in [server]"
        )
        _LOGGER.warning("model %s cannot be loaded: %s", model.name, reason)
        model.refuse(reason)

    def _leave_out_what_does_not_fit(self) -> None:
        """Nothing moves, nothing can be done: what is still to be loaded for nobody in particular has no room."""
        if self._moves:
            return
        now_s, coming = self._clock.now_s(), (ModelState.LOADING, ModelState.RESTARTING)
        for model in self._models.values():
            waits_for_nothing = not model.takes_memory and model.not_before_s <= now_s
            if waits_for_nothing and model.state in coming and not model.leases.waiting:
                why = self._explain_room(model)
                model.leave_out(why)
                _LOGGER.warning("model %s is not loaded now: %s", model.name, why)

    def _next_start_s(self) -> float:
        """Return the next moment at which a model may be started that may not be started now."""
        now_s = self._clock.now_s()
        moments_s = (model.not_before_s for model in self._models.values())
        return min((moment_s for moment_s in moments_s if moment_s > now_s), default=math.inf)

    async def _rest(self, until_s: float) -> None:
        async with self._decided:
            self._decided.notify_all()
        woken = asyncio.create_task(self._changed.wait())
        naps = [asyncio.create_task(self._clock.sleep_until(until_s))] if until_s < math.inf else []
        try:
            await asyncio.wait({woken, *naps}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (woken, *naps):
                task.cancel()


def _turn_at_start(model: Model) -> int:
    """Return what orders the first loads: who acts in the home, who talks, then everybody in the order given."""
    roles = model.spec.roles
    return 0 if TOOLS_ROLE in roles else 1 if CHAT_ROLE in roles else 2


def _in_words(one: Resident) -> str:
    state = "pinned" if one.pinned else f"{one.open_requests} open requests" if one.open_requests else one.state.value
    return f"{one.name} ({gigabytes(one.size_bytes)}, {state})"
