"""`zoe doctor`: is everything there that a server needs? Each finding says what is, and what to do where it is not.

The llama.cpp library is only ever loaded in child processes: a build that does not fit this CPU kills its process.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from dataclasses import dataclass
from typing import Final

from zoe_server import errors, protocol
from zoe_server.catalogue.spec import BUNDLED_MODEL, ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.child import Child, explain_exit, python_env
from zoe_server.engines.registry import create_engine
from zoe_server.fleet import memory
from zoe_server.fleet.description import describe_hardware, describe_policy, gigabytes
from zoe_server.fleet.hardware import Hardware, detect
from zoe_server.fleet.memory_book import MemoryBook
from zoe_server.fleet.policy import Policy, recommend
from zoe_server.fleet.scales import model_facts
from zoe_server.settings import Settings, SettingsError, check_bind

_LOGGER: Final = logging.getLogger(__name__)
_GGUF_MAGIC: Final = b"GGUF"
_IMPORT: Final = (
    "import llama_cpp, sys; kind = 'GPU' if llama_cpp.llama_supports_gpu_offload() else 'CPU'; "
    "print(llama_cpp.__version__, 'for', kind, file=sys.stderr)"
)
_FOR_GPU: Final = "for GPU"
_TO_USE_GPU: Final = "build it again with `ZOE_LLAMA_CMAKE_ARGS=-DGGML_CUDA=ON ./scripts/setup`"
_TO_INSTALL: Final = "install it with ./scripts/setup, or with `uv pip install 'zoe-server[llama]'`"


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
    book = MemoryBook(settings.memory_book)
    findings = [library, *check_hardware(hardware, policy, library), check_address(settings)]
    for spec in settings.specs():
        files = [check_model_file(spec), check_memory(spec, hardware, policy, book)]
        findings += files
        if library.ok and files[0].ok:
            findings.append(await check_engine(spec))
    return findings


async def check_library() -> LibraryFinding:
    """Load llama-cpp-python in a child process."""
    subject = "library llama-cpp-python"
    child = await Child.spawn([sys.executable, "-c", _IMPORT], _LOGGER, python_env())
    code = await child.wait()
    if code == 0 and child.tail:
        return LibraryFinding(True, subject, f"version {child.tail[-1]}", child.tail[-1].endswith(_FOR_GPU))
    if any("No module named 'llama_cpp'" in line for line in child.tail):
        return LibraryFinding(False, subject, f"not installed; {_TO_INSTALL}")
    return LibraryFinding(False, subject, explain_exit(code, child.tail, loading_phase=""))


def check_hardware(hardware: Hardware, policy: Policy, library: LibraryFinding) -> list[Finding]:
    """Say what this machine is and what is recommended for it, also where the library cannot use all of it."""
    text = describe_policy(policy)
    if hardware.gpus and library.ok and not library.can_offload:
        text += f"; the GPU stays idle, because llama.cpp is built without it: {_TO_USE_GPU}"
    return [Finding(True, "hardware", describe_hardware(hardware)), Finding(True, "policy", text)]


def check_address(settings: Settings) -> Finding:
    """See whether the server could listen where it is told to."""
    host, port = settings.server.host, settings.server.port
    subject = f"address {host}:{port}"
    try:
        check_bind(host, settings.key)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except SettingsError as error:
        return Finding(False, subject, str(error))
    except OSError as error:
        return Finding(False, subject, f"{error.strerror}; stop what listens there, or choose another --port")
    return Finding(True, subject, "free")


def check_model_file(spec: ModelSpec) -> Finding:
    """See whether the model's file is there, readable and of the right kind."""
    subject = f"model {spec.name}"
    try:
        with spec.path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as error:
        advice = "reinstall zoe-server" if spec.name == BUNDLED_MODEL else "correct its path in zoe.toml"
        return Finding(False, subject, f"{spec.path}: {error.strerror}; {advice}")
    if spec.engine == "llama" and magic != _GGUF_MAGIC:
        return Finding(False, subject, f"{spec.path} is not a GGUF file; download it again")
    return Finding(True, subject, f"{spec.path} ({spec.path.stat().st_size / 1e6:.0f} MB)")


def check_memory(spec: ModelSpec, hardware: Hardware, policy: Policy, book: MemoryBook) -> Finding:
    """Compare what the model takes, its KV cache included, with the memory that is available now."""
    subject = f"memory for {spec.name}"
    on_gpu = policy.gpu_layers != 0 and spec.n_gpu_layers != 0
    try:
        facts = model_facts(spec, on_gpu=on_gpu)
    except OSError as error:
        return Finding(False, subject, f"unknown, its file cannot be read: {error.strerror or error}")
    needed_bytes = book.estimate(spec.name, facts)
    available_bytes, what = hardware.memory_available_bytes, "memory"
    if on_gpu and not hardware.unified:
        available_bytes, what = sum(gpu.free_bytes or 0 for gpu in hardware.gpus), "GPU memory"
    text = f"{gigabytes(available_bytes)} of {what} available, about {gigabytes(needed_bytes)} needed"
    text += f" (its context: {gigabytes(memory.kv_bytes(facts))})"
    fitting = memory.gpu_layers(facts, available_bytes) if on_gpu else 0
    if needed_bytes <= available_bytes or 0 < (spec.n_gpu_layers or 0) <= fitting:
        return Finding(True, subject, text)
    advice = "close other programs, choose a smaller model, or give it a smaller context"
    if on_gpu and not hardware.unified:
        advice += f", or let the CPU do a part: gpu_layers = {memory.gpu_layers(facts, policy.budget_bytes)}"
    return Finding(False, subject, f"{text}; {advice}")


async def check_engine(spec: ModelSpec) -> Finding:
    """Start the model's engine and let it compute a little: the real test of the llama.cpp build on this CPU."""
    subject = f"self-test of {spec.name}"
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
    if "embeddings" in engine.info.get("abilities", ()):
        await engine.embed(protocol.EmbedRequest("doctor", model, ("Hello",)))
        return
    request = protocol.ChatRequest("doctor", model, ({"role": "user", "content": "Hello"},), max_tokens=1)
    terminal = [event async for event in engine.chat(request)][-1]
    if isinstance(terminal, protocol.Failure):
        raise terminal.error
