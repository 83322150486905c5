"""What a machine is and what models may use of it, in a line of words for people. Pure."""

from __future__ import annotations

from typing import Final

from zoe_server.fleet.gpu import Gpu
from zoe_server.fleet.hardware import Hardware, Machine
from zoe_server.fleet.hardware_policy import Policy
from zoe_server.fleet.memory import ALL_LAYERS

_CLASSES: Final = {
    Machine.JETSON: "Jetson",
    Machine.NVIDIA: "computer with an NVIDIA GPU",
    Machine.RASPBERRY_PI: "Raspberry Pi",
    Machine.CPU: "computer without a GPU of use",
}


def describe_hardware(hardware: Hardware) -> str:
    """Return class, board, cores, memory, GPUs, temperature and notes."""
    parts = [f"{_CLASSES[hardware.machine]}: {hardware.board}", _jetpack(hardware), _cores(hardware.cores)]
    parts += [_memory(hardware), *(_gpu(gpu) for gpu in hardware.gpus), _warmest(hardware), *hardware.notes]
    return "; ".join(part for part in parts if part)


def describe_policy(policy: Policy) -> str:
    """Return what models may use."""
    layers = "all layers on the GPU" if policy.gpu_layers == ALL_LAYERS else "no layers on a GPU"
    return f"{layers}; {gigabytes(policy.budget_bytes)} for all models together"


def gigabytes(size_bytes: int) -> str:
    """Return a size as people write it."""
    return f"{size_bytes / 1e9:.1f} GB"


def _jetpack(hardware: Hardware) -> str:
    if hardware.l4t is None:
        return ""
    return f"JetPack {hardware.jetpack or 'of unknown version'} (L4T {hardware.l4t})"


def _cores(cores: int) -> str:
    return "1 core" if cores == 1 else f"{cores} cores"


def _memory(hardware: Hardware) -> str:
    if not hardware.memory_total_bytes:
        return ""
    kind = "memory shared with the GPU" if hardware.unified else "memory"
    limited = " (the limit of this container or service)" if hardware.is_limited else ""
    total, available = gigabytes(hardware.memory_total_bytes), gigabytes(hardware.memory_available_bytes)
    return f"{available} of {total} {kind} available{limited}"


def _gpu(gpu: Gpu) -> str:
    facts = []
    if gpu.total_bytes is not None and gpu.free_bytes is not None:
        facts.append(f"{gigabytes(gpu.free_bytes)} of {gigabytes(gpu.total_bytes)} free")
    if gpu.load is not None:
        facts.append(f"{gpu.load:.0%} busy")
    if gpu.temperature_c is not None:
        facts.append(f"{gpu.temperature_c:.0f} °C")
    return f"{gpu.name} ({', '.join(facts)})" if facts else gpu.name


def _warmest(hardware: Hardware) -> str:
    if not hardware.temperatures_c:
        return ""
    name, temperature_c = max(hardware.temperatures_c.items(), key=lambda reading: reading[1])
    return f"{name} {temperature_c:.0f} °C"
