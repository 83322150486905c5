"""What the llama.cpp library here is, asked in a child process: a build that does not fit this CPU ends its process."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from typing import Final

from zoe_server.engines.process import ManagedProcess

_LOGGER: Final = logging.getLogger(__name__)
_LOGGER.setLevel(logging.CRITICAL)  # what the child says is told by the error
_WAIT_S: Final = 60.0
_FOR_GPU: Final = "GPU"
_ASK: Final = (
    f"import llama_cpp, sys; kind = {_FOR_GPU!r} if llama_cpp.llama_supports_gpu_offload() else 'CPU'; "
    "print(f'<7>{llama_cpp.__version__} {kind}', file=sys.stderr)"
)
_TO_INSTALL: Final = "install it with ./scripts/setup, or with `uv pip install 'zoe-server[llama]'`"


class LibraryError(Exception):
    """The library is not there or does not work; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LlamaLibrary:
    """The version of llama-cpp-python, and whether its build of llama.cpp can use a GPU."""

    version: str
    can_offload: bool


async def ask_library() -> LlamaLibrary:
    """Load the library in a child process and return what it is; that takes a second or two.

    Raises:
        LibraryError: it is not installed, cannot be loaded, or waits for a driver that hangs.
    """
    child = await ManagedProcess.spawn([sys.executable, "-c", _ASK], "llama.cpp", _LOGGER)
    try:
        code = await asyncio.wait_for(child.wait(), _WAIT_S)
    except TimeoutError as error:
        await child.stop()
        text = f"it does not answer within {_WAIT_S:.0f} s, so a driver may hang; reboot, or see what its log says"
        raise LibraryError(text) from error
    if code == 0 and child.log:
        version, _, kind = child.log[-1].text.partition(" ")
        return LlamaLibrary(version, can_offload=kind == _FOR_GPU)
    if any("No module named 'llama_cpp'" in line.text for line in child.log):
        raise LibraryError(f"not installed; {_TO_INSTALL}")
    raise LibraryError(child.explain_end(loading_phase=""))
