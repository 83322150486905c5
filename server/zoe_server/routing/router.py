"""From a requested model name to a plan: which models may answer, in what order, and why.

Pure: it knows the configured models, and neither engines nor what is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from zoe_server import errors
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, TOOLS_ROLE, ModelSpec

AUTOMATIC: Final = "zoe"
LATEST: Final = ":latest"
"""The tag that Ollama's clients put behind a name without one; with or without it, it is the same name."""


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """The models to try, best first (at least one), and a short reason in ASCII that a person can read.

    An `adapter` is one that each of them has; None is the models without one.
    """

    candidates: tuple[str, ...]
    why: str
    adapter: str | None = None

    @property
    def model(self) -> str:
        """The name of what is to answer: of the best candidate, or of its adapter."""
        return self.named(self.candidates[0])

    def named(self, candidate: str) -> str:
        """Return the name of what answers if `candidate` does."""
        return candidate if self.adapter is None else adapter_model(candidate, self.adapter)


def adapter_model(model: str, adapter: str) -> str:
    """Return the name that chooses an adapter of a model."""
    return f"{model}:{adapter}"


class _Target(NamedTuple):
    """What a name stands for."""

    model: str
    adapter: str | None = None


_AUTOMATIC: Final = _Target(AUTOMATIC)


class Router:
    """Chooses among `specs`; their order is the order of preference."""

    def __init__(self, specs: Sequence[ModelSpec]) -> None:
        if not specs:
            raise ValueError("a router needs at least one model")
        writers = [spec for spec in specs if EMBEDDINGS_ROLE not in spec.roles] or specs
        self._default = next((spec for spec in writers if TOOLS_ROLE in spec.roles), writers[0])
        self._embedder = next((spec.name for spec in specs if EMBEDDINGS_ROLE in spec.roles), None)
        self._names = {spelling: target for spec in specs for spelling, target in _targets(spec)}

    @property
    def default(self) -> str:
        """The model behind the name `zoe`."""
        return self._default.name

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a request may use."""
        return (AUTOMATIC, *self._names)

    def route(self, model: str | None) -> RoutePlan:
        """Return the plan for a request that names `model`; None and `zoe` leave the choice to the server.

        Raises:
            errors.ModelNotFoundError: no model has this name.
        """
        if model is None or self._find(model) == _AUTOMATIC:
            return self._automatic()
        return self._named(model)

    def route_embeddings(self, model: str | None) -> RoutePlan:
        """Return the plan for a request for embeddings; None and `zoe` leave the choice to the server.

        Raises:
            errors.ModelNotFoundError: no model has this name, or none has the role that the choice needs.
        """
        if model is not None and self._find(model) != _AUTOMATIC:
            return self._named(model)
        if self._embedder is None:
            raise errors.ModelNotFoundError(
                f'no model here has the role {EMBEDDINGS_ROLE}; give it to one with roles = ["{EMBEDDINGS_ROLE}"] in '
                "zoe.toml, or name a model",
                param="model",
            )
        return RoutePlan((self._embedder,), f"automatic: first model with role {EMBEDDINGS_ROLE}")

    def _named(self, model: str) -> RoutePlan:
        target = self._find(model)
        if target is None:
            raise errors.ModelNotFoundError(
                f"the model {model[:200]!r} does not exist; available: {', '.join(self.names)}", param="model"
            )
        plan = RoutePlan((target.model,), "named by the request", target.adapter)
        return plan if plan.model == model else replace(plan, why=f"alias of {plan.model}")

    def _automatic(self) -> RoutePlan:
        role = f"first model with role {TOOLS_ROLE}" if TOOLS_ROLE in self._default.roles else "first model"
        return RoutePlan((self._default.name,), f"automatic: {role}")

    def _find(self, model: str) -> _Target | None:
        """Return what is meant by the name `model`, `zoe` itself among it, or None."""
        known = {AUTOMATIC: _AUTOMATIC, **self._names}
        spellings = (model, model.removesuffix(LATEST), model + LATEST)
        return next((known[spelling] for spelling in spellings if spelling in known), None)


def _targets(spec: ModelSpec) -> Iterator[tuple[str, _Target]]:
    """Yield every name of a model and its adapters with what it stands for."""
    for name in (spec.name, *spec.aliases):
        yield name, _Target(spec.name)
        for adapter in spec.adapters:
            yield adapter_model(name, adapter), _Target(spec.name, adapter)
