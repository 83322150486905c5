"""What a model takes: by its facts, and as it was measured."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.random_gguf import write_random_gguf
from zoe_server.catalogue import gguf_file
from zoe_server.fleet.memory import (
    ALL_LAYERS,
    ENGINE_OVERHEAD_BYTES,
    GPU_OVERHEAD_BYTES,
    ModelFacts,
    facts_of,
    gpu_layers,
    host_bytes,
    kv_bytes,
    model_bytes,
)
from zoe_server.fleet.memory_measurements import MemoryMeasurements

if TYPE_CHECKING:
    from pathlib import Path

QWEN_7B = ModelFacts(4_683_073_536, 28 * 4 * 128 * 2 * 2, 8192, 28)

facts = st.builds(
    ModelFacts,
    weights_bytes=st.integers(0, 1 << 40),
    kv_bytes_per_token=st.integers(0, 1 << 21),
    n_ctx_tokens=st.integers(1, 1 << 20),
    n_layers=st.integers(0, 200),
    n_gpu_layers=st.integers(ALL_LAYERS, 220),
)


def test_the_kv_cache_is_layers_x_heads_x_size_x_keys_and_values_x_bytes() -> None:
    assert kv_bytes(QWEN_7B) == 8192 * 28 * 4 * 128 * 2 * 2 == 469_762_048
    assert model_bytes(QWEN_7B) == 4_683_073_536 + 469_762_048 + ENGINE_OVERHEAD_BYTES


def test_a_context_is_rounded_up_as_the_library_does() -> None:
    assert kv_bytes(replace(QWEN_7B, n_ctx_tokens=8000)) == kv_bytes(QWEN_7B)
    assert kv_bytes(replace(QWEN_7B, n_ctx_tokens=8193)) == kv_bytes(replace(QWEN_7B, n_ctx_tokens=8448))


def test_the_facts_come_from_the_model_s_file(tmp_path: Path) -> None:
    path = write_random_gguf(tmp_path / "random.gguf")
    file = gguf_file.read(path)
    found = facts_of(file, 1024, on_gpu=False)
    assert (found.weights_bytes, found.n_ctx_tokens, found.n_layers) == (path.stat().st_size, 1024, 2)
    assert kv_bytes(found) == 1024 * file.kv_bytes_per_token > 0
    assert facts_of(file, 1024, on_gpu=True).overhead_bytes == ENGINE_OVERHEAD_BYTES + GPU_OVERHEAD_BYTES


@settings(deadline=None)  # the machine may be busy
@given(facts, st.integers(0, 1 << 41))
def test_so_many_layers_are_put_on_a_gpu_as_fit(model: ModelFacts, budget_bytes: int) -> None:
    layers = gpu_layers(model, budget_bytes)
    assert layers == ALL_LAYERS or 0 <= layers <= model.n_layers
    assert layers == 0 or model_bytes(replace(model, n_gpu_layers=layers)) <= budget_bytes
    assert gpu_layers(model, model_bytes(replace(model, n_gpu_layers=ALL_LAYERS))) == ALL_LAYERS


@given(facts)
def test_what_is_not_on_the_gpu_is_in_the_memory_of_the_machine(model: ModelFacts) -> None:
    whole = replace(model, n_gpu_layers=ALL_LAYERS)
    assert model_bytes(model) + host_bytes(model) == model_bytes(whole)
    assert host_bytes(whole) == 0
    if model.n_layers:
        assert model_bytes(replace(model, n_gpu_layers=model.n_layers + 1)) == model_bytes(whole)
    assert host_bytes(replace(model, n_gpu_layers=0)) == model.weights_bytes + kv_bytes(model)


def test_a_gpu_that_is_too_small_gets_a_part() -> None:
    assert gpu_layers(QWEN_7B, 4 << 30) == 22
    assert gpu_layers(QWEN_7B, ENGINE_OVERHEAD_BYTES) == 0
    assert gpu_layers(replace(QWEN_7B, n_layers=0), 4 << 30) == 0


def test_layers_of_unknown_number_are_all_counted_for_the_gpu() -> None:
    unknown = replace(QWEN_7B, n_layers=0, n_gpu_layers=7)
    assert (model_bytes(unknown), host_bytes(unknown)) == (model_bytes(QWEN_7B), 0)


def test_what_was_measured_replaces_the_estimate_through_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "memory.json"
    book = MemoryMeasurements(path)
    assert book.estimate("qwen", QWEN_7B) == model_bytes(QWEN_7B)
    book.remember("qwen", QWEN_7B, 5_000_000_000)
    for again in (book, MemoryMeasurements(path)):
        assert again.estimate("qwen", QWEN_7B) == 5_000_000_000
        assert again.estimate("other", QWEN_7B) == model_bytes(QWEN_7B)
    assert [file.name for file in path.parent.iterdir()] == ["memory.json"]


def test_another_context_is_corrected_by_what_was_missing_and_never_made_smaller(tmp_path: Path) -> None:
    book, longer = MemoryMeasurements(tmp_path / "memory.json"), replace(QWEN_7B, n_ctx_tokens=32_768)
    book.remember("qwen", QWEN_7B, model_bytes(QWEN_7B) + 1000)
    assert book.estimate("qwen", longer) == model_bytes(longer) + 1000
    book.remember("qwen", longer, model_bytes(longer) - 1_000_000_000)
    assert book.estimate("qwen", QWEN_7B) == model_bytes(QWEN_7B)


def test_other_weights_under_the_same_name_are_another_model(tmp_path: Path) -> None:
    book, other = MemoryMeasurements(tmp_path / "memory.json"), replace(QWEN_7B, weights_bytes=1_000_000)
    book.remember("qwen", QWEN_7B, 9_000_000_000)
    assert book.estimate("qwen", other) == model_bytes(other)


def test_an_outlier_is_forgotten_after_a_few_others(tmp_path: Path) -> None:
    book = MemoryMeasurements(tmp_path / "memory.json")
    for measured in (9_000_000_000, 5_000_000_000, 5_100_000_000, 5_000_000_000, 5_000_000_000):
        book.remember("qwen", QWEN_7B, measured)
        assert book.estimate("qwen", QWEN_7B) == 9_000_000_000
    book.remember("qwen", QWEN_7B, 5_000_000_000)
    assert book.estimate("qwen", QWEN_7B) == 5_100_000_000


def page(measured_bytes: int, **facts: object) -> bytes:
    entry = {"facts": {"weights_bytes": 1, "kv_bytes_per_token": 1, **facts}, "measured_bytes": [measured_bytes]}
    return json.dumps({"version": 2, "models": {"qwen": entry}}).encode()


BROKEN = [b"", b"{", b"\xff\xfe", b"[]", b'{"version": 1}', b'{"version": 2, "models": {"qwen": {}}}', page(1)]


@pytest.mark.parametrize("content", [*BROKEN, page(0, n_ctx_tokens=1)])
def test_a_broken_file_is_a_warning_and_is_written_anew(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "memory.json"
    path.write_bytes(content)
    book = MemoryMeasurements(path)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(path) in caplog.text
    assert book.estimate("qwen", QWEN_7B) == model_bytes(QWEN_7B)
    book.remember("qwen", QWEN_7B, 123)
    assert list(json.loads(path.read_text(encoding="utf-8"))["models"]) == ["qwen"]
    assert MemoryMeasurements(path).estimate("qwen", QWEN_7B) == 123


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    book = MemoryMeasurements(tmp_path / "file" / "memory.json")
    caplog.clear()
    book.remember("qwen", QWEN_7B, 123)
    assert "cannot be remembered" in caplog.text
    assert book.estimate("qwen", QWEN_7B) == 123


def test_nothing_takes_no_memory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 0 bytes"):
        MemoryMeasurements(tmp_path / "memory.json").remember("qwen", QWEN_7B, 0)


@settings(deadline=None, max_examples=50)  # the machine may be busy
@given(entries=st.lists(st.tuples(st.sampled_from("abc"), facts, st.integers(1, 1 << 45)), max_size=12))
def test_a_book_read_again_says_the_same(
    entries: list[tuple[str, ModelFacts, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("book") / "memory.json"
    book = MemoryMeasurements(path)
    for name, model, measured in entries:
        book.remember(name, model, measured)
        assert book.estimate(name, model) >= measured
    again = MemoryMeasurements(path)
    for name, model, _ in entries:
        assert again.estimate(name, model) == book.estimate(name, model) >= 1
