"""How much memory this machine has, and how much of it a new program could take now.

On machines whose GPU shares the memory (Jetson), this is the GPU's memory as well: what the kernel calls available
counts, since drivers there take memory that caches hold for used.
Source: Linux, `Documentation/filesystems/proc.rst`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psutil  # type: ignore[import-untyped]  # it comes without type information

from zoe_server.system import cgroup
from zoe_server.system.file_tree import FileTree, whole_number

_KILOBYTE: Final = 1024
_RECLAIMABLE: Final = ("MemFree", "Buffers", "Cached", "SReclaimable")


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """`available_bytes` can be taken now without swapping; both respect the limits of a container. 0 is "unknown"."""

    total_bytes: int
    available_bytes: int
    is_limited: bool = False
    """Whether a container or a service has less than the machine."""


def read(tree: FileTree) -> DeviceMemory:
    """Return what there is of memory."""
    machine = _of_machine(tree)
    total_bytes, available_bytes = machine.total_bytes, machine.available_bytes
    for limit_bytes, used_bytes in cgroup.memory_bounds(tree):
        total_bytes = min(total_bytes, limit_bytes)
        available_bytes = min(available_bytes, max(0, limit_bytes - used_bytes))
    return DeviceMemory(total_bytes, available_bytes, is_limited=total_bytes < machine.total_bytes)


def _of_machine(tree: FileTree) -> DeviceMemory:
    sizes = _sizes(tree)
    total_bytes = sizes.get("MemTotal", 0)
    if not total_bytes:
        return _of_other_system() if tree.is_this_machine else DeviceMemory(0, 0)
    free_bytes = sum(sizes.get(name, 0) for name in _RECLAIMABLE)  # kernels before 3.14 do not say what is available
    return DeviceMemory(total_bytes, min(total_bytes, sizes.get("MemAvailable", free_bytes)))


def _of_other_system() -> DeviceMemory:
    memory = psutil.virtual_memory()
    return DeviceMemory(memory.total, memory.available)


def _sizes(tree: FileTree) -> dict[str, int]:
    """Return the entries of /proc/meminfo that are sizes, in bytes."""
    sizes = {}
    for line in tree.lines("proc/meminfo"):
        name, _, text = line.partition(":")
        kilobytes = whole_number(text.removesuffix("kB"))
        if kilobytes is not None and kilobytes >= 0:
            sizes[name] = kilobytes * _KILOBYTE
    return sizes
