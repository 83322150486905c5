"""What a machine is to do with its hardware: engine, GPU layers, context, sequences, threads, and how much memory.

    class          kept for the system                GPU layers   threads
    jetson         a quarter, 1.5 GiB to 8 GiB        all          4
    nvidia         of each GPU 1/16, at least 512 MiB all          4
    (unified)      an eighth, at least 4 GiB          all          4
    raspberry-pi   a quarter, at least 512 MiB        none         one per core
    cpu            a quarter, 1 GiB to 8 GiB          none         one per core, one core left free from 5 on

The memory that remains decides about context and sequences, see `_SIZES`. A home's prompt has some 3,000 tokens, so a
context under 4,096 is for machines where nothing else fits. All of it is a recommendation: what a user sets, counts.
Pure: it reads nothing and knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from zoe_server.fleet.gpu import Gpu
from zoe_server.fleet.hardware import Hardware, Machine
from zoe_server.fleet.memory import ALL_LAYERS

_GIB: Final = 1 << 30
_MARGIN_BYTES: Final = 256 << 20
"""Left of what is available right now, for what everybody else takes in the meantime."""
_GPU_THREADS: Final = 4
_MAX_THREADS: Final = 16
"""Of generating text, more threads than the memory can feed make nothing faster."""
_SMALL_CORES: Final = 4
"""With more cores than these, one is left to the rest of the system: a thread that has to wait delays all others."""


class _Reserve(NamedTuple):
    """What is not for models: one part in `divisor` of all memory, within bounds in bytes."""

    divisor: int
    least_bytes: int
    most_bytes: int = 1 << 62

    def budget_bytes(self, total_bytes: int) -> int:
        kept_bytes = min(max(total_bytes // self.divisor, self.least_bytes), self.most_bytes)
        return max(0, total_bytes - kept_bytes)


class _Size(NamedTuple):
    """What a budget of at least `budget_bytes` is enough for."""

    budget_bytes: int
    context_tokens: int
    parallel_sequences: int


_RESERVES: Final = {
    Machine.JETSON: _Reserve(4, 3 * _GIB // 2, 8 * _GIB),
    Machine.NVIDIA: _Reserve(8, 4 * _GIB),
    Machine.RASPBERRY_PI: _Reserve(4, _GIB // 2),
    Machine.CPU: _Reserve(4, _GIB, 8 * _GIB),
}
_GPU_RESERVE: Final = _Reserve(16, _GIB // 2)
_WITH_GPU: Final = (
    *(_Size(20 * _GIB, 16_384, 16), _Size(8 * _GIB, 8192, 8)),
    *(_Size(2 * _GIB, 4096, 8), _Size(_GIB, 4096, 4), _Size(0, 2048, 1)),
)
_SIZES: Final = {
    Machine.JETSON: _WITH_GPU,
    Machine.NVIDIA: _WITH_GPU,
    Machine.RASPBERRY_PI: (_Size(4 * _GIB, 4096, 4), _Size(_GIB, 4096, 2), _Size(0, 2048, 1)),
    Machine.CPU: (_Size(16 * _GIB, 8192, 8), _Size(4 * _GIB, 4096, 8), _Size(_GIB, 4096, 4), _Size(0, 2048, 1)),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """`budget_bytes` is for all models together, in the memory of the GPUs if `gpu_layers` is `ALL_LAYERS`, else 0.

    `context_tokens` are what one model's sequences share.
    """

    engine: str
    gpu_layers: int
    context_tokens: int
    parallel_sequences: int
    threads: int
    budget_bytes: int


def recommend(hardware: Hardware, *, held_bytes: int = 0, can_offload: bool = True) -> Policy:
    """Return the policy of `hardware`.

    Args:
        hardware: the machine now.
        held_bytes: what Zoe's own engines hold at this moment; it is available as well, to them.
        can_offload: whether the build of llama.cpp can use a GPU.
    """
    on_gpu = can_offload and hardware.machine in (Machine.JETSON, Machine.NVIDIA)
    budget_bytes = _budget_bytes(hardware, held_bytes, on_gpu=on_gpu)
    sizes = _SIZES[hardware.machine if on_gpu or hardware.machine is Machine.RASPBERRY_PI else Machine.CPU]
    size = next(size for size in sizes if budget_bytes >= size.budget_bytes)
    return Policy(
        engine="llama",
        gpu_layers=ALL_LAYERS if on_gpu else 0,
        context_tokens=size.context_tokens,
        parallel_sequences=size.parallel_sequences,
        threads=min(_GPU_THREADS, hardware.cores) if on_gpu else _threads(hardware.cores),
        budget_bytes=budget_bytes,
    )


def _budget_bytes(hardware: Hardware, held_bytes: int, *, on_gpu: bool) -> int:
    """Return what is for models: all memory but the reserve, and never more than what is available now."""
    if on_gpu and not hardware.unified:
        free_bytes = sum(gpu.free_bytes or 0 for gpu in hardware.gpus) - _MARGIN_BYTES * len(_with_memory(hardware))
        whole_bytes = sum(_GPU_RESERVE.budget_bytes(gpu.total_bytes or 0) for gpu in hardware.gpus)
    else:
        has_other_memory = hardware.machine is Machine.NVIDIA and not hardware.unified
        reserve = _RESERVES[Machine.CPU if has_other_memory else hardware.machine]
        free_bytes = hardware.memory_available_bytes - _MARGIN_BYTES
        whole_bytes = reserve.budget_bytes(hardware.memory_total_bytes)
    return max(0, min(whole_bytes, free_bytes + held_bytes))


def _with_memory(hardware: Hardware) -> list[Gpu]:
    return [gpu for gpu in hardware.gpus if gpu.total_bytes]


def _threads(cores: int) -> int:
    free = 1 if cores > _SMALL_CORES else 0
    return max(1, min(cores - free, _MAX_THREADS))
