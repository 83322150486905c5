"""`ModelTables`: all tables `[models.NAME]`, and what becomes of them with the catalogue and the models folder.

Of model files it reads at most the headers. How the tables of `zoe.toml` get here is for `settings` to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from zoe_server.catalogue import served
from zoe_server.catalogue.engine_options import LLAMA
from zoe_server.catalogue.entry import Entry
from zoe_server.catalogue.known import Catalogue
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, VISION_ROLE, ModelSpec
from zoe_server.catalogue.store import Store
from zoe_server.model_settings import ModelSettings

AUTOMATIC_MODEL: Final = "zoe"


@dataclass(frozen=True, slots=True)
class ModelTables:
    """The tables by the names of their models, in the order in which these are to be loaded."""

    models: Mapping[str, ModelSettings]
    catalogue: Catalogue

    def check(self) -> None:
        """See that the tables fit together.

        Raises:
            ValueError: two models claim one name, or a fallback leads nowhere; the message begins with the key's path.
        """
        self._refuse_shared_names()
        fallbacks = self._own_fallbacks()
        for name in fallbacks:
            if name in _chain(fallbacks[name], fallbacks):
                raise ValueError(f"models.{name}.fallback: {fallbacks[name]!r} falls back on {name!r} itself")

    def serves(self, name: str) -> bool:
        """Whether the model of the catalogue, or of these tables, called `name` is one of these."""
        return name in self.models or self._serving(name) is not None

    def with_pulled(self, names: Iterable[str], store: Store, *, first: bool) -> ModelTables:
        """Return these tables and those of the catalogue's models `names`, as far as these can be served beside them.

        They come behind the user's own, which are in the order of preference, unless they are to be `first`.
        """
        beside = [name for name in names if self.objection(name) is None and not self.serves(name)]
        pulled = {name: ModelSettings() for name in beside if self._has_weights(name, store)}
        models = {**pulled, **self.models} if first else {**self.models, **pulled}
        return ModelTables(models, self.catalogue)

    def left_out(self, names: Iterable[str], store: Store) -> Iterator[str]:
        """Yield for each of `names` that `with_pulled` leaves out, though it is none of these tables, what to do."""
        for name in names:
            why = self.objection(name)
            if why is None and not self._has_weights(name, store):
                why = "its file is not here any more"
            if why is not None:
                yield f"{name} was pulled, but {why}; pull it again, or forget it with `zoe models rm {name}`"

    def objection(self, name: str) -> str | None:
        """Return why the catalogue's model `name` may not be served beside these tables, None if it may or is one."""
        entry = self.catalogue.find(name)
        if entry is None or entry.name != name:
            return f"the catalogue has no model {name!r} any more"
        if self.serves(name):
            return None
        owners = {spelling: own for own, model in self.models.items() for spelling in model.names(own)}
        if name in owners:
            return f"zoe.toml gives the name {name!r} to its model {owners[name]!r}"
        return None

    def missing(self, store: Store) -> Iterator[str]:
        """Yield for each model without a path whose file is not in the models folder what to do."""
        for name, model in self.models.items():
            try:
                _ = model.is_elsewhere or model.path or served.locate(name, self.catalogue, store)
            except served.ModelMissingError as error:
                yield f"models.{name}.path: {error}"

    def specs(self, store: Store) -> tuple[ModelSpec, ...]:
        """Return what is to be served.

        Raises:
            served.ModelMissingError: as of `served.describe`; the message begins with the key's path.
        """
        fallbacks = self._fallbacks()
        found = self._described(store)
        taken = {AUTOMATIC_MODEL, *(spelling for name, model in self.models.items() for spelling in model.names(name))}
        specs = []
        for name, (model, facts) in found.items():
            free = tuple(alias for alias in facts.aliases if taken.isdisjoint(model.spellings(alias)))
            taken.update(spelling for alias in free for spelling in model.spellings(alias))
            specs.append(_spec(name, model, facts, free, fallbacks.get(name)))
        return tuple(specs)

    def shortcomings(self, store: Store) -> Iterator[str]:
        """Yield for each model that was to see and cannot what to do about it; it is served all the same.

        Raises:
            served.ModelMissingError: as of `specs`.
        """
        for name, (model, facts) in self._described(store).items():
            if VISION_ROLE in _wanted_roles(model, facts) and _is_blind(model, facts):
                how = facts.lacks or "say where the file called mmproj is that belongs to its own"
                yield f"models.{name}.projector: missing, so the model sees no pictures; {how}"

    def _described(self, store: Store) -> dict[str, tuple[ModelSettings, served.Served]]:
        found = {}
        for name, model in self.models.items():
            try:
                is_here = not model.is_elsewhere
                facts = served.describe(name, model.path, self.catalogue, store) if is_here else served.ELSEWHERE
                found[name] = model, facts
            except served.ModelMissingError as error:
                raise served.ModelMissingError(f"models.{name}.path: {error}") from error
        return found

    def _refuse_shared_names(self) -> None:
        taken = {AUTOMATIC_MODEL: "the automatic choice"}
        for name, model in self.models.items():
            for spelling in model.names(name):
                if spelling in taken:
                    raise ValueError(f"models.{name}: the name {spelling!r} is already used by {taken[spelling]}")
                taken[spelling] = f"model {name!r}"

    def _own_fallbacks(self) -> dict[str, str]:
        """Return the fallbacks that the tables name, both by the models' own names."""
        found = {}
        for name, model in self.models.items():
            if model.fallback is None:
                continue
            other = self._find(model.fallback)
            if other is None:
                raise ValueError(
                    f"models.{name}.fallback: no model here is called {model.fallback!r}; there are "
                    f"{', '.join(self.models)}"
                )
            if self._makes_embeddings(name) or self._makes_embeddings(other):
                raise ValueError(
                    f"models.{name}.fallback: vectors of different models have nothing in common, so one with the role "
                    f"{EMBEDDINGS_ROLE!r} neither has a fallback nor is one"
                )
            found[name] = other
        return found

    def _fallbacks(self) -> dict[str, str]:
        """Return all fallbacks; those of the catalogue pass over models that are not served, and close no circle."""
        found = self._own_fallbacks()
        for name in self.models:
            entry = self._entry(name)
            if name in found or entry is None:
                continue
            others = (self._serving(other) for other in self.catalogue.fallbacks(entry.name))
            fitting = (other for other in others if other is not None and self._may_follow(name, other, found))
            if (best := next(fitting, None)) is not None:
                found[name] = best
        return found

    def _may_follow(self, name: str, other: str, fallbacks: Mapping[str, str]) -> bool:
        embeds = self._makes_embeddings(name) or self._makes_embeddings(other)
        return not embeds and name not in _chain(other, fallbacks)

    def _makes_embeddings(self, name: str) -> bool:
        model, entry = self.models[name], self._entry(name)
        roles = model.roles if "roles" in model.model_fields_set or entry is None else entry.roles
        return EMBEDDINGS_ROLE in roles

    def _has_weights(self, name: str, store: Store) -> bool:
        entry = self.catalogue.find(name)
        return entry is not None and store.has_weights(entry)

    def _find(self, name: str) -> str | None:
        """Return the own name of the model that `name` or alias stands for, aliases of the catalogue among them."""
        for own, model in self.models.items():
            if name in (own, *model.aliases):
                return own
        entry = self.catalogue.find(name)
        return None if entry is None else self._serving(entry.name)

    def _serving(self, entry_name: str) -> str | None:
        """Return the own name of the model that is this one of the catalogue, None if it is not served."""
        entries = ((name, self._entry(name)) for name in self.models)
        return next((name for name, entry in entries if entry is not None and entry.name == entry_name), None)

    def _entry(self, name: str) -> Entry | None:
        model = self.models[name]
        return None if model.is_elsewhere else served.entry_of(name, model.path, self.catalogue)


