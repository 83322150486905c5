"""How many cores this process may use."""

from __future__ import annotations

import math
from typing import Final

import psutil  # type: ignore[import-untyped]  # it comes without type information

from zoe_server.system import cgroup
from zoe_server.system.file_tree import FileTree, whole_number

_MAX_CPUS: Final = 8192  # as many as Linux can be built for
_SIBLINGS: Final = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_ALLOWED: Final = "Cpus_allowed_list:"


def physical_cores(tree: FileTree) -> int:
    """Return the number of cores, within the limits of a container; at least 1, also where nothing is told."""
    cpus = _usable_cpus(tree)
    n_cores = len({tree.text(_SIBLINGS.format(cpu)) or f"only {cpu}" for cpu in cpus})
    if not n_cores and tree.is_this_machine:
        n_cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return max(1, min([n_cores, *(math.ceil(quota) for quota in cgroup.cpu_quotas(tree))]))


def _usable_cpus(tree: FileTree) -> set[int]:
    online = _cpu_list(tree.text("sys/devices/system/cpu/online") or "") or _listed_cpus(tree)
    status = tree.lines("proc/self/status")
    allowed = _cpu_list(next((line.removeprefix(_ALLOWED) for line in status if line.startswith(_ALLOWED)), ""))
    return (online & allowed) or online or allowed


def _listed_cpus(tree: FileTree) -> set[int]:
    lines = (line.partition(":") for line in tree.lines("proc/cpuinfo"))
    numbers = (whole_number(value) for key, _, value in lines if key.strip() == "processor")
    return {number for number in numbers if number is not None}


def _cpu_list(text: str) -> set[int]:
    """Return the numbers of a list such as `0-3,8`; what makes no sense is left out."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, end = whole_number(first), whole_number(last or first)
        if start is not None and end is not None and 0 <= start <= end < _MAX_CPUS:
            cpus.update(range(start, end + 1))
    return cpus
