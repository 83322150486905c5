"""How much memory there is for models, and how much each of them takes: estimated, measured, and remembered.

Where a GPU computes, its memory counts: what is free less once a model is loaded. That is also how it is measured where
the GPU shares the memory of the machine, whose driver's part belongs to no process. Else the memory of the engine's
process counts. A model never counts with less than its weights there, of which the system keeps in memory what it
likes.

Of a GPU with a memory of its own, a model takes its part. The rest, which the CPU computes, is not planned; only where
the machine lacks the memory for it, it counts as if the GPU had to have it, so that the model is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import psutil  # type: ignore[import-untyped]  # it comes without type information

from zoe_server.catalogue.engine_options import LLAMA, LlamaOptions, RemoteOptions, VllmOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.catalogue.store import parts_of
from zoe_server.engines.base import Engine
from zoe_server.engines.library import LibraryError, ask_library
from zoe_server.engines.process import process_tree
from zoe_server.fleet import device_memory, gpu, memory
from zoe_server.fleet.daemon_thread import CallQueue
from zoe_server.fleet.description import gigabytes
from zoe_server.fleet.hardware import UNKNOWN, Hardware, Machine, detect
from zoe_server.fleet.hardware_policy import Policy, recommend
from zoe_server.system.file_tree import FileTree

if TYPE_CHECKING:
    from zoe_server.fleet.memory_measurements import MemoryMeasurements

_LOGGER: Final = logging.getLogger(__name__)
UNBOUNDED_BYTES: Final = 1 << 62
_ANSWER_S: Final = 30.0
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, which counts with `size_bytes`; `pid` is its process, None if it has none."""

    spec: ModelSpec
    size_bytes: int
    pid: int | None = None


class Sizing(Protocol):
    """What the fleet asks about memory; sizes in bytes."""

    async def budget_bytes(self, loaded: Sequence[LoadedModel] = ()) -> int:
        """Return how much memory all models together may take; asked first of all, and again now and then.

        What `loaded` models take is theirs: what other programs took or gave back is what changes.
        """
        ...

    @property
    def extra_bytes(self) -> int:
        """What a model takes in addition to its size because of how this machine computes."""
        ...

    async def estimate(self, spec: ModelSpec) -> int:
        """Return how much the model will take."""
        ...

    async def free_bytes(self) -> int | None:
        """Return how much is free now where that tells what a model takes, else None."""
        ...

    async def weigh(self, spec: ModelSpec, engine: Engine, free_before_bytes: int | None) -> int | None:
        """Return how much the running model takes, None if that is unknown; `free_before_bytes` was before its load."""
        ...


class NoSizing:
    """Weighs nothing: everything fits."""

    async def budget_bytes(self, loaded: Sequence[LoadedModel] = ()) -> int:
        """Return more than there can be."""
        del loaded
        return UNBOUNDED_BYTES

    @property
    def extra_bytes(self) -> int:
        """Return 0."""
        return 0

    async def estimate(self, spec: ModelSpec) -> int:
        """Return 0."""
        del spec
        return 0

    async def free_bytes(self) -> None:
        """Return None."""

    async def weigh(self, spec: ModelSpec, engine: Engine, free_before_bytes: int | None) -> None:
        """Return None."""


