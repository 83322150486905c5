"""What of a machine models may use: the GPU, if it has one of use, and how much memory.

    class          kept for the system                GPU layers
    jetson         a quarter, 1.5 GiB to 8 GiB        all
    nvidia         of each GPU 1/16, at least 512 MiB all
    (unified)      an eighth, at least 4 GiB          all
    raspberry-pi   a quarter, at least 512 MiB        none
    cpu            a quarter, 1 GiB to 8 GiB          none

What a user sets, counts. Pure: it reads nothing and knows no model.
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


class _Reserve(NamedTuple):
    """What is not for models: one part in `divisor` of all memory, within bounds in bytes."""

    divisor: int
    least_bytes: int
    most_bytes: int = 1 << 62

    def budget_bytes(self, total_bytes: int) -> int:
        kept_bytes = min(max(total_bytes // self.divisor, self.least_bytes), self.most_bytes)
        return max(0, total_bytes - kept_bytes)


_RESERVES: Final = {
    Machine.JETSON: _Reserve(4, 3 * _GIB // 2, 8 * _GIB),
    Machine.NVIDIA: _Reserve(8, 4 * _GIB),
    Machine.RASPBERRY_PI: _Reserve(4, _GIB // 2),
    Machine.CPU: _Reserve(4, _GIB, 8 * _GIB),
}
_GPU_RESERVE: Final = _Reserve(16, _GIB // 2)


@dataclass(frozen=True, slots=True)
class Policy:
    """`budget_bytes` is for all models together, in the memory of the GPUs if `gpu_layers` is `ALL_LAYERS`, else 0."""

    gpu_layers: int
    budget_bytes: int


def recommend(hardware: Hardware, *, held_bytes: int = 0, can_offload: bool = True) -> Policy:
    """Return the policy of `hardware`.

    Args:
        hardware: the machine now.
        held_bytes: what Zoe's own engines hold at this moment; it is available as well, to them.
        can_offload: whether the build of llama.cpp can use a GPU.
    """
    on_gpu = can_offload and hardware.machine in (Machine.JETSON, Machine.NVIDIA)
    return Policy(ALL_LAYERS if on_gpu else 0, _budget_bytes(hardware, held_bytes, on_gpu=on_gpu))


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
