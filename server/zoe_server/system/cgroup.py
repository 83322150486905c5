"""Control groups: the bounds that a container or a service of the system sets to a process and to all around it.

A process is in a group, which is in another one, up to the root; each may have bounds. Within a container, the files
of its own group may be mounted as if they were the root's, whatever the path says, so that every folder on the way is
looked at. Both versions are read, also mixed.
Source: Linux, `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from zoe_server.system.file_tree import FileTree, whole_number

_MOUNT: Final = "sys/fs/cgroup"
_N_FIELDS: Final = 3  # hierarchy:controllers:path


def memory_bounds(tree: FileTree) -> list[tuple[int, int]]:
    """Return the limits that are set, each with what is used of it, in bytes; caches that can go are not "used"."""
    files = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    bounds = []
    for folder in _folders(tree, "memory"):
        for limit_file, usage_file in files:
            limit_bytes, used_bytes = tree.number(f"{folder}/{limit_file}"), tree.number(f"{folder}/{usage_file}")
            if limit_bytes is not None and limit_bytes >= 0:
                cached_bytes = _inactive_file_bytes(tree, folder)
                bounds.append((limit_bytes, max(0, (used_bytes or 0) - cached_bytes)))
    return bounds


def cpu_quotas(tree: FileTree) -> list[float]:
    """Return the limits that are set to the use of processors, in processors."""
    quotas: list[float] = []
    for folder in _folders(tree, "cpu"):
        limit, _, period = (tree.text(f"{folder}/cpu.max") or "").partition(" ")
        quotas += _quota(whole_number(limit), whole_number(period))
        quotas += _quota(tree.number(f"{folder}/cpu.cfs_quota_us"), tree.number(f"{folder}/cpu.cfs_period_us"))
    return quotas


def _folders(tree: FileTree, controller: str) -> Iterator[str]:
    """Yield the folders of this process's groups that may bound what `controller` counts, with all around them."""
    yield from _with_parents(_MOUNT, _group(tree, ""))
    yield from _with_parents(f"{_MOUNT}/{controller}", _group(tree, controller))


def _group(tree: FileTree, controller: str) -> str:
    """Return the path of this process's group; the second version is listed without controllers."""
    for line in tree.lines("proc/self/cgroup"):
        fields = line.split(":", _N_FIELDS - 1)
        if len(fields) == _N_FIELDS and controller in fields[1].split(","):
            return fields[2]
    return "/"


def _with_parents(mount: str, group: str) -> Iterator[str]:
    names = [name for name in group.split("/") if name not in ("", ".", "..")]
    for n_names in range(len(names) + 1):
        yield "/".join((mount, *names[:n_names]))


def _inactive_file_bytes(tree: FileTree, folder: str) -> int:
    counts = dict(line.split(" ", 1) for line in tree.lines(f"{folder}/memory.stat") if " " in line)
    text = counts.get("total_inactive_file") or counts.get("inactive_file") or "0"
    return max(0, whole_number(text) or 0)


def _quota(limit_us: int | None, period_us: int | None) -> list[float]:
    """Return the part of a period that may be used, in processors; nothing where there is no limit."""
    if limit_us is None or period_us is None or limit_us <= 0 or period_us <= 0:
        return []
    return [limit_us / period_us]