class MachineSizing:
    """Weighs on this machine; `budget_bytes` is what a user allows, None leaves it to the policy of the hardware."""

    def __init__(self, measurements: MemoryMeasurements, budget_bytes: int | None = None) -> None:
        self._measurements = measurements
        self._allowed_bytes = budget_bytes
        self._hardware: Hardware | None = None
        self._on_gpu = False
        self._questions = CallQueue("the memory of this machine")
        self._facts: dict[str, memory.ModelFacts] = {}

    async def budget_bytes(self, loaded: Sequence[LoadedModel] = ()) -> int:
        """Look at the machine and return its budget; see `Sizing`."""
        if self._hardware is None:
            self._hardware = hardware = await self._asked(detect, UNKNOWN)
            self._on_gpu = hardware.machine in (Machine.JETSON, Machine.NVIDIA) and await can_offload()
            if not hardware.memory_total_bytes:
                _LOGGER.warning("%s", "; ".join(hardware.notes))
        elif self._allowed_bytes is None:
            self._hardware = await self._asked(lambda: detect(jetson_stats=lambda: ""), self._hardware)
        if self._allowed_bytes is not None:
            return self._allowed_bytes
        if not self._hardware.memory_total_bytes:
            return UNBOUNDED_BYTES
        held_bytes = sum(self._loaded_bytes(one) for one in loaded)
        return recommend(self._hardware, held_bytes=held_bytes, can_offload=self._on_gpu).budget_bytes

    async def _asked(self, ask: Callable[[], AnswerT], otherwise: AnswerT) -> AnswerT:
        """Return what the machine answers, `otherwise` where it takes too long: a driver that hangs holds up nobody."""
        try:
            return await self._questions.call(ask, _ANSWER_S)
        except TimeoutError:
            return otherwise

    def _loaded_bytes(self, loaded: LoadedModel) -> int:
        """Return by how much less is available because of the model, in the memory that is planned."""
        return loaded.size_bytes if self._takes_of_gpu(loaded.spec) else _private_bytes(loaded.pid)

    def _takes_of_gpu(self, spec: ModelSpec) -> bool:
        """Whether what is free for GPUs tells what the model takes; of their own memory, each engine takes some."""
        if not self._on_gpu or isinstance(spec.options, RemoteOptions):
            return False
        return not self._is_unified or not isinstance(spec.options, LlamaOptions) or spec.options.n_gpu_layers != 0

    @property
    def _is_unified(self) -> bool:
        return self._hardware is not None and self._hardware.unified

    @property
    def extra_bytes(self) -> int:
        """Return what the driver of a GPU takes, where one computes."""
        return memory.GPU_OVERHEAD_BYTES if self._on_gpu else 0

    async def estimate(self, spec: ModelSpec) -> int:
        """Read the model's file and return what was measured of it; see `Sizing`. Without a file it is 0."""
        if isinstance(spec.options, VllmOptions):
            return await asyncio.to_thread(self._vllm_bytes, spec, spec.options)
        if spec.engine != LLAMA:
            return 0
        try:
            facts = await asyncio.to_thread(self._model_facts, spec)
        except OSError as error:
            _LOGGER.debug("model %s: %s", spec.name, error)
            return 0
        self._facts[spec.name] = facts
        return self._measurements.estimate(spec.name, facts) + self._uncounted_host_bytes(spec, facts)

    def _vllm_bytes(self, spec: ModelSpec, options: VllmOptions) -> int:
        """Return what vLLM takes at once: its share of each GPU that it uses, or weights and cache on a CPU."""
        hardware = self._hardware
        if hardware is None or not self._on_gpu:
            weights_bytes = sum(path.stat().st_size for path in spec.path.glob("*.safetensors"))
            return weights_bytes + options.cache_bytes + memory.VLLM_OVERHEAD_BYTES
        if hardware.unified:
            return round(options.memory_share * hardware.memory_total_bytes)
        n_gpus = options.tensor_parallel * options.pipeline_parallel
        return sum(round(options.memory_share * (one.total_bytes or 0)) for one in hardware.gpus[:n_gpus])

    def _model_facts(self, spec: ModelSpec) -> memory.ModelFacts:
        return model_facts(spec, on_gpu=self._on_gpu, unified=self._is_unified)

    def _uncounted_host_bytes(self, spec: ModelSpec, facts: memory.ModelFacts) -> int:
        """Return what the CPU has of the model if the machine, even with nothing else on it, has not enough memory."""
        needed_bytes, hardware = memory.host_bytes(facts), self._hardware
        if hardware is None or not needed_bytes:
            return 0
        idle = replace(hardware, memory_available_bytes=hardware.memory_total_bytes)
        room_bytes = recommend(idle, can_offload=False).budget_bytes
        if needed_bytes <= room_bytes:
            return 0
        _LOGGER.warning(
            "model %s: the layers that the CPU computes need about %s, and models may take %s of the machine's memory; "
            "choose a smaller model or context, or more gpu_layers",
            *(spec.name, gigabytes(needed_bytes), gigabytes(room_bytes)),
        )
        return needed_bytes

    async def free_bytes(self) -> int | None:
        """Return what is free for GPUs, None where there is none of use; see `Sizing`."""
        if not self._on_gpu:
            return None
        unified = self._is_unified
        return await self._asked(lambda: _free_bytes(unified=unified), None)

    async def weigh(self, spec: ModelSpec, engine: Engine, free_before_bytes: int | None) -> int | None:
        """Weigh the running model and write it down; see `Sizing`."""
        if self._takes_of_gpu(spec):
            taken_bytes = await self._taken_bytes(free_before_bytes)
        else:
            taken_bytes = _process_bytes(engine.pid)
        if taken_bytes is None or taken_bytes <= 0:
            return None
        facts = self._facts.get(spec.name)
        if facts is None:
            return taken_bytes if isinstance(spec.options, VllmOptions) else None
        measured_bytes = max(taken_bytes, memory.gpu_part(facts, facts.weights_bytes))
        await asyncio.to_thread(self._measurements.remember, spec.name, facts, measured_bytes)
        return measured_bytes

    async def _taken_bytes(self, free_before_bytes: int | None) -> int | None:
        """Return by how much less is free for GPUs; a process does not tell what it takes of them."""
        free_now_bytes = None if free_before_bytes is None else await self.free_bytes()
        return None if free_before_bytes is None or free_now_bytes is None else free_before_bytes - free_now_bytes


