"""What the build of llama.cpp on this machine can do, asked in a process of its own, which a bad build may crash."""

from __future__ import annotations

import logging
import sys
from typing import Final

from zoe_server.engines.child import Child, python_env

_LOGGER: Final = logging.getLogger(__name__)
_ASK: Final = "import llama_cpp, sys; sys.exit(0 if llama_cpp.llama_supports_gpu_offload() else 9)"
_CANNOT: Final = 9


async def can_offload() -> bool:
    """Whether it can use a GPU; a library that cannot be loaded can do nothing."""
    try:
        child = await Child.spawn([sys.executable, "-c", _ASK], _LOGGER, python_env())
    except OSError as error:
        _LOGGER.warning("whether llama.cpp can use a GPU is unknown: %s", error)
        return False
    code = await child.wait()
    if code not in (0, _CANNOT):
        _LOGGER.warning("llama.cpp cannot be loaded: %s", "; ".join(child.tail[-1:]))
    return code == 0
