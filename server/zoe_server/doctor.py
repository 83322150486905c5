"""`zoe doctor`: is everything there that a server needs? Each finding says what is, and what to do where it is not.

The llama.cpp library is only ever loaded in child processes: a build that does not fit this CPU kills its process.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import LLAMA, LlamaOptions, OllamaOptions, RemoteOptions, VllmOptions
from zoe_server.catalogue.spec import BUNDLED_MODEL, ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.library import LibraryError, ask_library
from zoe_server.engines.registry import create_engine
from zoe_server.fleet.description import describe_hardware, describe_policy, gigabytes
from zoe_server.fleet.hardware import Hardware, detect
from zoe_server.fleet.hardware_policy import Policy, recommend
from zoe_server.fleet.memory import ALL_LAYERS, ModelFacts, gpu_layers, host_bytes, kv_bytes, model_bytes
from zoe_server.fleet.memory_measurements import MemoryMeasurements
from zoe_server.fleet.sizing import model_facts
from zoe_server.settings import Settings, SettingsError, check_bind

_LOGGER: Final = logging.getLogger(__name__)
_GGUF_MAGIC: Final = b"GGUF"
_TO_USE_GPU: Final = "build it again with `ZOE_LLAMA_CMAKE_ARGS=-DGGML_CUDA=ON ./scripts/setup`"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `text` says what to do where `ok` is false."""

    ok: bool
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class LibraryFinding(Finding):
    """What was found of llama.cpp; `can_offload` says whether its build can use a GPU."""

    can_offload: bool = False


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything and return the findings in a sensible order."""
    library = await check_library()
    hardware = await asyncio.to_thread(detect)
    policy = recommend(hardware, can_offload=library.can_offload)
    if settings.server.memory_budget_bytes is not None:
        policy = replace(policy, budget_bytes=settings.server.memory_budget_bytes)
    book = MemoryMeasurements(settings.memory_measurements)
    findings = [library, *check_hardware(hardware, policy, library)]
    findings += [check_address(host, settings.server.port, settings.key) for host in settings.server.hosts]
    findings += [Finding(False, "pictures", problem) for problem in settings.shortcomings()]
    findings += [Finding(False, "pulled models", problem) for problem in settings.left_out()]
    findings += check_pulled(settings)
    for spec in settings.specs():
        files = [check_model_file(spec), *check_other_files(spec)]
        findings += files
        if spec.engine == LLAMA:
            findings.append(check_memory(spec, hardware, policy, book))
        if (library.ok or spec.engine != LLAMA) and all(file.ok for file in files):
            findings.append(await check_engine(spec))
    return findings


async def check_library() -> LibraryFinding:
    """Load llama-cpp-python in a child process."""
    subject = "library llama-cpp-python"
    try:
        library = await ask_library()
    except LibraryError as error:
        return LibraryFinding(False, subject, str(error))
    text = f"version {library.version} for {'GPU' if library.can_offload else 'CPU'}"
    return LibraryFinding(True, subject, text, library.can_offload)


def check_hardware(hardware: Hardware, policy: Policy, library: LibraryFinding) -> list[Finding]:
    """Say what this machine is and what models may use of it, also where the library cannot use all of it."""
    text = describe_policy(policy)
    if hardware.gpus and library.ok and not library.can_offload:
        text += f"; the GPU stays idle, because llama.cpp is built without it: {_TO_USE_GPU}"
    return [Finding(True, "hardware", describe_hardware(hardware)), Finding(True, "policy", text)]


def check_address(host: str, port: int, key: str | None) -> Finding:
    """See whether the server could listen at `host` and `port`."""
    subject = f"address {host}:{port}"
    try:
        check_bind(host, key)
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except SettingsError as error:
        return Finding(False, subject, str(error))
    except OSError as error:
        return Finding(False, subject, f"{error.strerror}; stop what listens there, or choose another --port")
    return Finding(True, subject, "free")


def check_pulled(settings: Settings) -> list[Finding]:
    """Say which models are served though zoe.toml does not name them."""
    if not settings.pulled:
        return []
    names, path = ", ".join(settings.pulled), settings.store.pulled_models.path
    text = f"{names}: served because they were pulled through a server ({path})"
    return [Finding(True, "pulled models", text)]


def check_model_file(spec: ModelSpec) -> Finding:
    """See whether the model's file is there, readable and of the right kind."""
    if isinstance(spec.options, RemoteOptions):
        return Finding(True, f"model {spec.name}", f"on another server: {', '.join(spec.options.urls)}")
    if isinstance(spec.options, VllmOptions):
        return _check_vllm(spec, spec.options)
    advice = "reinstall zoe-server" if spec.name == BUNDLED_MODEL else "correct its path in zoe.toml"
    return _check_file(f"model {spec.name}", spec.path, advice, is_gguf=spec.engine == LLAMA)