def _free_bytes(*, unified: bool) -> int | None:
    tree = FileTree(Path("/"))
    if unified:
        return device_memory.read(tree).available_bytes or None
    known = [one.free_bytes for one in gpu.find(tree, gpu.load_nvml).gpus if one.free_bytes is not None]
    return sum(known) if known else None


def _private_bytes(pid: int | None) -> int:
    """Return what its processes hold that nobody else can have; weights read from a file can go, and are available."""
    found = _memory_of(pid)
    return sum(one.rss - getattr(one, "shared", 0) for one in found)


def _process_bytes(pid: int | None) -> int | None:
    found = _memory_of(pid)
    return sum(one.rss for one in found) if found else None


def _memory_of(pid: int | None) -> list[Any]:
    """Return what psutil tells of the memory of a process and those that it started."""
    found = []
    for process in () if pid is None else process_tree(pid):
        try:
            found.append(process.memory_info())
        except psutil.Error as error:
            _LOGGER.debug("the memory of process %d is unknown: %s", process.pid, error)
    return found


async def recommended_policy(held_bytes: int = 0) -> Policy:
    """Return the policy of this machine; `held_bytes` is what our own engines hold now.

    Takes a second or two where there is a GPU, since the library has to be asked whether it can use it.
    """
    hardware = await asyncio.to_thread(detect)
    on_gpu = bool(hardware.gpus) and await can_offload()
    return recommend(hardware, held_bytes=held_bytes, can_offload=on_gpu)


async def can_offload() -> bool:
    """Whether llama.cpp can use a GPU here; a library that cannot be asked can do nothing."""
    try:
        return (await ask_library()).can_offload
    except LibraryError as error:
        _LOGGER.warning("nothing is planned for the GPU, since llama.cpp cannot be asked about it: %s", error)
        return False


def model_facts(spec: ModelSpec, *, on_gpu: bool, unified: bool = False) -> memory.ModelFacts:
    """Return what decides the model's size; of what is no GGUF file, the sizes of the files are all there is.

    `on_gpu`, the engine may use a GPU, which has a memory of its own unless it is `unified`. Blocks for as long as it
    takes to read a header: keep it out of an event loop.

    Raises:
        OSError: a file is not there.
    """
    from zoe_server.catalogue import gguf_file  # noqa: PLC0415 -- numpy costs time that few servers need

    files_bytes = _files_bytes(spec)
    if spec.engine != LLAMA:
        return memory.ModelFacts(files_bytes, 0, spec.n_ctx_tokens, overhead_bytes=0)
    encoder_bytes = _picture_encoder_bytes(spec)
    try:
        facts = memory.facts_of(gguf_file.read(spec.path), spec.n_ctx_tokens, on_gpu=on_gpu)
    except gguf_file.GgufError as error:
        _LOGGER.debug("model %s: %s", spec.name, error)
        facts = memory.ModelFacts(files_bytes, 0, spec.n_ctx_tokens)
    facts = replace(facts, weights_bytes=files_bytes)
    if on_gpu and not unified:
        facts = replace(facts, n_gpu_layers=spec.llama.n_gpu_layers)
        if not spec.llama.encodes_on_gpu:
            return replace(facts, host_overhead_bytes=encoder_bytes)
    return replace(facts, overhead_bytes=facts.overhead_bytes + encoder_bytes)


def _files_bytes(spec: ModelSpec) -> int:
    paths = (*parts_of(spec.path), *(adapter.path for adapter in spec.adapters.values()))
    return sum(path.stat().st_size for path in paths)


def _picture_encoder_bytes(spec: ModelSpec) -> int:
    """Return what the picture encoder takes: its weights, and the buffer that it computes in."""
    from zoe_server.catalogue import gguf_file  # noqa: PLC0415 -- as above

    if spec.llama.projector_path is None:
        return 0
    weights_bytes = spec.llama.projector_path.stat().st_size
    try:
        encoder = gguf_file.read(spec.llama.projector_path).picture_encoder
    except gguf_file.GgufError as error:
        _LOGGER.debug("the picture encoder of %s: %s", spec.name, error)
        return weights_bytes
    compute_bytes = 0 if encoder is None else memory.picture_compute_bytes(encoder, spec.llama.max_picture_tokens)
    return weights_bytes + compute_bytes
