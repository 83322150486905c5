"""Walk a plan: its candidates, each followed by the models that are to answer in its place, until one answers.

Only before the first token: what was already said to a client is never taken back.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from zoe_server import errors
from zoe_server.catalogue.model_info import Capabilities
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.fleet.fleet import Fleet
from zoe_server.routing.router import RoutePlan

_LOGGER: Final = logging.getLogger(__name__)
_OTHERS_MAY_ANSWER: Final = (errors.EngineUnavailableError, errors.EngineCrashedError, errors.QueueFullError)
_NOTHING: Final = Capabilities()
AnswerT = TypeVar("AnswerT")


def others_may_answer(error: errors.ZoeError) -> bool:
    """Whether it is the engine that is at fault, and not the request."""
    return isinstance(error, (*_OTHERS_MAY_ANSWER, errors.ContextSizeError))


@dataclass(slots=True)
class _Walk:
    """One request on its way through the candidates: who could not answer, and why."""

    fleet: Fleet
    plan: RoutePlan
    needed: Capabilities
    failed: list[tuple[str, errors.ZoeError]] = field(default_factory=list)

    def candidates(self) -> Iterator[str]:
        """Yield whom to ask next; who could not answer has to be noted before."""
        for spec in candidates(self.fleet, self.plan, self.needed):
            if self._may_fit(spec):
                if self.failed:
                    self._report(spec.name)
                yield spec.name

    def note(self, model: str, error: errors.ZoeError) -> None:
        """Take note that `model` could not answer.

        Raises:
            errors.ZoeError: no other model is to be asked.
        """
        self.failed.append((model, error))
        too_long = isinstance(error, errors.ContextSizeError)
        if not others_may_answer(error) or (too_long and self.plan.rule == "named"):
            raise self.error()

    def error(self) -> errors.ZoeError:
        """Return the error of a request that nobody could answer: it names everybody who was asked.

        It is of the kind of the last one that was at fault itself; what a stand-in did not like of the request is none.
        """
        at_fault = [error for _, error in self.failed if not isinstance(error, errors.InvalidRequestError)]
        if len(self.failed) == 1 or not at_fault:
            return self.failed[-1][1]
        tried = "; ".join(f"{model}: {error.message}" for model, error in self.failed)
        return type(at_fault[-1])(
            f"no model could answer. Tried {tried}",
            code=at_fault[-1].code,
            retry_after_s=max(error.retry_after_s or 0.0 for error in at_fault) or None,
        )

    def _may_fit(self, spec: ModelSpec) -> bool:
        """Whether a prompt that was too long for others may fit this model."""
        known = [error for _, error in self.failed if isinstance(error, errors.ContextSizeError)]
        return all(spec.n_ctx_tokens > error.details["n_ctx"] for error in known)

    def _report(self, to: str) -> None:
        model, error = self.failed[-1]
        _LOGGER.warning("model %s answers instead of %s: %s", to, model, errors.in_one_line(error.message))


def candidates(fleet: Fleet, plan: RoutePlan, needed: Capabilities = _NOTHING) -> list[ModelSpec]:
    """Return whom to ask, in order: the plan's candidates, each with those that answer in its place, and theirs.

    The first one is asked in any case, and says itself what it cannot do. Who lacks a capability that is `needed`, or
    the adapter that the plan asks for, is not loaded only to say so.
    """
    specs = {spec.name: spec for spec in fleet.specs}
    names: dict[str, None] = {}
    for candidate in plan.candidates:
        name: str | None = candidate
        while name is not None and name not in names:
            names[name] = None
            name = None if plan.stands_alone else specs[name].fallback
    first, *others = (specs[name] for name in names)
    return [first, *(spec for spec in others if spec.capabilities.covers(needed) and _has_adapter(spec, plan))]


def _has_adapter(spec: ModelSpec, plan: RoutePlan) -> bool:
    return plan.adapter is None or plan.adapter in spec.adapters


async def ask(
    fleet: Fleet,
    plan: RoutePlan,
    question: Callable[[str, Engine], Awaitable[AnswerT]],
    n_requests: int = 1,
    *,
    needed: Capabilities = _NOTHING,
    background: bool = False,
) -> AnswerT:
    """Return the answer of the first candidate that has one; `question` is asked with a model's name and its engine.

    What is `needed` is what the question asks of an engine. A question that was answered in part must not fail with an
    error after which `others_may_answer`.

    Raises:
        errors.ZoeError: that of the question; or nobody could answer, and the error says of each candidate why.
    """
    walk = _Walk(fleet, plan, needed)
    for model in walk.candidates():
        try:
            async with fleet.lease(model, n_requests, background=background) as engine:
                return await question(model, engine)
        except errors.ZoeError as error:
            walk.note(model, error)
    raise walk.error()


@asynccontextmanager
async def lease(fleet: Fleet, plan: RoutePlan, n_requests: int = 1) -> AsyncGenerator[tuple[str, Engine], None]:
    """Lend the engine of the plan's best candidate, with its model's name, for what no other model can answer for it.

    Raises:
        errors.ZoeError: it is not available.
    """
    model = plan.candidates[0]
    async with fleet.lease(model, n_requests) as engine:
        yield model, engine