def _check_vllm(spec: ModelSpec, options: VllmOptions) -> Finding:
    """See whether vLLM is here, and the folder with the weights."""
    subject = f"model {spec.name}"
    if shutil.which(options.program) is None:
        return Finding(False, subject, f"there is no program {options.program!r}; say where vLLM's is with `program`")
    if options.model is None and not (spec.path / "config.json").is_file():
        return Finding(False, subject, f"{spec.path} is no folder with weights; correct its path in zoe.toml")
    return Finding(True, subject, f"{options.model or spec.path}, run by {shutil.which(options.program)}")


def check_other_files(spec: ModelSpec) -> list[Finding]:
    """See the same of the files that the model is loaded with: its projector and its adapters."""
    files = {f"adapter {name} of {spec.name}": adapter.path for name, adapter in spec.adapters.items()}
    if isinstance(spec.options, LlamaOptions) and spec.options.projector_path is not None:
        files[f"projector of {spec.name}"] = spec.options.projector_path
    return [_check_file(subject, path, "correct its path in zoe.toml", is_gguf=True) for subject, path in files.items()]


def _check_file(subject: str, path: Path, advice: str, *, is_gguf: bool) -> Finding:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as error:
        return Finding(False, subject, f"{path}: {error.strerror}; {advice}")
    if is_gguf and magic != _GGUF_MAGIC:
        return Finding(False, subject, f"{path} is not a GGUF file; download it again")
    return Finding(True, subject, f"{path} ({path.stat().st_size / 1e6:.0f} MB)")


def check_memory(spec: ModelSpec, hardware: Hardware, policy: Policy, book: MemoryMeasurements) -> Finding:
    """Compare what the model takes, its KV cache included, with the memory that is available now."""
    subject = f"memory for {spec.name}"
    on_gpu = policy.gpu_layers != 0
    try:
        facts = model_facts(spec, on_gpu=on_gpu, unified=hardware.unified)
    except OSError as error:
        return Finding(False, subject, f"unknown, its files cannot be read: {error.strerror or error}")
    needed_bytes, available_bytes = book.estimate(spec.name, facts), hardware.memory_available_bytes
    needs = [("memory", available_bytes, needed_bytes)]
    advice = "close other programs, choose a smaller model, or give it a smaller context"
    if on_gpu and not hardware.unified:
        free_bytes = sum(gpu.free_bytes or 0 for gpu in hardware.gpus)
        needs = [("GPU memory", free_bytes, needed_bytes), ("memory", available_bytes, host_bytes(facts))]
        advice += _advise_layers(facts, policy, hardware)
    text = " and ".join(
        f"{gigabytes(available)} of {what} available, about {gigabytes(needed)} needed"
        for what, available, needed in needs
        if needed
    )
    text += f" (its context: {gigabytes(kv_bytes(facts))})"
    fits = all(needed <= available for _, available, needed in needs)
    return Finding(fits, subject, text if fits else f"{text}; {advice}")


def _advise_layers(facts: ModelFacts, policy: Policy, hardware: Hardware) -> str:
    """Say how many layers the GPU has room for, if the others fit into the memory of the machine."""
    part = replace(facts, n_gpu_layers=gpu_layers(facts, policy.budget_bytes))
    fits = model_bytes(part) <= policy.budget_bytes and host_bytes(part) <= hardware.memory_available_bytes
    is_part = part.n_gpu_layers != ALL_LAYERS
    return f", or let the CPU do a part: gpu_layers = {part.n_gpu_layers}" if is_part and fits else ""


async def check_engine(spec: ModelSpec) -> Finding:
    """Start the model's engine and let it compute a little: the real test of llama.cpp here, or of another server."""
    subject = f"self-test of {spec.name}"
    if isinstance(spec.options, OllamaOptions):  # whoever asks how things are does not want gigabytes
        spec = replace(spec, options=spec.options.model_copy(update={"pull": False}))
    engine = create_engine(spec)
    try:
        await engine.start()
        await _compute(engine, spec.name)
    except errors.ZoeError as error:
        return Finding(False, subject, error.message)
    finally:
        await engine.stop()
    return Finding(True, subject, "it computes")


async def _compute(engine: Engine, model: str) -> None:
    """Let the engine do a little of what its model is for."""
    if engine.info.capabilities.embeddings:
        await engine.embed(protocol.EmbedRequest("doctor", model, ("Hello",)))
        return
    request = protocol.ChatRequest("doctor", model, ({"role": "user", "content": "Hello"},), max_tokens=1)
    terminal = [event async for event in engine.chat(request)][-1]
    if isinstance(terminal, protocol.Failure):
        raise terminal.error
