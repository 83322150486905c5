"""From a requested model name to a plan: which models may answer, in what order, and why.

Pure: it knows the configured models, and neither engines nor what is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from zoe_server import errors
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, TOOLS_ROLE, ModelSpec

AUTOMATIC: Final = "zoe"
LATEST: Final = ":latest"
"""The tag that Ollama's clients put behind a name without one; with or without it, it is the same name."""


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """The models to try, best first (at least one), and a short reason in ASCII that a person can read."""

    candidates: tuple[str, ...]
    why: str


class Router:
    """Chooses among `specs`; their order is the order of preference."""

    def __init__(self, specs: Sequence[ModelSpec]) -> None:
        if not specs:
            raise ValueError("a router needs at least one model")
        writers = [spec for spec in specs if EMBEDDINGS_ROLE not in spec.roles] or specs
        self._default = next((spec for spec in writers if TOOLS_ROLE in spec.roles), writers[0])
        self._embedder = next((spec.name for spec in specs if EMBEDDINGS_ROLE in spec.roles), None)
        self._names = {spelling: spec.name for spec in specs for spelling in (spec.name, *spec.aliases)}

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
        if model is None or self._find(model) == AUTOMATIC:
            return self._automatic()
        return self._named(model)

    def route_embeddings(self, model: str | None) -> RoutePlan:
        """Return the plan for a request for embeddings; None and `zoe` leave the choice to the server.

        Raises:
            errors.ModelNotFoundError: no model has this name, or none has the role that the choice needs.
        """
        if model is not None and self._find(model) != AUTOMATIC:
            return self._named(model)
        if self._embedder is None:
            raise errors.ModelNotFoundError(
                f'no model here has the role {EMBEDDINGS_ROLE}; give it to one with roles = ["{EMBEDDINGS_ROLE}"] in '
                "zoe.toml, or name a model",
                param="model",
            )
        return RoutePlan((self._embedder,), f"automatic: first model with role {EMBEDDINGS_ROLE}")

    def _named(self, model: str) -> RoutePlan:
        name = self._find(model)
        if name is None:
            raise errors.ModelNotFoundError(
                f"the model {model[:200]!r} does not exist; available: {', '.join(self.names)}", param="model"
            )
        return RoutePlan((name,), "named by the request" if name == model else f"alias of {name}")

    def _automatic(self) -> RoutePlan:
        role = f"first model with role {TOOLS_ROLE}" if TOOLS_ROLE in self._default.roles else "first model"
        return RoutePlan((self._default.name,), f"automatic: {role}")

    def _find(self, model: str) -> str | None:
        """Return the name of the model that is meant, `zoe` itself, or None."""
        known = {AUTOMATIC: AUTOMATIC, **self._names}
        spellings = (model, model.removesuffix(LATEST), model + LATEST)
        return next((known[spelling] for spelling in spellings if spelling in known), None)
