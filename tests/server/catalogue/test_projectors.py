"""Which projector belongs to which model of the models folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.random_gguf import write_random_gguf
from tests.fixtures.random_projector_gguf import write_random_projector
from zoe_server.catalogue import gguf_file, proposal
from zoe_server.catalogue.gguf_file import GgufFacts, Kind
from zoe_server.catalogue.projectors import projector_of
from zoe_server.catalogue.store import Store

MODEL = GgufFacts(Kind.TEXT, "qwen2vl", "Qwen2 VL 7B Instruct", 5, "Q4_K_M", 4096, 57_344, None, 28, 3584)
PROJECTOR = GgufFacts(Kind.PROJECTOR, "clip", None, 1, "F16", None, 0, None, vector_size=3584)


@pytest.mark.parametrize(
    ("model", "projector", "belongs"),
    [
        ("Qwen2-VL-7B-Instruct-Q4_K_M", "mmproj-Qwen2-VL-7B-Instruct-f16", True),
        ("Qwen2-VL-7B-Instruct-Q4_K_M", "Qwen2-VL-7B-Instruct.mmproj-Q8_0", True),
        ("Qwen2-VL-7B-Instruct.i1-IQ4_XS", "qwen2-vl-7b-instruct-mmproj-bf16", True),
        ("Qwen2-VL-7B-Instruct-UD-Q4_K_XL", "mmproj-Qwen2_VL_7B_Instruct-F32", True),
        ("Qwen2-VL-7B-Instruct", "mmproj-Qwen2-VL-7B-Instruct", True),
        ("Qwen2-VL-7B-Instruct-Q4_K_M", "mmproj-Qwen2-VL-2B-Instruct-f16", False),
        ("Qwen2-VL-7B-Instruct-Q4_K_M", "mmproj-F16", False),
        ("Qwen2-VL-7B-Instruct-Q4_K_M", "mmproj", False),
        ("", "mmproj-F16", False),
    ],
)
def test_a_projector_is_called_as_its_model(model: str, projector: str, belongs: bool) -> None:
    nameless = replace(MODEL, name=None)
    assert proposal.sees_with(model, nameless, projector, PROJECTOR) is belongs
    assert not proposal.sees_with(model, replace(nameless, vector_size=1536), projector, PROJECTOR)
    unknown = replace(PROJECTOR, vector_size=None)
    assert not proposal.sees_with(model, replace(nameless, vector_size=None), projector, unknown)
    assert not proposal.sees_with(model, replace(nameless, kind=Kind.EMBEDDINGS), projector, PROJECTOR)


def test_or_its_header_is() -> None:
    named = replace(PROJECTOR, name="Qwen2-VL 7B instruct")
    assert proposal.sees_with("x-Q4_K_M", MODEL, "mmproj-F16", named)
    assert not proposal.sees_with("x-Q4_K_M", MODEL, "mmproj-F16", replace(named, name="Qwen2 VL 2B Instruct"))
    assert not proposal.sees_with("x-Q4_K_M", MODEL, "x-Q4_K_M", MODEL)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    write_random_gguf(tmp_path / "Eyes-1B-Q8_0.gguf", merges=20)
    return Store(tmp_path)


def found(store: Store) -> str | None:
    path = store.folder / "Eyes-1B-Q8_0.gguf"
    projector = projector_of(path, gguf_file.read(path), store)
    return None if projector is None else projector.name


def test_the_smallest_of_those_that_fit_is_taken(store: Store) -> None:
    assert found(store) is None
    write_random_projector(store.folder / "mmproj-Other-f16.gguf")
    write_random_projector(store.folder / "mmproj-Eyes-1B-f16.gguf", width=96)
    (store.folder / "mmproj-Eyes-1B-bf16.gguf").write_bytes(b"GGUF")
    assert found(store) is None
    write_random_projector(store.folder / "mmproj-Eyes-1B-f32.gguf", picture_pixels=224)
    assert found(store) == "mmproj-Eyes-1B-f32.gguf"
    write_random_projector(store.folder / "Eyes-1B.mmproj-Q8_0.gguf")
    assert found(store) == "Eyes-1B.mmproj-Q8_0.gguf"


def test_a_model_for_embeddings_has_none(store: Store, embedder_file: Path) -> None:
    write_random_projector(store.folder / "mmproj-embedder.gguf")
    assert projector_of(embedder_file, gguf_file.read(embedder_file), store) is None
