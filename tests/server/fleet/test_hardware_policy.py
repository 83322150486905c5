"""The policy of every class, and that it never promises what is not there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.fleet.recorded_nvml import GB10, RTX_3060, Card, RecordedNvml
from tests.server.fleet.test_hardware import detect
from zoe_server.fleet.description import describe_hardware, describe_policy
from zoe_server.fleet.gpu import Gpu
from zoe_server.fleet.hardware import Hardware, Machine
from zoe_server.fleet.hardware_policy import Policy, recommend
from zoe_server.fleet.memory import (
    ALL_LAYERS,
    ENGINE_OVERHEAD_BYTES,
    GPU_OVERHEAD_BYTES,
    ModelFacts,
    model_bytes,
)

GIB = 1 << 30
ON_GPU = ENGINE_OVERHEAD_BYTES + GPU_OVERHEAD_BYTES
QWEN_7B = ModelFacts(4_683_073_536, 28 * 4 * 128 * 2 * 2, 8192, 28, overhead_bytes=ON_GPU)
LLAMA_3B = ModelFacts(2_019_377_696, 28 * 8 * 128 * 2 * 2, 4096, 28, overhead_bytes=ON_GPU)


def test_a_jetson_of_16_gb_holds_the_tools_and_the_chat_model_together() -> None:
    policy = recommend(detect("jetson-orin-nx"))
    together = model_bytes(QWEN_7B) + model_bytes(LLAMA_3B)
    assert together <= policy.budget_bytes < 13e9
    assert policy.gpu_layers == ALL_LAYERS


def test_what_the_engines_hold_is_theirs_already() -> None:
    idle = detect("jetson-orin-nx")
    held = model_bytes(QWEN_7B) + model_bytes(LLAMA_3B)
    busy = replace(idle, memory_available_bytes=idle.memory_available_bytes - held)
    assert recommend(busy, held_bytes=held) == recommend(idle)
    assert recommend(busy).budget_bytes < recommend(idle).budget_bytes - held // 2


@pytest.mark.parametrize(
    ("tree", "gpus", "policy"),
    [
        ("jetson-container", (), Policy(ALL_LAYERS, 5_766_139_904)),
        ("raspberry-pi-5", (), Policy(0, 6_332_780_544)),
        ("pc", (), Policy(0, 25_155_311_616)),
        ("pc-rtx", (RTX_3060,), Policy(ALL_LAYERS, 11_933_515_776)),
        ("pc-rtx", (RTX_3060, RTX_3060), Policy(ALL_LAYERS, 23_867_031_552)),
        ("pc-rtx", (GB10,), Policy(ALL_LAYERS, 58_251_866_624)),
        ("pc-rtx", (), Policy(0, 57_983_627_264)),
        ("container-v2", (), Policy(0, 3_221_225_472)),
        ("container-v1", (), Policy(0, 1_073_741_824)),
        ("wsl", (), Policy(0, 12_531_753_984)),
        ("garbled", (), Policy(0, 0)),
    ],
)
def test_the_policy_of_recorded_machines(tree: str, gpus: tuple[Card, ...], policy: Policy) -> None:
    assert recommend(detect(tree, RecordedNvml(*gpus) if gpus else None)) == policy


def test_a_build_without_gpus_makes_any_machine_one_without() -> None:
    assert recommend(detect("jetson-orin-nx"), can_offload=False).gpu_layers == 0
    pc = detect("pc-rtx", RecordedNvml(RTX_3060))
    assert recommend(pc, can_offload=False) == recommend(detect("pc-rtx"))


@st.composite
def cards(draw: st.DrawFn) -> Gpu:
    total = draw(st.none() | st.integers(1, 200 * GIB))
    return Gpu("g", total, None if total is None else draw(st.integers(0, total)))


@st.composite
def machines(draw: st.DrawFn) -> Hardware:
    machine = draw(st.sampled_from(Machine))
    total = draw(st.integers(0, 300 * GIB))
    unified = machine is Machine.JETSON or (machine is Machine.NVIDIA and draw(st.booleans()))
    gpus = (Gpu("g", shares_memory=True),) if unified else tuple(draw(st.lists(cards(), max_size=4)))
    return Hardware(
        machine,
        "board",
        cores=draw(st.integers(1, 256)),
        memory_total_bytes=total,
        memory_available_bytes=draw(st.integers(0, total)),
        unified=unified,
        gpus=gpus,
    )


@settings(deadline=None)  # the machine may be busy
@given(machines(), st.booleans())
def test_never_more_than_is_there(hardware: Hardware, can_offload: bool) -> None:
    policy = recommend(hardware, can_offload=can_offload)
    on_cards = policy.gpu_layers == ALL_LAYERS and not hardware.unified
    available = sum(gpu.free_bytes or 0 for gpu in hardware.gpus) if on_cards else hardware.memory_available_bytes
    assert 0 <= policy.budget_bytes <= available


@settings(deadline=None)  # the machine may be busy
@given(machines(), st.integers(0, 100 * GIB), st.integers(0, 100 * GIB))
def test_more_memory_never_gives_less(hardware: Hardware, more: int, held: int) -> None:
    larger = replace(
        hardware,
        memory_total_bytes=hardware.memory_total_bytes + more,
        memory_available_bytes=hardware.memory_available_bytes + more,
        gpus=tuple(
            gpu
            if gpu.total_bytes is None or gpu.free_bytes is None
            else replace(gpu, total_bytes=gpu.total_bytes + more, free_bytes=gpu.free_bytes + more)
            for gpu in hardware.gpus
        ),
    )
    before_bytes = recommend(hardware).budget_bytes
    assert recommend(larger).budget_bytes >= before_bytes
    assert recommend(hardware, held_bytes=held).budget_bytes >= before_bytes


def test_people_read_what_matters() -> None:
    jetson = detect("jetson-orin-nx")
    assert describe_hardware(jetson) == (
        "Jetson: NVIDIA Jetson Orin NX Engineering Reference Developer Kit; JetPack 6.2 (L4T 36.4.3); 8 cores; "
        "14.6 GB of 16.4 GB memory shared with the GPU available; integrated GPU of tegra234 (27% busy); "
        "cpu-thermal 49 °C"
    )
    assert describe_policy(recommend(jetson)) == "all layers on the GPU; 12.3 GB for all models together"
    assert describe_policy(recommend(detect("pc"))) == "no layers on a GPU; 25.2 GB for all models together"
    pc = describe_hardware(detect("pc-rtx", RecordedNvml(RTX_3060)))
    assert "NVIDIA GeForce RTX 3060 (12.2 GB of 12.9 GB free, 3% busy, 36 °C)" in pc
    assert "limit of this container" in describe_hardware(detect("container-v2"))
