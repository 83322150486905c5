"""The NVIDIA GPUs of this machine, as their driver's library (NVML) tells; without it, as the kernel's files tell.

NVML is asked through nvidia-ml-py, which is an optional extra; nothing of it is imported before somebody asks. On
machines whose GPU shares the memory, NVML knows no memory of the GPU.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, cast

from zoe_server.system.file_tree import FileTree

_LOGGER: Final = logging.getLogger(__name__)
_TEMPERATURE_GPU: Final = 0  # NVML_TEMPERATURE_GPU
_NOT_SUPPORTED: Final = 3  # NVML_ERROR_NOT_SUPPORTED
_TO_INSTALL: Final = "to use it, install nvidia-ml-py: `uv pip install 'zoe-server[gpu]'`"
_WSL_DRIVER: Final = "usr/lib/wsl/lib/libcuda.so.1"


class Nvml(Protocol):
    """What is used of the module `pynvml` of nvidia-ml-py; every function may raise `NVMLError`."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: D102, N802 -- names of the library
    def nvmlShutdown(self) -> None: ...  # noqa: D102, N802
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...  # noqa: ANN401, D102, N802
    def nvmlDeviceGetName(self, handle: Any) -> str | bytes: ...  # noqa: ANN401, D102, N802
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...  # noqa: ANN401, D102, N802
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int: ...  # noqa: ANN401, D102, N802
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...  # noqa: ANN401, D102, N802


NvmlLoader = Callable[[], Nvml | None]


@dataclass(frozen=True, slots=True)
class Gpu:
    """`load` is 0 to 1; what is not known is None. A GPU that `shares_memory` with the machine has none of its own."""

    name: str
    total_bytes: int | None = None
    free_bytes: int | None = None
    shares_memory: bool = False
    load: float | None = None
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class FoundGpus:
    """`problem` says what to do about GPUs whose memory is unknown."""

    gpus: tuple[Gpu, ...] = ()
    problem: str | None = None


def load_nvml() -> Nvml | None:
    """Return the module of nvidia-ml-py, None where it is not installed."""
    try:
        return cast("Nvml", importlib.import_module("pynvml"))
    except ImportError:
        return None


def find(tree: FileTree, load: NvmlLoader) -> FoundGpus:
    """Return the GPUs with a driver."""
    nvml = load()
    listed = _listed_by_kernel(tree)
    if nvml is None:
        names = " and ".join(gpu.name for gpu in listed)
        return FoundGpus(listed, f"there is {names}; {_TO_INSTALL}" if listed else None)
    try:
        return FoundGpus(_asked(nvml))
    except nvml.NVMLError as error:
        _LOGGER.debug("NVML does not answer: %s", error)
        problem = f"the NVIDIA driver does not answer ({error}); reboot, or install the driver again"
        return FoundGpus(listed, problem if listed else None)


def _asked(nvml: Nvml) -> tuple[Gpu, ...]:
    nvml.nvmlInit()
    try:
        return tuple(_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(nvml.nvmlDeviceGetCount()))
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Nvml, handle: Any) -> Gpu:  # noqa: ANN401 -- a pointer of the library
    name = nvml.nvmlDeviceGetName(handle)
    rates = _told(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    temperature = _told(nvml, lambda: nvml.nvmlDeviceGetTemperature(handle, _TEMPERATURE_GPU))
    gpu = Gpu(
        name=name.decode("utf-8", "replace") if isinstance(name, bytes) else name,
        load=rates.gpu / 100 if rates is not None else None,
        temperature_c=float(temperature) if temperature is not None else None,
    )
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError as error:
        _LOGGER.debug("%s tells no memory: %s", gpu.name, error)
        return replace(gpu, shares_memory=getattr(error, "value", None) == _NOT_SUPPORTED)
    return replace(gpu, total_bytes=int(memory.total), free_bytes=min(int(memory.free), int(memory.total)))


def _told(nvml: Nvml, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 -- whatever is asked for
    """Return what the library answers, None for what this GPU does not tell."""
    try:
        return ask()
    except nvml.NVMLError as error:
        _LOGGER.debug("a GPU does not tell: %s", error)
        return None


def _listed_by_kernel(tree: FileTree) -> tuple[Gpu, ...]:
    """Return the GPUs that the driver lists in /proc; in WSL, the driver is that of Windows."""
    gpus = []
    for path in tree.matches("proc/driver/nvidia/gpus/*/information"):
        fields = dict(line.split(":", 1) for line in tree.lines(path) if ":" in line)
        gpus.append(Gpu(fields.get("Model", "").strip() or "an NVIDIA GPU"))
    if not gpus and tree.text("proc/driver/nvidia/version") is not None:
        gpus.append(Gpu("an NVIDIA GPU"))
    if not gpus and any(tree.matches(_WSL_DRIVER)):
        gpus.append(Gpu("an NVIDIA GPU (of Windows)"))
    return tuple(gpus)
