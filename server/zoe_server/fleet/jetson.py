"""What a Jetson is: its board, its JetPack, how busy its GPU is.

JetPack is the name of a whole; what is installed is L4T ("Linux for Tegra"). Where jetson-stats is installed, its
command is asked for the module and for a JetPack that is newer than the table here; it is another program because of
its licence, and because it may wait for a service.
Source of the table: NVIDIA's JetPack archive, developer.nvidia.com/embedded/jetpack-archive.
"""

from __future__ import annotations

import logging
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from zoe_server.system.file_tree import FileTree, whole_number

_LOGGER: Final = logging.getLogger(__name__)
_RELEASE: Final = re.compile(r"R(\d{1,3}) \(release\), REVISION: (\d{1,3}(?:\.\d{1,3})*)")
_PACKAGE_VERSION: Final = re.compile(r"\d{1,3}(?:\.\d{1,3})*")
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_STATS_JETPACK: Final = re.compile(r"Jetpack ([\w. ()]+?) \[L4T")
_STATS_MODULE: Final = re.compile(r"^ - Module: (NVIDIA .+)$", re.MULTILINE)
_STATS_WAIT_S: Final = 10.0
_FULL_LOAD: Final = 1000
_LOADS: Final = (
    *("sys/devices/platform/gpu.0/load", "sys/devices/gpu.0/load"),
    *("sys/class/devfreq/*.gpu/device/load", "sys/class/devfreq/*.g?[0-9]*b/device/load"),
)
JETPACK_OF_L4T: Final = {
    "39.2.0": "7.2",
    "38.4.0": "7.1",
    "38.2.2": "7.0",
    "38.2.1": "7.0",
    "38.2.0": "7.0",
    "36.5.0": "6.2.2",
    "36.4.7": "6.2.1",
    "36.4.4": "6.2.1",
    "36.4.3": "6.2",
    "36.4.2": "6.1",
    "36.4.0": "6.1",
    "36.3.0": "6.0",
    "36.2.0": "6.0 DP",
    "35.6.2": "5.1.5",
    "35.6.1": "5.1.5",
    "35.6.0": "5.1.4",
    "35.5.0": "5.1.3",
    "35.4.1": "5.1.2",
    "35.3.1": "5.1.1",
    "35.2.1": "5.1",
    "35.1.0": "5.0.2",
    "32.7.6": "4.6.6",
    "32.7.5": "4.6.5",
    "32.7.4": "4.6.4",
    "32.7.3": "4.6.3",
    "32.7.2": "4.6.2",
    "32.7.1": "4.6.1",
    "32.6.1": "4.6",
}

JetsonStats = Callable[[], str]
"""Returns what the command `jetson_release` prints, nothing where there is no such command."""


@dataclass(frozen=True, slots=True)
class Jetson:
    """`gpu_load` is 0 to 1. What is not told is None; `module` is what is on the board, with its memory."""

    soc: str
    l4t: str | None
    jetpack: str | None
    module: str | None
    gpu_load: float | None


def find(tree: FileTree, ask: JetsonStats) -> Jetson | None:
    """Return what the files say if this is a Jetson; `ask` is only called then."""
    soc = _soc(tree)
    release = _RELEASE.search(tree.text("etc/nv_tegra_release") or "")
    if soc is None and release is None:
        return None
    l4t = f"{release[1]}.{release[2]}" if release else None
    stats = _STYLE.sub("", ask())
    module, told = _STATS_MODULE.search(stats), _STATS_JETPACK.search(stats)
    jetpack = _installed_jetpack(tree) or JETPACK_OF_L4T.get(l4t or "") or (told[1] if told else None)
    return Jetson(soc or "Tegra", l4t, jetpack, module[1].strip() if module else None, _gpu_load(tree))


def ask_jetson_stats(wait_s: float = _STATS_WAIT_S) -> str:
    """Return what `jetson_release` prints; nothing of one that is missing, broken or slower than `wait_s`."""
    with tempfile.TemporaryFile() as output:  # a pipe could be held open by what the command itself has started
        try:
            subprocess.run(
                ["jetson_release"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=wait_s,
                check=True,
            )
        except FileNotFoundError:
            return ""
        except (OSError, subprocess.SubprocessError) as error:
            _LOGGER.warning("jetson-stats is installed but does not answer: %s", error)
            return ""
        output.seek(0)
        return output.read().decode("utf-8", "replace")


def _soc(tree: FileTree) -> str | None:
    """Return the chip's name; in a container, the device tree may be hidden while the bus of chips is not."""
    for name in (tree.text("proc/device-tree/compatible") or "").split("\0"):
        if name.startswith("nvidia,tegra"):
            return name.removeprefix("nvidia,")
    return "Tegra" if tree.text("sys/devices/soc0/family") == "Tegra" else None


def _installed_jetpack(tree: FileTree) -> str | None:
    """Return the version of the package `nvidia-jetpack`, if it is installed."""
    for paragraph in (tree.text("var/lib/dpkg/status") or "").split("\n\n"):
        if not paragraph.startswith("Package: nvidia-jetpack\n"):
            continue
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        version = _PACKAGE_VERSION.match(fields.get("Version", ""))
        if version and fields.get("Status", "").endswith(" installed"):
            return version[0]
    return None


def _gpu_load(tree: FileTree) -> float | None:
    for pattern in _LOADS:
        for path in tree.matches(pattern):
            permille = whole_number(tree.text(path) or "")
            if permille is not None and 0 <= permille <= _FULL_LOAD:
                return permille / _FULL_LOAD
    return None
