#!/usr/bin/env python3
"""The edge that is played where vLLM is not installed: `vllm serve MODEL ...`, with its port, key, words and metrics.

`MODEL` says what happens: `too-large` ends for want of memory, `unknown` for another reason, `endless` never gets
ready, any other serves.
"""

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

METRICS = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
"""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb")
    parser.add_argument("model")
    parser.add_argument("--port", type=int)
    parser.add_argument("--host")
    parser.add_argument("--served-model-name")
    known, others = parser.parse_known_args()
    say("INFO 12-01 Loading safetensors checkpoint shards:  50% Completed | 1/2")
    name = Path(known.model).name
    if name == "too-large":
        say("ERROR ValueError: No available memory for the cache blocks. Try increasing it.")
        sys.exit(1)
    if name == "unknown":
        say("ERROR ValueError: There is no module or parameter named 'x'")
        say("ERROR RuntimeError: Engine core initialization failed. See root cause above.")
        sys.exit(1)
    if name == "endless":
        time.sleep(600)
    serve(known.host, known.port, known.served_model_name, others)


def serve(host: str, port: int, name: str, others: list[str]) -> None:
    key = os.environ["VLLM_API_KEY"]

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._say(METRICS.encode(), "text/plain")
                return
            self._say_json({"object": "list", "data": [{"id": name, "max_model_len": 2048, "root": " ".join(others)}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Authorization"] != f"Bearer {key}":
                self.send_error(401)
                return
            chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "length"}]}
            usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}
            events = "".join(f"data: {json.dumps(one)}\n\n" for one in (chunk, usage))
            self._say(f"{events}data: [DONE]\n\n".encode(), "text/event-stream")

        def _say_json(self, value: Any) -> None:  # noqa: ANN401 -- JSON
            self._say(json.dumps(value).encode(), "application/json")

        def _say(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    ThreadingHTTPServer((host, port), Handler).serve_forever()


if __name__ == "__main__":
    main()
