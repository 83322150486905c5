"""What kind of machine this is, and what it has: board, cores, memory, GPUs, temperatures.

Everything is read from files below a root, NVIDIA's library and the command of jetson-stats aside, so that a recorded
machine can stand in for this one. What to make of it is for `policy` to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Final

from zoe_server.fleet import device_memory, gpu, jetson
from zoe_server.system import cores
from zoe_server.system.file_tree import FileTree

_DEVICE_MODEL: Final = "proc/device-tree/model"
_RASPBERRY_PI: Final = "Raspberry Pi"
_COLDEST_C: Final = -60.0
_WARMEST_C: Final = 200.0
_FILLED_IN_BY_NOBODY: Final = {"System manufacturer", "System Product Name", "To Be Filled By O.E.M.", "Default string"}


class Machine(Enum):
    """The classes of machines that have a policy. A GPU that nothing is known of makes no machine a better one."""

    JETSON = "jetson"
    NVIDIA = "nvidia"
    RASPBERRY_PI = "raspberry-pi"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine at one moment; sizes in bytes, within the limits of a container, 0 where nothing is known.

    With `unified` memory the GPUs have none of their own. `notes` say what a user can do to have more of the machine.
    """

    machine: Machine
    board: str
    cores: int = 1
    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    is_limited: bool = False
    unified: bool = False
    gpus: tuple[gpu.Gpu, ...] = ()
    l4t: str | None = None
    jetpack: str | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


UNKNOWN: Final = Hardware(Machine.CPU, "a machine that does not answer", notes=("this machine does not answer",))


def detect(
    root: Path = Path("/"),
    nvml: gpu.NvmlLoader = gpu.load_nvml,
    jetson_stats: jetson.JetsonStats = jetson.ask_jetson_stats,
) -> Hardware:
    """Look at the machine whose files are below `root`.

    On a Jetson with jetson-stats this takes a second or two, at most ten, and blocks: keep it out of an event loop.
    """
    tree = FileTree(root)
    memory = device_memory.read(tree)
    kind = _jetson(tree, jetson_stats) or _other(tree, nvml)
    unknown = "this system does not say how much memory it has, so nothing can be planned"
    return replace(
        kind,
        cores=cores.physical_cores(tree),
        memory_total_bytes=memory.total_bytes,
        memory_available_bytes=memory.available_bytes,
        is_limited=memory.is_limited,
        temperatures_c=_temperatures_c(tree),
        notes=kind.notes if memory.total_bytes else (*kind.notes, unknown),
    )


def _jetson(tree: FileTree, ask: jetson.JetsonStats) -> Hardware | None:
    found = jetson.find(tree, ask)
    if found is None:
        return None
    board = tree.text(_DEVICE_MODEL) or tree.text("sys/devices/soc0/machine") or f"Jetson ({found.soc})"
    return Hardware(
        Machine.JETSON,
        f"{board} with {found.module}" if found.module else board,
        unified=True,
        gpus=(gpu.Gpu(f"integrated GPU of {found.soc}", load=found.gpu_load, shares_memory=True),),
        l4t=found.l4t,
        jetpack=found.jetpack,
    )


def _other(tree: FileTree, nvml: gpu.NvmlLoader) -> Hardware:
    found = gpu.find(tree, nvml)
    board = tree.text(_DEVICE_MODEL) or _raspberry_pi(tree) or _pc(tree)
    unified = bool(found.gpus) and all(one.shares_memory for one in found.gpus)
    if unified or any(one.total_bytes for one in found.gpus):
        machine = Machine.NVIDIA
    else:
        machine = Machine.RASPBERRY_PI if board.startswith(_RASPBERRY_PI) else Machine.CPU
    notes = (found.problem,) if found.problem else ()
    return Hardware(machine, board, unified=unified, gpus=found.gpus, notes=notes)


def _raspberry_pi(tree: FileTree) -> str | None:
    """Return the model that the kernel of a Raspberry Pi adds to its processors; containers do not hide it."""
    for line in tree.lines("proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "Model" and value.strip().startswith(_RASPBERRY_PI):
            return value.strip()
    return None


def _pc(tree: FileTree) -> str:
    """Return what the firmware calls the machine, with its processor's name."""
    names = [tree.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")]
    if "microsoft" in (tree.text("proc/version") or "").lower():
        names = ["Windows Subsystem for Linux"]
    firmware = " ".join(name for name in names if name and name not in _FILLED_IN_BY_NOBODY)
    return ", ".join(name for name in (firmware, _processor_name(tree)) if name) or "a machine without a name"


def _processor_name(tree: FileTree) -> str | None:
    """Return what the processor calls itself."""
    for line in tree.lines("proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return None


def _temperatures_c(tree: FileTree) -> dict[str, float]:
    """Return the temperatures of the thermal zones in °C; a sensor that is off, or absurd, is left out."""
    readings: dict[str, float] = {}
    for path in tree.matches("sys/class/thermal/thermal_zone*"):
        name, millidegrees = tree.text(f"{path}/type"), tree.number(f"{path}/temp")
        if name is None or millidegrees is None or not _COLDEST_C < millidegrees / 1000 < _WARMEST_C:
            continue
        unique = name if name not in readings else f"{name} ({path.rpartition('/')[2]})"
        readings[unique] = millidegrees / 1000
    return readings
