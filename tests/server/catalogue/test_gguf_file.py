"""Headers of GGUF files: what they say, and what becomes of files that are cut, damaged or something else."""

from __future__ import annotations

import random
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.fixtures.random_gguf import write_random_gguf
from tests.fixtures.random_projector_gguf import write_random_projector
from zoe_server.catalogue import gguf_file, proposal
from zoe_server.catalogue.gguf_file import GgufError, Kind
from zoe_server.catalogue.spec import bundled_model_path


def write(path: Path, architecture: str, *, kind: str | None = None, **values: object) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    if kind is not None:
        writer.add_type(kind)
    for key, value in values.items():
        name = f"{architecture}.{key.replace('__', '.')}"
        match value:
            case bool():
                writer.add_bool(name, value)
            case int():
                writer.add_uint32(name, value)
            case list():
                writer.add_array(name, value)
    writer.add_tensor("output.weight", np.zeros((32, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_bundled_model_says_what_the_catalogue_says() -> None:
    facts = gguf_file.read(bundled_model_path())
    assert (facts.kind, facts.architecture, facts.quantization) == (Kind.TEXT, "llama", "Q8_0")
    assert (facts.context_tokens, facts.kv_bytes_per_token) == (4096, 6144)
    assert facts.size_bytes == bundled_model_path().stat().st_size
    assert "tools" in proposal.roles(facts)


def test_a_model_with_and_without_tools(model_file: Path, tmp_path: Path) -> None:
    facts = gguf_file.read(model_file)
    assert (facts.name, facts.kv_bytes_per_token) == ("random-2x64", 2 * 4 * (16 + 16) * 2)
    assert facts.vector_size == 64
    assert (proposal.roles(facts), proposal.context_tokens(facts)) == (("tools", "chat"), 4096)
    plain = write_random_gguf(tmp_path / "plain.gguf", merges=20, context=512, chat_template="{{ messages }}")
    assert proposal.roles(gguf_file.read(plain)) == ("chat",)
    assert proposal.context_tokens(gguf_file.read(plain)) == 512
    bare = write_random_gguf(tmp_path / "bare.gguf", merges=20, context=32768, chat_template="")
    assert (proposal.roles(gguf_file.read(bare)), proposal.context_tokens(gguf_file.read(bare))) == ((), 4096)
    assert proposal.is_model(gguf_file.read(bare))


def test_a_projector_makes_vectors_of_its_model_s_size(tmp_path: Path) -> None:
    facts = gguf_file.read(write_random_projector(tmp_path / "mmproj.gguf", width=128))
    assert (facts.kind, facts.vector_size, proposal.roles(facts, sees=True)) == (Kind.PROJECTOR, 128, ())
    assert gguf_file.read(write(tmp_path / "silent.gguf", "clip")).vector_size is None


def test_an_encoder_makes_embeddings(embedder_file: Path) -> None:
    facts = gguf_file.read(embedder_file)
    assert (facts.kind, proposal.roles(facts)) == (Kind.EMBEDDINGS, ("embeddings",))


@pytest.mark.parametrize(
    ("architecture", "kind", "values", "expected"),
    [
        ("clip", None, {}, Kind.PROJECTOR),
        ("clip", "mmproj", {}, Kind.PROJECTOR),
        ("qwen2", "mmproj", {}, Kind.PROJECTOR),
        ("llama", "adapter", {}, Kind.OTHER),
        ("bert", None, {"pooling_type": 4}, Kind.OTHER),
        ("bert", None, {"attention__causal": False}, Kind.OTHER),
        ("bert", None, {"pooling_type": 2, "attention__causal": False}, Kind.EMBEDDINGS),
        ("qwen3", "model", {"pooling_type": 3}, Kind.EMBEDDINGS),
        ("llama", None, {"pooling_type": 0}, Kind.TEXT),
    ],
)
def test_what_a_file_is_for(
    tmp_path: Path, architecture: str, kind: str | None, values: dict[str, object], expected: Kind
) -> None:
    facts = gguf_file.read(write(tmp_path / "m.gguf", architecture, kind=kind, **values))
    assert facts.kind is expected
    assert proposal.is_model(facts) is (expected in (Kind.TEXT, Kind.EMBEDDINGS))


def test_the_cache_of_a_model_whose_layers_differ(tmp_path: Path) -> None:
    heads = {"attention__head_count": 8, "attention__head_count_kv": [4, 0, 2], "block_count": 3}
    sizes = {"embedding_length": 512, "attention__key_length": 96, "attention__value_length": 32}
    facts = gguf_file.read(write(tmp_path / "m.gguf", "mixed", **heads, **sizes))
    assert facts.kv_bytes_per_token == (4 + 0 + 2) * (96 + 32) * 2


def test_a_file_that_ends_anywhere_is_told_to_be_downloaded_again(model_file: Path, tmp_path: Path) -> None:
    content = model_file.read_bytes()
    path = tmp_path / "cut.gguf"
    ends = [0, 3, 4, 8, 23, 24, 25, 40, 100, len(content) // 4, len(content) // 2, len(content) - 1]
    for end in ends:
        path.write_bytes(content[:end])
        with pytest.raises(GgufError, match=r"cut\.gguf .*download it again"):
            gguf_file.read(path)


def test_garbage_is_never_more_than_an_error(model_file: Path, tmp_path: Path) -> None:
    content = model_file.read_bytes()[:40_000]
    draw = random.Random(0)
    path = tmp_path / "garbage.gguf"
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 4, 40])):
            damaged[draw.randrange(4, draw.choice([64, 4096, len(damaged)]))] = draw.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(GgufError):
            gguf_file.read(path)


def test_a_damaged_header_is_read_or_refused_and_nothing_else(model_file: Path, tmp_path: Path) -> None:
    content = model_file.read_bytes()
    draw = random.Random(1)
    path = tmp_path / "damaged.gguf"
    outcomes = {"read": 0, "refused": 0}
    for _ in range(200):
        damaged = bytearray(content)
        damaged[draw.randrange(4, draw.choice([64, 1024, 8192]))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            gguf_file.read(path)
            outcomes["read"] += 1
        except GgufError:
            outcomes["refused"] += 1
    assert all(outcomes.values())


def test_other_files_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<!doctype html><title>Sign in to the network</title>" * 10)
    with pytest.raises(GgufError, match="not a readable GGUF file"):
        gguf_file.read(tmp_path / "page.gguf")
    with pytest.raises(GgufError, match="cannot be read"):
        gguf_file.read(tmp_path / "missing.gguf")
    with pytest.raises(GgufError, match="cannot be read"):
        gguf_file.read(tmp_path)
