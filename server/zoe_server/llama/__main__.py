"""`python -m zoe_server.llama --config JSON`: one engine process; see `service` for what it says to the gateway."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import sys
from pathlib import Path

from pydantic import ValidationError

from zoe_server.llama.config import EngineConfig

_OOM_SCORE_ADJ = 500
_EXIT_BAD_CONFIG = 2
_SWITCH_INTERVAL_S = 0.0002
"""How long another thread may compute in Python before the engine's goes on, which gives way in each library call."""
_JOURNAL_LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class _JournalFormatter(logging.Formatter):
    """Begins every line of a record with its level as systemd's journal has it, which the gateway reads."""

    def format(self, record: logging.LogRecord) -> str:
        mark = next((number for level, number in _JOURNAL_LEVELS if record.levelno >= level), 7)
        return "\n".join(f"<{mark}>{line}" for line in super().format(record).splitlines() or [""])


def _read_config(text: str) -> EngineConfig:
    """Return the configuration in `text`, which is JSON or the path of a JSON file."""
    return EngineConfig.model_validate_json(text if text.lstrip().startswith("{") else Path(text).read_text())


def _volunteer_for_oom() -> None:
    """Let the kernel end this process before the gateway when memory runs out; the fleet knows what to do then."""
    try:
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE_ADJ))
    except OSError as error:
        logging.getLogger(__name__).info("oom_score_adj stays as it is: %s", error)


def limit_spinning() -> None:
    """Let the library's threads give their core away after some 2 ms of waiting for each other, instead of 10 ms.

    A thread that spins takes time from the very one that it waits for, where another process wants a core, too. With
    less, it would sleep between any two steps, which costs 2 to 4 % of the speed where nobody else wants a core. The
    number of turns differs, since waiting in a loop takes some 50 cycles of x86 and a few of others.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        is_x86 = platform.machine() in ("x86_64", "AMD64")
        os.environ.setdefault("GOMP_SPINCOUNT", "100000" if is_x86 else "1000000")


async def _serve(config: EngineConfig) -> int:
    from zoe_server.llama.service import Service  # noqa: PLC0415 -- it loads the library, which reads its settings then

    return await Service(config).run()


def main() -> int:
    """Run the engine; return its exit code: 0 when asked to leave, 2 bad configuration, 3 no model, 70 failure."""
    parser = argparse.ArgumentParser(prog="python -m zoe_server.llama", description="One llama.cpp engine of Zoe.")
    parser.add_argument(
        "--config", required=True, metavar="JSON", help="the configuration, or the path of a file with it"
    )
    options = parser.parse_args()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        config = _read_config(options.config)
    except (ValidationError, OSError) as error:
        sys.stderr.write(f"the engine's configuration is wrong: {error}\n")
        return _EXIT_BAD_CONFIG
    _volunteer_for_oom()
    limit_spinning()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    return asyncio.run(_serve(config))


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # threads in the C library and a reader of stdin must not hold up the end
