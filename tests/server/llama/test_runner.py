"""The runner: which files it refuses, and what it makes of the library's answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import pytest
from gguf import GGUFReader, GGUFValueType

from tests.fixtures.random_gguf import write_random_gguf
from zoe_server.catalogue.spec import bundled_model_path
from zoe_server.llama import model_file
from zoe_server.llama.cache.kv_cache import MemoryOperation
from zoe_server.llama.config import EngineConfig
from zoe_server.llama.embedding.runner import EmbeddingRunner
from zoe_server.llama.model_file import ModelLoadError
from zoe_server.llama.runner import FatalDecodeError, NoFreeCellError, Runner, _has_flash_attention
from zoe_server.llama.scheduling.batch import Batch, Chunk
from zoe_server.llama.scheduling.sequence import Sequence


def chunk(tokens: list[int], *, slot: int = 0, start: int = 0, samples: bool = True) -> Chunk:
    return Chunk(Sequence("r", list(tokens), len(tokens), 1, "interactive", 0.0), slot, start, tokens, samples)


def batch(*chunks: Chunk, operations: tuple[MemoryOperation, ...] = ()) -> Batch:
    return Batch(operations, chunks, (), 0.0)


def load(path: Path, **config: int) -> Runner:
    return Runner(EngineConfig(model_path=path, socket_path=path.with_suffix(".sock"), n_threads=1, **config))


@pytest.mark.parametrize("kind", [Runner, EmbeddingRunner])
def test_too_little_memory_for_a_context(
    kind: type[Runner | EmbeddingRunner], tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "llama_init_from_model", lambda *_: None)
    config = EngineConfig(model_path=tiny_gguf, socket_path=tiny_gguf.with_suffix(".sock"), n_ctx_tokens=256)
    with pytest.raises(ModelLoadError, match=r"no context of 256 tokens for tiny\.gguf"):
        kind(config, model_file.load(tiny_gguf, 0))


@pytest.fixture
def runner(tiny_gguf: Path) -> Iterator[Runner]:
    runner = load(tiny_gguf, n_ctx_tokens=256, n_slots=4)
    yield runner
    runner.close()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="does not exist"):
        load(tmp_path / "nothing.gguf")


@pytest.mark.parametrize(
    "content", [b"", b"GGUF" + bytes(100), b"not a model at all" * 50], ids=["empty", "header", "text"]
)
def test_broken_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"bad\.gguf is not a readable GGUF model: .+"):
        load(path)


def test_truncated_file(tmp_path: Path, tiny_gguf: Path) -> None:
    path = tmp_path / "half.gguf"
    whole = tiny_gguf.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(ModelLoadError, match=r"half\.gguf"):
        load(path)


@pytest.mark.parametrize("architecture", ["mamba", "jamba"])
def test_recurrent_and_hybrid_models_are_refused_by_name(tmp_path: Path, architecture: str) -> None:
    path = write_random_gguf(tmp_path / "state.gguf", architecture=architecture)
    with pytest.raises(ModelLoadError, match=f"recurrent architecture '{architecture}'"):
        load(path)


def test_info_tells_sizes(runner: Runner, tiny_gguf: Path) -> None:
    info = runner.info()
    assert info["architecture"] == "llama"
    assert info["n_ctx_tokens"] == 256
    assert info["file_bytes"] == tiny_gguf.stat().st_size
    assert info["file_modified_s"] == int(tiny_gguf.stat().st_mtime)
    assert info["n_parameters"] > 10_000
    assert 0.0 <= info["gpu_share"] <= 1.0


def test_info_tells_how_the_weights_are_stored() -> None:
    runner = load(bundled_model_path())
    assert runner.info()["quantization"] == "Q8_0"
    runner.close()


def test_the_header_is_that_of_the_file(runner: Runner, tiny_gguf: Path) -> None:
    header = runner.header()
    written = {key: field for key, field in GGUFReader(tiny_gguf).fields.items() if not key.startswith("GGUF.")}
    values = {key for key, field in written.items() if field.types[0] is not GGUFValueType.ARRAY}
    assert set(header) == values - {"tokenizer.chat_template"}
    assert header["general.architecture"] == "llama"


def test_context_is_bounded_by_what_the_model_was_trained_for(tmp_path: Path) -> None:
    runner = load(write_random_gguf(tmp_path / "short.gguf", context=512), n_ctx_tokens=2048)
    assert (runner.n_cells, runner.n_ctx_tokens) == (2048, 512)
    runner.close()


def test_warm_up_leaves_nothing_behind(runner: Runner) -> None:
    runner.warm_up()
    assert runner.audit([0, 0, 0, 0]) == []


def test_copy_shares_cells(runner: Runner) -> None:
    runner.decode(batch(chunk([1] * 200)))
    copies = tuple(MemoryOperation("copy", slot, 200, 0) for slot in (1, 2, 3))
    runner.decode(batch(*(chunk([slot] * 10, slot=slot, start=200) for slot in (1, 2, 3)), operations=copies))
    assert runner.audit([200, 210, 210, 210]) == []
    assert runner.audit([200, 210, 0, 210]) == [2]


def test_no_free_cell_changes_nothing(runner: Runner) -> None:
    runner.decode(batch(chunk([1] * 200)))
    with pytest.raises(NoFreeCellError):
        runner.decode(batch(chunk([1] * 100, slot=1)))
    assert runner.audit([200, 0, 0, 0]) == []
    runner.decode(batch(chunk([1] * 100, slot=1), operations=(MemoryOperation("keep", 0, 0),)))
    assert runner.audit([0, 100, 0, 0]) == []


def test_hole_in_the_positions_is_fatal(runner: Runner) -> None:
    runner.decode(batch(chunk([1] * 10)))
    with pytest.raises(FatalDecodeError, match="code -1"):
        runner.decode(batch(chunk([1, 2], start=12)))


@pytest.mark.parametrize(
    ("machine", "on_gpu", "wanted", "has"),
    [
        ("x86_64", False, None, False),
        ("AMD64", False, None, False),
        ("x86_64", True, None, True),
        ("aarch64", False, None, True),
        ("x86_64", False, True, True),
        ("aarch64", True, False, False),
    ],
)
def test_scores_are_kept_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, tiny_gguf: Path, machine: str, on_gpu: bool, wanted: bool | None, has: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("llama_cpp.llama_supports_gpu_offload", lambda: on_gpu)
    config = EngineConfig(model_path=tiny_gguf, socket_path=tiny_gguf, flash_attention=wanted)
    assert _has_flash_attention(config) is has


@pytest.mark.parametrize("flash_attention", [True, False])
def test_a_saved_state_is_of_one_way_of_attention(tiny_gguf: Path, flash_attention: bool) -> None:
    runner = Runner(EngineConfig(model_path=tiny_gguf, socket_path=tiny_gguf, flash_attention=flash_attention))
    assert runner.identity()["flash_attention"] == flash_attention
    runner.close()
