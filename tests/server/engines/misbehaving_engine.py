"""A child process that speaks the engine's protocol until it does what it is told: die, stall, or talk nonsense.

Run as a program with one JSON argument: `socket_path`, `loading` and `chat` (a list of actions for either moment). It
leaves when its stdin ends, as a real engine does.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from io import BufferedRWPair
from typing import IO, Any

deaf = threading.Event()


def leave_with_our_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin, whose lock would hold up the interpreter's own end
    if not deaf.is_set():
        os._exit(0)


def say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


def act(action: str, wire: IO[bytes] | BufferedRWPair, request_id: str | None) -> None:
    kind, _, rest = action.partition(":")
    if misbehave(kind, rest):
        return
    if kind in ("raw", "cut"):
        wire.write(rest.encode() + (b"\n" if kind == "raw" else b""))
    else:
        event = json.loads(action)
        wire.write(json.dumps({"id": request_id, **event} if request_id else event).encode() + b"\n")
    wire.flush()


def misbehave(kind: str, rest: str) -> bool:
    """Do what says nothing on the wire; return whether it is of that kind."""
    if kind == "die":
        say("last words")
        os.kill(os.getpid(), signal.Signals[rest])
    elif kind == "exit":
        say("last words")
        os._exit(int(rest))
    elif kind == "say":
        say(rest)
    elif kind == "stall":
        time.sleep(3600)
    elif kind == "compute":
        end_s = time.monotonic() + float(rest)
        while time.monotonic() < end_s:
            pass
    elif kind == "deaf":
        deaf.set()
    elif kind == "heir":
        subprocess.Popen(["sleep", "20"], start_new_session=True)
    else:
        return False
    return True


def main(config: dict[str, Any]) -> None:
    threading.Thread(target=leave_with_our_parent, daemon=True).start()
    if config.get("before"):
        act(config["before"], sys.stderr.buffer, None)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(config["socket_path"])
    listener.listen()
    connection, _ = listener.accept()
    wire = connection.makefile("rwb")
    for action in config["loading"]:
        act(action, wire, None)
    for line in wire:
        message = json.loads(line)
        say(line.decode())
        if message["op"] == "chat":
            for action in config["chat"]:
                act(action, wire, message["id"])
    while deaf.is_set():
        time.sleep(3600)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
