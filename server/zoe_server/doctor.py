"""`zoe doctor`: is everything there that a server needs? Each finding says what is, and what to do where it is not.

The llama.cpp library is only ever loaded in child processes: a build that does not fit this CPU kills its process.
"""

from __future__ import annotations

import logging
import socket
import sys
from dataclasses import dataclass
from typing import Final

import psutil  # type: ignore[import-untyped]  # it comes without type information

from zoe_server import errors, protocol
from zoe_server.catalogue.spec import BUNDLED_MODEL, ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.child import Child, explain_exit, python_env
from zoe_server.engines.registry import create_engine
from zoe_server.settings import Settings, SettingsError, check_bind

_LOGGER: Final = logging.getLogger(__name__)
_GGUF_MAGIC: Final = b"GGUF"
_ENGINE_OVERHEAD_BYTES: Final = 256 << 20
_IMPORT: Final = "import llama_cpp, sys; print(llama_cpp.__version__, file=sys.stderr)"
_TO_INSTALL: Final = "install it with ./scripts/setup, or with `uv pip install 'zoe-server[llama]'`"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `text` says what to do where `ok` is false."""

    ok: bool
    subject: str
    text: str


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything and return the findings in a sensible order."""
    library = await check_library()
    findings = [library, check_address(settings)]
    for spec in settings.specs():
        files = [check_model_file(spec), check_memory(spec)]
        findings += files
        if library.ok and files[0].ok:
            findings.append(await check_engine(spec))
    return findings


async def check_library() -> Finding:
    """Load llama-cpp-python in a child process."""
    subject = "library llama-cpp-python"
    child = await Child.spawn([sys.executable, "-c", _IMPORT], _LOGGER, python_env())
    code = await child.wait()
    if code == 0 and child.tail:
        return Finding(True, subject, f"version {child.tail[-1]}")
    if any("No module named 'llama_cpp'" in line for line in child.tail):
        return Finding(False, subject, f"not installed; {_TO_INSTALL}")
    return Finding(False, subject, explain_exit(code, child.tail, loading_phase=""))


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


def check_memory(spec: ModelSpec) -> Finding:
    """Compare the model's size with the memory that is available now; the KV cache is left out of the estimate."""
    subject = f"memory for {spec.name}"
    available_bytes = psutil.virtual_memory().available
    needed_bytes = (spec.path.stat().st_size if spec.path.exists() else 0) + _ENGINE_OVERHEAD_BYTES
    text = f"{available_bytes / 1e9:.1f} GB available, about {needed_bytes / 1e9:.1f} GB needed"
    if needed_bytes > available_bytes:
        return Finding(False, subject, f"{text}; close other programs or choose a smaller model")
    return Finding(True, subject, text)


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
