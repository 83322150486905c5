"""What is recommended beyond what is served."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zoe_server.catalogue import known
from zoe_server.catalogue.choice import choose
from zoe_server.catalogue.known import Catalogue
from zoe_server.catalogue.offer import Room, fits, memory_bytes, recommended

ENTRIES = list(Catalogue(known.shipped()))
NAMES = [entry.name for entry in ENTRIES]
GB = 10**9


def best(budget_gb: float, *served: str, taken_gb: float = 0.0, roles: tuple[str, ...] = ()) -> dict[str, str | None]:
    known_roles = {role for entry in ENTRIES if entry.name in served for role in entry.roles}
    room = Room(int(budget_gb * GB), int(taken_gb * GB))
    return {str(role): name for role, name in recommended(ENTRIES, served, {*known_roles, *roles}, room).items()}


def test_the_best_that_fits() -> None:
    assert best(12, "zoe-nano") == {
        "tools": "qwen2.5-coder-7b",
        "chat": "llama-3.2-3b",
        "vision": "qwen2-vl-7b",
        "embeddings": "nomic-embed-text-v1.5",
    }
    assert best(4, "zoe-nano") == {
        "tools": None,
        "chat": "llama-3.2-3b",
        "vision": None,
        "embeddings": "nomic-embed-text-v1.5",
    }


def test_what_is_served_keeps_its_room() -> None:
    assert best(8, "llama-3.2-3b", taken_gb=2.8)["tools"] == "zoe-nano"
    assert best(9, "llama-3.2-3b", taken_gb=2.8)["tools"] == "qwen2.5-coder-7b"


def test_nothing_worse_is_recommended_than_what_is_served() -> None:
    assert best(12, "qwen2.5-coder-7b", taken_gb=5.4)["tools"] is None
    assert best(12, roles=("tools",))["tools"] is None
    assert best(12, "zoe-nano", roles=("chat",))["chat"] is None


def test_a_gpu_takes_more() -> None:
    (llama,) = (entry for entry in ENTRIES if entry.name == "llama-3.2-3b")
    assert (fits(llama, Room(2_800_000_000)), fits(llama, Room(2_800_000_000, extra_bytes=GB))) == (True, False)
    assert memory_bytes(llama, Room(0, extra_bytes=GB)) == (llama.memory_bytes or 0) + GB


@given(st.integers(0, 40 * GB), st.sets(st.sampled_from(NAMES)), st.integers(0, 20 * GB), st.integers(0, GB))
def test_what_is_recommended_can_be_had(budget: int, served: set[str], taken: int, extra: int) -> None:
    room = Room(budget, taken, extra)
    for role, name in recommended(ENTRIES, served, set(), room).items():
        if name is not None:
            entry = next(entry for entry in ENTRIES if entry.name == name)
            assert name not in served
            assert role in entry.roles
            assert fits(entry, room)


@given(st.integers(0, 40 * GB))
def test_for_an_empty_server_it_is_what_setup_chooses_for_that_role(budget: int) -> None:
    for role, name in recommended(ENTRIES, (), (), Room(budget)).items():
        chosen = [model.entry.name for model in choose(ENTRIES, budget, [role]).models if role in model.entry.roles]
        assert chosen[:1] == ([] if name is None else [name])
