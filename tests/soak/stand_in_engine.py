"""A process that speaks the engine's protocol and computes nothing: enough to try a fleet out on real processes.

Run as a program with one JSON argument: `socket_path`, and `fault`, which is what goes wrong while it loads. A request
that says "hold" is never answered. It leaves when its stdin ends, as a real engine does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from typing import IO, Any, Final

PULSE_S: Final = 0.05
NO_MEMORY: Final = "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 5368709120"


class StandIn:
    """Talks to one gateway; `work` is its loop."""

    def __init__(self, wire: IO[bytes]) -> None:
        self._wire = wire
        self._lock = threading.Lock()
        self._asked: list[dict[str, Any]] = []
        self._held = 0
        self._step = 0

    def say(self, **message: object) -> None:
        with self._lock:
            self._wire.write(json.dumps(message).encode() + b"\n")
            self._wire.flush()

    def listen(self) -> None:
        """Take requests until the gateway goes."""
        for line in self._wire:
            message = json.loads(line)
            if message["op"] == "chat":
                self._asked.append(message)
        os._exit(0)

    def work(self) -> None:
        """Answer what was asked, and report; a step is what an answer takes."""
        while True:
            while self._asked:
                self._answer(self._asked.pop(0))
            self.say(event="progress", step=self._step, running=self._held, waiting=0)
            time.sleep(PULSE_S)
            self._step += self._held > 0

    def _answer(self, message: dict[str, Any]) -> None:
        name = message["id"]
        self.say(id=name, event="started", prompt_tokens=1, cached_tokens=0)
        if "hold" in message["request"]["messages"][-1]["content"]:
            self._held += 1
            return
        self._step += 1
        self.say(id=name, event="text", text="Hi")
        self.say(id=name, event="finish", reason="stop", usage={}, timings={})


def fail(fault: str, stand_in: StandIn) -> None:
    """Let go wrong what is to go wrong while the model is loaded."""
    if fault == "exit":
        os._exit(3)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "abort":
        sys.stderr.write(f"{NO_MEMORY}\n")
        sys.stderr.flush()
        os.abort()
    if fault == "allocate":
        stand_in.say(event="fatal", error={"class": "OutOfMemoryError", "message": f"it cannot be loaded: {NO_MEMORY}"})
        os._exit(3)


def leave_with_our_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


def main(config: dict[str, Any]) -> None:
    threading.Thread(target=leave_with_our_parent, daemon=True).start()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(config["socket_path"])
    listener.listen()
    connection, _ = listener.accept()
    stand_in = StandIn(connection.makefile("rwb"))
    stand_in.say(event="loading", phase="model")
    fail(config["fault"], stand_in)
    stand_in.say(event="ready", info={"model": "stand-in"})
    threading.Thread(target=stand_in.listen, daemon=True).start()
    stand_in.work()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
