"""Each thing that the doctor looks at, in good and in bad health."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.random_embedder_gguf import write_random_embedder_gguf
from tests.fixtures.random_gguf import write_random_gguf
from tests.fixtures.random_projector_gguf import write_random_projector
from zoe_server import doctor, settings
from zoe_server.catalogue import gguf_file
from zoe_server.catalogue.engine_options import Adapter
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.gpu import Gpu
from zoe_server.fleet.hardware import Hardware, Machine
from zoe_server.fleet.hardware_policy import Policy, recommend
from zoe_server.fleet.memory import ALL_LAYERS, facts_of, host_bytes, kv_bytes, model_bytes
from zoe_server.fleet.memory_measurements import MemoryMeasurements

if TYPE_CHECKING:
    from pathlib import Path


COMPUTER = Hardware(Machine.CPU, "a board", 4, memory_total_bytes=8_000_000_000, memory_available_bytes=6_000_000_000)


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return ModelSpec("m", write_random_gguf(tmp_path / "random.gguf"))


async def test_the_library_is_loaded_in_a_child() -> None:
    finding = await doctor.check_library()
    assert finding.ok
    assert "0.3." in finding.text


async def test_a_library_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "llama_cpp.py").write_text("raise ModuleNotFoundError(\"No module named 'llama_cpp'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = await doctor.check_library()
    assert (finding.ok, "./scripts/setup" in finding.text) == (False, True)


async def test_a_library_that_crashes_is_said_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "llama_cpp.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = await doctor.check_library()
    assert not finding.ok
    assert finding.text.startswith("the llama.cpp build crashes on this CPU (SIGILL)")


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = ("127.0.0.1", taken.getsockname()[1], None)
        assert not doctor.check_address(*where).ok
        assert "--port" in doctor.check_address(*where).text
    assert doctor.check_address(*where).ok


def test_an_address_for_others_needs_a_key() -> None:
    finding = doctor.check_address("0.0.0.0", 0, None)  # noqa: S104 - this is what is refused
    assert (finding.ok, "ZOE_API_KEY" in finding.text) == (False, True)


def test_a_model_file_must_be_there_and_of_the_right_kind(spec: ModelSpec, tmp_path: Path) -> None:
    assert doctor.check_model_file(spec).ok
    assert not doctor.check_model_file(replace(spec, path=tmp_path / "missing.gguf")).ok
    assert not doctor.check_model_file(replace(spec, path=tmp_path)).ok
    (tmp_path / "other.gguf").write_bytes(b"PK\x03\x04")
    assert "not a GGUF" in doctor.check_model_file(replace(spec, path=tmp_path / "other.gguf")).text


def test_the_files_beside_a_model_are_looked_at_too(spec: ModelSpec, tmp_path: Path) -> None:
    assert doctor.check_other_files(spec) == []
    adapter, projector = tmp_path / "missing.gguf", write_random_projector(tmp_path / "mmproj.gguf")
    full = replace(
        spec,
        options=spec.options.model_copy(
            update={"projector_path": projector, "adapters": {"jokes": Adapter(path=adapter)}}
        ),
    )
    assert [(finding.ok, finding.subject) for finding in doctor.check_other_files(full)] == [
        (False, "adapter jokes of m"),
        (True, "projector of m"),
    ]
    projector.write_bytes(b"PK")
    assert "not a GGUF" in doctor.check_other_files(full)[1].text


def check_memory(spec: ModelSpec, hardware: Hardware, book: Path) -> doctor.Finding:
    return doctor.check_memory(spec, hardware, recommend(hardware), MemoryMeasurements(book))


def test_memory_is_compared_with_what_the_model_needs(spec: ModelSpec, tmp_path: Path) -> None:
    facts = facts_of(gguf_file.read(spec.path), spec.n_ctx_tokens, on_gpu=False)
    enough = replace(COMPUTER, memory_available_bytes=model_bytes(facts))
    assert check_memory(spec, enough, tmp_path / "book").ok
    finding = check_memory(spec, replace(enough, memory_available_bytes=model_bytes(facts) - 1), tmp_path / "book")
    assert (finding.ok, "smaller model" in finding.text) == (False, True)


def test_the_kv_cache_of_a_long_context_counts(spec: ModelSpec, tmp_path: Path) -> None:
    long = replace(spec, options=spec.options.model_copy(update={"n_ctx_tokens": 64 * spec.n_ctx_tokens}))
    facts = facts_of(gguf_file.read(spec.path), spec.n_ctx_tokens, on_gpu=False)
    machine = replace(COMPUTER, memory_available_bytes=model_bytes(facts) + 32 * kv_bytes(facts))
    assert check_memory(spec, machine, tmp_path / "book").ok
    finding = check_memory(long, machine, tmp_path / "book")
    assert (finding.ok, "smaller context" in finding.text) == (False, True)


def test_what_was_measured_wins(spec: ModelSpec, tmp_path: Path) -> None:
    facts = facts_of(gguf_file.read(spec.path), spec.n_ctx_tokens, on_gpu=False)
    MemoryMeasurements(tmp_path / "book").remember(spec.name, facts, COMPUTER.memory_total_bytes)
    assert not check_memory(spec, COMPUTER, tmp_path / "book").ok


def test_a_graphics_card_has_a_memory_of_its_own(spec: ModelSpec, tmp_path: Path) -> None:
    card = Gpu("RTX", total_bytes=8_000_000_000, free_bytes=1_000_000)
    machine = replace(COMPUTER, machine=Machine.NVIDIA, gpus=(card,))
    assert recommend(machine).gpu_layers == ALL_LAYERS
    for layers in (-1, 0):  # an engine takes some of a GPU that it could use
        finding = check_memory(on_gpu_layers(spec, layers), machine, tmp_path / "book")
        assert (finding.ok, "0.0 GB of GPU memory available" in finding.text) == (False, True)
        assert "gpu_layers" not in finding.text
    assert check_memory(spec, replace(machine, gpus=(replace(card, free_bytes=8_000_000_000),)), tmp_path / "book").ok


def on_gpu_layers(spec: ModelSpec, n_layers: int) -> ModelSpec:
    return replace(spec, options=spec.options.model_copy(update={"n_gpu_layers": n_layers}))


def test_layers_that_a_card_is_too_small_for_are_the_cpu_s_if_that_has_room(spec: ModelSpec, tmp_path: Path) -> None:
    facts = replace(facts_of(gguf_file.read(spec.path), spec.n_ctx_tokens, on_gpu=True), n_gpu_layers=1)
    free_bytes, rest_bytes = model_bytes(facts), host_bytes(facts)
    card = Gpu("RTX", total_bytes=8_000_000_000, free_bytes=free_bytes)

    def check(layers: int, available_bytes: int) -> doctor.Finding:
        machine = replace(COMPUTER, machine=Machine.NVIDIA, gpus=(card,), memory_available_bytes=available_bytes)
        policy = Policy(ALL_LAYERS, free_bytes)
        return doctor.check_memory(on_gpu_layers(spec, layers), machine, policy, MemoryMeasurements(tmp_path / "book"))

    advice = "or let the CPU do a part: gpu_layers = 1"
    assert check(1, rest_bytes).ok
    for layers, available_bytes in ((-1, rest_bytes), (2, rest_bytes), (0, rest_bytes), (1, rest_bytes - 1)):
        finding = check(layers, available_bytes)
        assert (finding.ok, advice in finding.text) == (False, available_bytes == rest_bytes)
        assert ("GB of memory available" in finding.text) is (layers != -1)


def test_memory_of_a_model_that_is_not_there_is_unknown(spec: ModelSpec, tmp_path: Path) -> None:
    finding = check_memory(replace(spec, path=tmp_path / "missing.gguf"), COMPUTER, tmp_path / "book")
    assert (finding.ok, "cannot be read" in finding.text) == (False, True)


def test_the_hardware_is_described_with_what_to_do_for_more() -> None:
    machine = replace(COMPUTER, machine=Machine.NVIDIA, gpus=(Gpu("RTX", 8_000_000_000, 7_000_000_000),))
    library = doctor.LibraryFinding(True, "library", "version 1", can_offload=False)
    described, recommended = doctor.check_hardware(machine, recommend(machine, can_offload=False), library)
    assert (described.ok, "a board; 4 cores" in described.text, "RTX (7.0 GB of 8.0 GB free)" in described.text) == (
        True,
    ) * 3
    assert "no layers on a GPU" in recommended.text
    assert "GGML_CUDA=ON" in recommended.text
    fitting = doctor.check_hardware(machine, recommend(machine), replace(library, can_offload=True))
    assert "all layers on the GPU" in fitting[1].text
    assert "GGML_CUDA" not in fitting[1].text


async def test_a_configured_budget_counts(tmp_path: Path) -> None:
    (tmp_path / "zoe.toml").write_text("server = { memory_budget_bytes = 1_234_000_000, port = 0 }")
    findings = await doctor.examine(settings.load(tmp_path / "zoe.toml"))
    assert "1.2 GB for all models together" in next(one.text for one in findings if one.subject == "policy")


async def test_everything_is_examined() -> None:
    subjects = [finding.subject for finding in await doctor.examine(settings.load(port=0))]
    assert subjects[1:3] == ["hardware", "policy"]
    assert subjects[-2:] == ["memory for zoe-nano", "self-test of zoe-nano"]


async def test_a_model_that_cannot_see_though_it_should_is_said(spec: ModelSpec, tmp_path: Path) -> None:
    (tmp_path / "zoe.toml").write_text(f"[models.eyes]\npath = {str(spec.path)!r}\nroles = ['vision']")
    found = {finding.subject: finding for finding in await doctor.examine(settings.load(tmp_path / "zoe.toml", port=0))}
    assert (found["pictures"].ok, "models.eyes.projector" in found["pictures"].text) == (False, True)
    assert found["self-test of eyes"].ok


async def test_the_self_test_computes_for_real(spec: ModelSpec, tmp_path: Path) -> None:
    assert (await doctor.check_engine(spec)).ok
    finding = await doctor.check_engine(replace(spec, path=tmp_path / "missing.gguf"))
    assert (finding.ok, "missing.gguf" in finding.text) == (False, True)


async def test_the_self_test_of_an_embedding_model_makes_an_embedding(tmp_path: Path) -> None:
    finding = await doctor.check_engine(ModelSpec("e", write_random_embedder_gguf(tmp_path / "random.gguf")))
    assert (finding.ok, finding.text) == (True, "it computes")
