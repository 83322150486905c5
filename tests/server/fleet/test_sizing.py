"""What this machine's memory holds, and what a process takes of it."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest

from tests.fixtures.scripted_engine import ScriptedEngine
from zoe_server.catalogue.engine_options import OpenAIOptions, VllmOptions
from zoe_server.catalogue.spec import ModelSpec, bundled_model_path
from zoe_server.fleet import device_memory, gpu, memory, sizing
from zoe_server.fleet.hardware import Hardware, Machine
from zoe_server.fleet.memory_measurements import MemoryMeasurements
from zoe_server.fleet.planner import FleetPolicy, Load, Want, decide
from zoe_server.fleet.sizing import UNBOUNDED_BYTES, LoadedModel, MachineSizing

MIB = 1 << 20
GIB = 1 << 30
SPEC = ModelSpec("zoe-nano", bundled_model_path())
PC = Hardware(Machine.CPU, "a PC", cores=4, memory_total_bytes=16 * GIB, memory_available_bytes=12 * GIB)
GPU_PC = replace(PC, machine=Machine.NVIDIA, gpus=(gpu.Gpu("RTX", 12 * GIB, 11 * GIB),))

JETSON = replace(PC, machine=Machine.JETSON, unified=True, gpus=(gpu.Gpu("Orin", shares_memory=True),))


class Running(ScriptedEngine):
    """An engine in this very process."""

    @property
    def pid(self) -> int | None:
        return os.getpid()


@pytest.fixture
def book(tmp_path: Path) -> MemoryMeasurements:
    return MemoryMeasurements(tmp_path / "memory.json")


def machine(monkeypatch: pytest.MonkeyPatch, hardware: Hardware, *, offloads: bool = False) -> None:
    async def can_offload() -> bool:
        return offloads

    monkeypatch.setattr(sizing, "detect", lambda **_kwargs: hardware)
    monkeypatch.setattr(sizing, "can_offload", can_offload)


def on_gpu_layers(n_layers: int) -> ModelSpec:
    return replace(SPEC, options=SPEC.options.model_copy(update={"n_gpu_layers": n_layers}))


async def test_the_budget_is_the_users_or_the_policys(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, PC)
    assert await MachineSizing(book, 5 * GIB).budget_bytes() == 5 * GIB
    assert 8 * GIB < await MachineSizing(book).budget_bytes() < 12 * GIB
    machine(monkeypatch, GPU_PC, offloads=True)
    assert 10 * GIB < await MachineSizing(book).budget_bytes() < 11 * GIB


async def test_what_our_own_engines_hold_is_added_back(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, PC)
    weighing = MachineSizing(book)
    before_bytes = await weighing.budget_bytes()
    machine(monkeypatch, replace(PC, memory_available_bytes=2 * GIB))
    assert await weighing.budget_bytes() < 2 * GIB
    info = SimpleNamespace(rss=9 * GIB, shared=4 * GIB)  # the mapped weights are available to others
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _self: info)
    monkeypatch.setattr(psutil.Process, "children", lambda _self, **_kwargs: [])
    held_bytes = await weighing.budget_bytes([LoadedModel(SPEC, 8 * GIB, os.getpid()), LoadedModel(SPEC, 1, None)])
    assert held_bytes - await weighing.budget_bytes() == 5 * GIB
    assert held_bytes < before_bytes


async def test_on_a_gpu_what_models_take_of_it_is_added_back(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, GPU_PC, offloads=True)
    weighing = MachineSizing(book)
    before_bytes = await weighing.budget_bytes()
    machine(monkeypatch, replace(GPU_PC, gpus=(gpu.Gpu("RTX", 12 * GIB, 7 * GIB),)), offloads=True)
    held = [LoadedModel(SPEC, 3 * GIB, os.getpid()), LoadedModel(on_gpu_layers(0), GIB, os.getpid())]
    assert await weighing.budget_bytes(held) == before_bytes


async def test_where_the_gpu_shares_memory_the_process_tells_what_a_model_on_the_cpu_holds(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, JETSON, offloads=True)
    weighing = MachineSizing(book)
    await weighing.budget_bytes()
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _self: SimpleNamespace(rss=3 * GIB, shared=2 * GIB))
    monkeypatch.setattr(psutil.Process, "children", lambda _self, **_kwargs: [])
    machine(monkeypatch, replace(JETSON, memory_available_bytes=2 * GIB), offloads=True)
    without_bytes = await weighing.budget_bytes()
    assert await weighing.budget_bytes([LoadedModel(on_gpu_layers(0), 3 * GIB, os.getpid())]) == without_bytes + GIB
    await weighing.estimate(on_gpu_layers(0))
    assert await weighing.weigh(on_gpu_layers(0), Running(SPEC), 2 * GIB) == 3 * GIB


async def test_a_driver_that_hangs_leaves_the_budget_as_it_was(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch, PC)
    weighing = MachineSizing(book)
    before_bytes = await weighing.budget_bytes()
    released, asked = threading.Event(), []

    def hang(**_kwargs: object) -> Hardware:
        asked.append(threading.current_thread())
        released.wait()
        return replace(PC, memory_available_bytes=2 * GIB)

    monkeypatch.setattr(sizing, "detect", hang)
    monkeypatch.setattr(sizing, "_ANSWER_S", 0.05)
    assert [await weighing.budget_bytes() for _ in range(3)] == [before_bytes] * 3
    assert [thread.daemon for thread in asked] == [True]
    assert caplog.text.count("a driver may hang") == 1
    released.set()
    async with weighing._questions._turn:  # it has answered
        pass
    machine(monkeypatch, replace(PC, memory_available_bytes=2 * GIB))
    assert await weighing.budget_bytes() < before_bytes


async def test_who_asks_while_another_question_is_under_way_gets_an_answer_too(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, GPU_PC, offloads=True)
    monkeypatch.setattr(gpu, "find", lambda _tree, _load: gpu.FoundGpus(GPU_PC.gpus))
    weighing = MachineSizing(book)
    await weighing.budget_bytes()
    asked, released = threading.Event(), threading.Event()

    def look(**_kwargs: object) -> Hardware:
        asked.set()
        released.wait()
        return GPU_PC

    monkeypatch.setattr(sizing, "detect", look)
    budget = asyncio.create_task(weighing.budget_bytes())
    await asyncio.to_thread(asked.wait)
    free = asyncio.create_task(weighing.free_bytes())
    await asyncio.wait({free}, timeout=0)
    released.set()
    assert (await free, await budget) == (11 * GIB, await MachineSizing(book).budget_bytes())


async def test_a_budget_of_the_user_stays_what_it_is(book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, PC)
    weighing = MachineSizing(book, 5 * GIB)
    await weighing.budget_bytes()
    assert await weighing.budget_bytes([LoadedModel(SPEC, GIB, os.getpid())]) == 5 * GIB


async def test_a_machine_that_tells_nothing_bounds_nothing(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, Hardware(Machine.CPU, "?", notes=("nothing is known",)))
    assert await MachineSizing(book).budget_bytes() == UNBOUNDED_BYTES


async def test_a_model_is_estimated_from_its_file_and_then_from_what_it_took(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, PC)
    weighing = MachineSizing(book)
    await weighing.budget_bytes()
    small = await weighing.estimate(SPEC)
    assert (
        SPEC.path.stat().st_size
        < small
        < await weighing.estimate(replace(SPEC, options=SPEC.options.model_copy(update={"n_ctx_tokens": 1 << 20})))
    )
    await weighing.estimate(SPEC)
    assert await weighing.free_bytes() is None
    taken = await weighing.weigh(SPEC, Running(SPEC), None)
    assert taken is not None
    assert taken > SPEC.path.stat().st_size
    assert await MachineSizing(book).estimate(SPEC) == taken
    assert await weighing.weigh(SPEC, ScriptedEngine(SPEC), None) is None


async def test_files_that_are_missing_or_no_models_count_as_far_as_they_are_there(
    book: MemoryMeasurements, tmp_path: Path
) -> None:
    weighing = MachineSizing(book)
    assert await weighing.estimate(replace(SPEC, path=tmp_path / "missing.gguf")) == 0
    (tmp_path / "broken.gguf").write_bytes(b"x" * 1000)
    assert await weighing.estimate(replace(SPEC, path=tmp_path / "broken.gguf")) > 1000
    script = replace(SPEC, engine="scripted", path=tmp_path / "broken.gguf")
    assert await weighing.estimate(script) == 0


async def test_the_picture_encoder_counts(book: MemoryMeasurements, tmp_path: Path) -> None:
    (tmp_path / "mmproj.gguf").write_bytes(b"x" * 5000)
    weighing = MachineSizing(book)
    alone = await weighing.estimate(SPEC)
    assert (
        await weighing.estimate(
            replace(SPEC, options=SPEC.options.model_copy(update={"projector_path": tmp_path / "mmproj.gguf"}))
        )
        == alone + 5000
    )


async def test_on_a_gpu_what_is_free_less_counts(book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, GPU_PC, offloads=True)
    weighing = MachineSizing(book)
    await weighing.budget_bytes()
    await weighing.estimate(SPEC)
    found = [gpu.FoundGpus(GPU_PC.gpus), gpu.FoundGpus((replace(GPU_PC.gpus[0], free_bytes=9 * GIB),))]
    monkeypatch.setattr(gpu, "find", lambda _tree, _load: found.pop(0))
    assert await weighing.weigh(SPEC, Running(SPEC), None) is None  # its process does not tell what it takes of a GPU
    before = await weighing.free_bytes()
    assert before == 11 * GIB
    assert await weighing.weigh(SPEC, Running(SPEC), before) == 2 * GIB


async def test_where_the_gpu_shares_memory_what_is_available_less_counts(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, JETSON, offloads=True)
    weighing = MachineSizing(book)
    await weighing.budget_bytes()
    await weighing.estimate(SPEC)
    left = [device_memory.DeviceMemory(16 * GIB, 12 * GIB), device_memory.DeviceMemory(16 * GIB, 7 * GIB)]
    monkeypatch.setattr(device_memory, "read", lambda _tree: left.pop(0))
    before = await weighing.free_bytes()
    assert await weighing.weigh(SPEC, Running(SPEC), before) == 5 * GIB


@pytest.mark.parametrize(("n_gpu_layers", "share"), [(-1, 1), (81, 1), (30, 30 / 81), (0, 0)])
async def test_a_gpu_with_its_own_memory_has_its_layers_of_a_model(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch, n_gpu_layers: int, share: float
) -> None:
    """A model of 70B with 40 GiB of weights and a GPU of 24 GiB."""
    facts = memory.ModelFacts(40 * GIB, 320 << 10, 4096, 80)
    monkeypatch.setattr(
        memory, "facts_of", lambda _file, _n_ctx, *, on_gpu: replace(facts, overhead_bytes=on_gpu * GIB)
    )
    monkeypatch.setattr(sizing, "_files_bytes", lambda _spec: facts.weights_bytes)
    card = gpu.Gpu("RTX", 24 * GIB, 23 * GIB)
    machine(monkeypatch, replace(GPU_PC, gpus=(card,), memory_total_bytes=64 * GIB), offloads=True)
    weighing, spec = MachineSizing(book), on_gpu_layers(n_gpu_layers)
    budget_bytes = await weighing.budget_bytes()
    size_bytes = await weighing.estimate(spec)
    assert size_bytes == pytest.approx(share * (40 * GIB + 320 * 4 * MIB) + GIB, abs=1)
    fits = isinstance(decide([], [Want("big", size_bytes, 0.0)], budget_bytes, 0.0, FleetPolicy()), Load)
    assert fits is (share < 1)
    monkeypatch.setattr(gpu, "find", lambda _tree, _load: gpu.FoundGpus((replace(card, free_bytes=22 * GIB),)))
    weighed_bytes = await weighing.weigh(spec, Running(spec), 23 * GIB)
    assert weighed_bytes == pytest.approx(max(GIB, share * 40 * GIB), abs=1)


async def test_layers_that_the_machine_lacks_memory_for_count_for_the_gpu_too(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sizing, "_files_bytes", lambda _spec: 14 * GIB)
    for total_gib, n_gpu_layers, counted in ((20, 0, False), (16, -1, True), (16, 0, True)):
        machine(monkeypatch, replace(GPU_PC, memory_total_bytes=total_gib * GIB), offloads=True)
        weighing = MachineSizing(book)
        budget_bytes = await weighing.budget_bytes()
        assert (await weighing.estimate(on_gpu_layers(n_gpu_layers)) > budget_bytes) is counted
        assert ("layers that the CPU computes need about" in caplog.text) is (counted and n_gpu_layers == 0)


async def test_a_model_elsewhere_takes_nothing_here(book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch) -> None:
    far = ModelSpec("far", Path("unused"), engine="openai", options=OpenAIOptions(urls=["http://nas"]))
    for hardware in (PC, GPU_PC, JETSON):
        machine(monkeypatch, hardware, offloads=True)
        weights = MachineSizing(book)
        alone = await weights.budget_bytes()
        assert await weights.estimate(far) == 0
        assert await weights.budget_bytes([LoadedModel(far, 0)]) == alone
        assert await weights.weigh(far, ScriptedEngine(far), 0) is None


async def test_vllm_takes_its_share_at_once(
    book: MemoryMeasurements, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * MIB)
    options = VllmOptions(memory_share=0.25, cache_bytes=64 * MIB)
    spec = ModelSpec("fast", tmp_path, engine="vllm", options=options)
    expected = (
        (JETSON, JETSON.memory_total_bytes // 4),
        (GPU_PC, 3 * GIB),
        (PC, 65 * MIB + memory.VLLM_OVERHEAD_BYTES),
    )
    for hardware, size_bytes in expected:
        machine(monkeypatch, hardware, offloads=hardware is not PC)
        weights = MachineSizing(book)
        await weights.budget_bytes()
        assert await weights.estimate(spec) == size_bytes