def _chain(name: str, fallbacks: Mapping[str, str]) -> list[str]:
    """Return `name` and what is tried after it, each once."""
    chain = [name]
    while (following := fallbacks.get(chain[-1])) is not None and following not in chain:
        chain.append(following)
    return chain


def _wanted_roles(model: ModelSettings, facts: served.Served) -> tuple[str, ...]:
    return model.roles if "roles" in model.model_fields_set else facts.roles


def _is_blind(model: ModelSettings, facts: served.Served) -> bool:
    return model.engine == LLAMA and model.projector_path is None and facts.projector is None


def _spec(
    name: str, model: ModelSettings, facts: served.Served, aliases: tuple[str, ...], fallback: str | None
) -> ModelSpec:
    wanted = _wanted_roles(model, facts)
    roles = tuple(role for role in wanted if role != VISION_ROLE) if _is_blind(model, facts) else wanted
    return ModelSpec(
        name=name,
        path=facts.path,
        engine=model.engine,
        aliases=(*model.aliases, *aliases),
        roles=roles,
        fallback=fallback,
        converses=facts.converses if model.converses is None else model.converses,
        load=model.load or ("demand" if wanted == (VISION_ROLE,) else "start"),
        pinned=model.pinned,
        keep_alive_s=model.keep_alive_s,
        options=model.options(
            projector_path=facts.projector,
            n_ctx_tokens=facts.context_tokens,
            sampling=facts.sampling or None,
            dialect=facts.dialect,
        ),
    )
