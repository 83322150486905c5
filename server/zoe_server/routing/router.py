"""From a requested model name to a plan: which models may answer, in what order, and why.

Pure: it knows the configured models, and neither engines nor what is loaded. The only file it reads, once, is that of
the intent classifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from zoe_server import errors
from zoe_server.catalogue.spec import CHAT_ROLE, EMBEDDINGS_ROLE, TOOLS_ROLE, VISION_ROLE, ModelSpec
from zoe_server.routing import rules
from zoe_server.routing.intent import bundled_classifier
from zoe_server.routing.question import RouteQuestion

AUTOMATIC: Final = "zoe"
LATEST: Final = ":latest"
"""The tag that Ollama's clients put behind a name without one; with or without it, it is the same name."""


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """The models to try, best first (at least one), and a short reason in ASCII that a person can read.

    `rule` is the name of what chose them: one of `RULES`. An `adapter` is one that each of them has; None is the models
    without one. Nobody answers in the place of the candidates of a plan that `stands_alone`. Those candidates that are
    `without_home_tools` can do without the home's tools; if one asks for them, `handover` is the plan. Those that are
    `never_calling` must not act on this: they would take it for a command.
    """

    candidates: tuple[str, ...]
    why: str
    rule: str = "named"
    adapter: str | None = None
    stands_alone: bool = False
    without_home_tools: frozenset[str] = frozenset()
    never_calling: frozenset[str] = frozenset()
    handover: RoutePlan | None = None

    @property
    def model(self) -> str:
        """The name of what is to answer: of the best candidate, or of its adapter."""
        return self.named(self.candidates[0])

    def named(self, candidate: str) -> str:
        """Return the name of what answers if `candidate` does."""
        return candidate if self.adapter is None else adapter_model(candidate, self.adapter)


_HANDOVER: Final = "use_home"
RULES: Final = ("named", "default", "embeddings", *rules.RULE_NAMES, _HANDOVER)
"""All values of `RoutePlan.rule`: for metrics, which count them."""


def adapter_model(model: str, adapter: str) -> str:
    """Return the name that chooses an adapter of a model."""
    return f"{model}:{adapter}"


class _Target(NamedTuple):
    """What a name stands for."""

    model: str
    adapter: str | None = None


_AUTOMATIC: Final = _Target(AUTOMATIC)


class Router:
    """Chooses among `specs`; their order is the order of preference, but those of the engine `preferred` come first."""

    def __init__(self, specs: Sequence[ModelSpec], preferred: str | None = None) -> None:
        if not specs:
            raise ValueError("a router needs at least one model")
        self.preferred = preferred
        specs = sorted(specs, key=lambda spec: preferred is not None and spec.engine != preferred)
        self._writers = [spec for spec in specs if not spec.capabilities.embeddings] or list(specs)
        self._default = self._ranked(TOOLS_ROLE)[0]
        self._embedder = next((spec.name for spec in specs if spec.capabilities.embeddings), None)
        self._names = {spelling: target for spec in specs for spelling, target in _targets(spec)}

    @property
    def default(self) -> str:
        """The model behind the name `zoe` where no sentence tells more."""
        return self._default.name

    @property
    def first_choices(self) -> dict[str, ModelSpec]:
        """The model that answers where all goes well, for each role that a model has."""
        roles = dict.fromkeys(role for spec in self._writers for role in spec.roles)
        return {role: self._ranked(role)[0] for role in roles}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a request may use."""
        return (AUTOMATIC, *self._names)

    def route(self, model: str | None, question: RouteQuestion | None = None) -> RoutePlan:
        """Return the plan for a request that names `model`; None and `zoe` leave the choice to the rules.

        Without a `question`, that choice is the same for everybody.

        Raises:
            errors.ModelNotFoundError: no model has this name.
        """
        if model is None or self._find(model) == _AUTOMATIC:
            return self._automatic(question)
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
        return RoutePlan((self._embedder,), f"first model with role {EMBEDDINGS_ROLE}", rule="embeddings")

    def _named(self, model: str) -> RoutePlan:
        target = self._find(model)
        if target is None:
            raise errors.ModelNotFoundError(
                f"the model {model[:200]!r} does not exist; available: {', '.join(self.names)}", param="model"
            )
        plan = RoutePlan((target.model,), "named by the request", adapter=target.adapter)
        return plan if plan.model == model else replace(plan, why=f"alias of {plan.model}")

    def _automatic(self, question: RouteQuestion | None) -> RoutePlan:
        if question is None:
            names = tuple(spec.name for spec in self._ranked(TOOLS_ROLE))
            return RoutePlan(names, "the choice for everything that no sentence decides", rule="default")
        decision = rules.decide(question, bundled_classifier())
        ranked = self._ranked(decision.role, long_context=decision.long_context)
        plan = RoutePlan(tuple(spec.name for spec in ranked), decision.why, rule=decision.rule)
        if decision.rule in rules.TALK:
            plan = replace(plan, never_calling=frozenset(spec.name for spec in self._writers if not spec.converses))
        if decision.role != CHAT_ROLE:
            return plan
        plan = self._with_handover(plan)
        if plan.handover is not None and question.has_tool_results:  # those who only talk have no tools to call
            return replace(plan.handover, rule=decision.rule, why=decision.why)
        return plan

    def _with_handover(self, plan: RoutePlan) -> RoutePlan:
        """Let those who only talk begin, where somebody else has the tools."""
        without_home_tools = frozenset(
            spec.name for spec in self._writers if CHAT_ROLE in spec.roles and TOOLS_ROLE not in spec.roles
        )
        able = tuple(spec.name for spec in self._ranked(TOOLS_ROLE) if TOOLS_ROLE in spec.roles)
        if not without_home_tools or not able:
            return plan
        return replace(
            plan,
            without_home_tools=without_home_tools,
            handover=RoutePlan(able, "the chat model asked for the home", rule=_HANDOVER),
        )

    def _ranked(self, role: str, *, long_context: bool = False) -> list[ModelSpec]:
        """Return all models that write, those with `role` first; all others are there for when these are down."""
        if long_context:
            return sorted(self._writers, key=lambda spec: (_distance(spec, role), -spec.n_ctx_tokens))
        return sorted(self._writers, key=lambda spec: _distance(spec, role))

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


def _distance(spec: ModelSpec, role: str) -> int:
    """Return how far a model is from `role`: a chat rather goes to a model without roles than to the one for tools.

    A picture goes to any model that sees before all others.
    """
    if role in spec.roles:
        return 0
    if role == VISION_ROLE:
        return 1 if spec.capabilities.pictures else 2
    if spec.roles == (VISION_ROLE,):
        return 3
    return 2 if role == CHAT_ROLE and spec.roles else 1
