"""Which models are chosen for which memory: hand-made cases, and properties of random catalogues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoe_server.catalogue import known
from zoe_server.catalogue.choice import choose
from zoe_server.catalogue.entry import Entry

ROLES = ("tools", "chat", "vision", "embeddings")
NANO = known.shipped()["zoe-nano"]
NANO_BYTES = NANO.memory_bytes or 0


def names(budget_gb: float, *roles: str) -> list[str]:
    choice = choose(list(known.shipped().values()), int(budget_gb * 1e9), roles)  # type: ignore[arg-type]
    return [model.entry.name for model in choice.models]


@pytest.mark.parametrize(
    ("budget_gb", "expected"),
    [
        (0, ["zoe-nano"]),
        (2, ["zoe-nano"]),
        (4, ["llama-3.2-3b", "zoe-nano"]),
        (6, ["qwen2.5-coder-7b", "zoe-nano"]),
        (12, ["qwen2.5-coder-7b", "llama-3.2-3b", "zoe-nano"]),
    ],
)
def test_a_home_gets_what_fits(budget_gb: float, expected: list[str]) -> None:
    assert names(budget_gb, "tools", "chat") == expected


def test_what_nobody_can_serve_is_said() -> None:
    choice = choose(list(known.shipped().values()), 1_000_000_000, ["tools", "chat"])
    assert choice.unserved == ("chat: the smallest model needs 2.8 GB, 0.7 GB are left",)
    assert choose([NANO], 10**12, ["vision"]).unserved == ("vision: the catalogue has no model of known size for it",)


def test_more_roles_get_more_models() -> None:
    assert names(20, *ROLES) == ["qwen2.5-coder-7b", "llama-3.2-3b", "qwen2-vl-7b", "nomic-embed-text-v1.5", "zoe-nano"]


def test_what_each_engine_needs_besides_is_counted() -> None:
    entries = list(known.shipped().values())
    without = choose(entries, 8_900_000_000, ["tools", "chat"])
    assert [model.entry.name for model in without.models] == ["qwen2.5-coder-7b", "llama-3.2-3b", "zoe-nano"]
    beside = choose(entries, 8_900_000_000, ["tools", "chat"], extra_bytes=512 << 20)
    assert [model.entry.name for model in beside.models] == ["qwen2.5-coder-7b", "zoe-nano"]
    assert beside.memory_bytes == sum((model.entry.memory_bytes or 0) + (512 << 20) for model in beside.models)
    assert beside.unserved == ("chat: the smallest model needs 3.3 GB, 2.1 GB are left",)


def test_without_the_bundled_model_there_is_no_choice() -> None:
    with pytest.raises(ValueError, match="bundled"):
        choose([], 0, [])


@st.composite
def catalogues(draw: st.DrawFn) -> list[Entry]:
    entries = [NANO]
    for index in range(draw(st.integers(0, 6))):
        roles = draw(st.one_of(st.just(["embeddings"]), st.lists(st.sampled_from(ROLES[:3]), min_size=1, unique=True)))
        size_bytes = draw(st.none() | st.integers(1, 10**10))
        weights = {"repository": "a/b", "file": f"{index}.gguf", "size_bytes": size_bytes}
        projector = {**weights, "file": f"mmproj-{index}.gguf"} if "vision" in roles else None
        scores = {score: draw(st.none() | st.integers(0, 100)) for score in ("tools", "speed")}
        files = {"weights": weights, "projector": projector}
        entries.append(Entry.model_validate({"name": f"m{index}", **files, "roles": roles, "scores": scores}))
    return draw(st.permutations(entries))


@given(catalogues(), st.integers(0, 5 * 10**10), st.lists(st.sampled_from(ROLES)))
def test_a_choice_never_takes_more_than_there_is(entries: list[Entry], budget_bytes: int, roles: list[str]) -> None:
    choice = choose(entries, budget_bytes, roles)  # type: ignore[arg-type]
    chosen = [model.entry for model in choice.models]
    assert chosen[-1] == NANO
    assert len({entry.name for entry in chosen}) == len(chosen)
    assert choice.memory_bytes <= max(budget_bytes, NANO_BYTES)
    assert all(model.reason and model.memory_bytes == model.entry.memory_bytes for model in choice.models)
    assert all(set(entry.roles) & set(roles) for entry in chosen[:-1])


@given(catalogues(), st.integers(0, 5 * 10**10), st.lists(st.sampled_from(ROLES)))
def test_every_role_is_served_or_said_not_to_be(entries: list[Entry], budget_bytes: int, roles: list[str]) -> None:
    choice = choose(entries, budget_bytes, roles)  # type: ignore[arg-type]
    served = {role for model in choice.models for role in model.entry.roles}
    unserved = [reason.split(":")[0] for reason in choice.unserved]
    assert len(set(unserved)) == len(unserved)
    assert set(roles) <= served | set(unserved)


@given(catalogues(), st.integers(0, 5 * 10**10), st.integers(0, 10**10), st.sampled_from(ROLES))
def test_more_memory_never_makes_the_first_role_worse(
    entries: list[Entry], budget_bytes: int, more_bytes: int, role: str
) -> None:
    def best(budget: int) -> int:
        fitting = [model.entry for model in choose(entries, budget, [role]).models if role in model.entry.roles]  # type: ignore[list-item]
        scores = [entry.scores.tools if role in ("tools", "vision") else entry.scores.speed for entry in fitting]
        return max((score or 0 for score in scores), default=-1)

    assert best(budget_bytes + more_bytes) >= best(budget_bytes)
