"""`python -m zoe_server.engines.leash PROGRAM [ARGUMENT ...]`: runs a program that ends when its standard input does.

Programs of others do not, as `process.ManagedProcess` wants of its children so that nothing outlives us. The program
and all that it starts are in our process group. What they write comes out of standard error; before lines that say
their level stands what journals understand (see `engine_log`). We end as the program did.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from typing import Final

import psutil  # type: ignore[import-untyped]  # it comes without type information

_PATIENCE_S: Final = 5.0
_LEVEL: Final = re.compile(rb"^(?:\([^)]*\)\s*)?(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_PRIORITIES: Final = {b"DEBUG": b"<7>", b"INFO": b"<6>", b"WARNING": b"<4>", b"ERROR": b"<3>", b"CRITICAL": b"<2>"}


def main() -> None:
    """Run the program of the command line, and end as it does, the exit code or the signal being its own."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # the whole group gets it: the program ends, then we do
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    passing_on = threading.Thread(target=_pass_on, args=(process,), daemon=True)
    passing_on.start()
    code = process.wait()
    end_others()
    passing_on.join(_PATIENCE_S)
    if code == -signal.SIGTERM:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


def with_priority(line: bytes) -> bytes:
    """Return the line with its level before it, where it says one."""
    found = _LEVEL.match(line)
    return line if found is None else _PRIORITIES[found[1]] + line


def end_others() -> None:
    """End everybody else in our process group: first they are asked to."""
    others = _others()
    for process in others:
        _tell(process, signal.SIGTERM)
    _, staying = psutil.wait_procs(others, timeout=_PATIENCE_S)
    for process in staying:
        _tell(process, signal.SIGKILL)


def _others() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and os.getpgid(process.pid) == os.getpgrp():
                found.append(process)
        except ProcessLookupError:
            continue  # it has ended since
    return found


def _tell(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        continue
    end_others()


def _pass_on(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        for line in process.stdout:
            os.write(sys.stderr.fileno(), with_priority(line))


if __name__ == "__main__":
    main()
