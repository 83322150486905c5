"""The library's threads on a core that another process keeps busy: real llama.cpp, a real process, real priorities."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoe_server.catalogue.spec import bundled_model_path
from zoe_server.llama import __main__ as engine_process
from zoe_server.llama import compute_threads
from zoe_server.llama.compute_threads import ComputeThreads

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not tell what threads wait"),
    pytest.mark.timeout(60),
]

CONTENDED = """
import os, subprocess, sys, time
from pathlib import Path

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # of this thread, and of all that begin in it
from zoe_server.llama.config import EngineConfig
from zoe_server.llama.runner import Runner

runner = Runner(EngineConfig(model_path=Path(sys.argv[1]), socket_path=Path("unused"), n_threads=2, n_slots=1))
assert runner._threads.n_threads == 2
with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
    until_s = time.monotonic() + 30.0
    while runner._threads.n_threads > 1 and time.monotonic() < until_s:
        runner.warm_up()
    busy.kill()
print(runner._threads.n_threads)
runner.close()
"""


def test_a_core_that_is_shared_is_left_to_one_thread() -> None:
    run = subprocess.run(
        [sys.executable, "-c", CONTENDED, str(bundled_model_path())], capture_output=True, text=True, check=True
    )
    assert run.stdout == "1\n"


class Steps:
    """Steps of 0.2 s, half of which a thread waits for its core; clock, delays and priorities are stand-ins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.raised: set[int] = set()
        monkeypatch.setattr(compute_threads, "_may_raise", lambda: True)
        monkeypatch.setattr(compute_threads, "_run_delays_s", lambda: {1: self.now_s / 2})
        monkeypatch.setattr(compute_threads, "_threads", lambda: [1])
        monkeypatch.setattr(os, "setpriority", lambda _, thread, niceness: self._set(thread, niceness))
        self.threads = ComputeThreads(2, clock=lambda: self.now_s)

    def _set(self, thread: int, niceness: int) -> None:
        (self.raised.add if niceness < 0 else self.raised.discard)(thread)

    def take(self, *, urgent: bool) -> None:
        self.threads.begin(urgent=urgent)
        self.now_s += 0.2
        self.threads.end()


def test_only_steps_that_somebody_waits_for_get_the_priority_and_judge_it(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    while not steps.raised:
        steps.take(urgent=True)
    for _ in range(20):
        steps.take(urgent=False)
        assert not steps.raised
        assert steps.threads.n_threads == 2
    while steps.threads.n_threads == 2:
        steps.take(urgent=True)


def test_where_nobody_tells_what_threads_wait_all_is_as_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_threads, "_TASKS", "/nowhere")
    threads = ComputeThreads(3)
    threads.begin(urgent=True)
    threads.end()
    assert threads.n_threads == 3


class EndedThread(io.BytesIO):
    """The `schedstat` of a thread that has ended since it was opened."""

    def read(self, _size: int | None = -1) -> bytes:
        raise ProcessLookupError


def test_a_thread_that_ends_while_it_is_looked_at_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"1": EndedThread(), "2": io.BytesIO(b"5000 3000000000 7\n")}
    monkeypatch.setattr(compute_threads, "_threads", lambda: [1, 2])
    monkeypatch.setattr(compute_threads, "open", lambda path, _: files[path.split("/")[-2]], raising=False)
    assert compute_threads._run_delays_s() == {2: 3.0}


def test_a_priority_that_somebody_has_set_is_kept() -> None:
    code = "from zoe_server.llama.compute_threads import _may_raise; print(_may_raise())"
    run = subprocess.run(["nice", "-n", "5", sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_threads_that_wait_for_each_other_soon_sleep_unless_somebody_wants_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    engine_process.limit_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    engine_process.limit_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    engine_process.limit_spinning()
    assert os.environ["GOMP_SPINCOUNT"].isdecimal()


def test_the_library_is_loaded_after_that() -> None:
    code = "import sys, zoe_server.llama.__main__; print('llama_cpp' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
