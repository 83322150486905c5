"""How much memory this machine has for all models together: its policy's recommendation, from what is there now."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from zoe_server.engines.library import LibraryError, ask_library
from zoe_server.fleet.hardware import detect
from zoe_server.fleet.hardware_policy import Policy, recommend

_LOGGER: Final = logging.getLogger(__name__)


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
