"""The parent's side of an engine process, against children that die, stall or talk nonsense at every moment."""

import asyncio
import itertools
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from zoe_server import errors, protocol
from zoe_server.catalogue.model_info import Capabilities, ModelInfo
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines import local
from zoe_server.engines.base import Engine, Loading
from zoe_server.engines.local import LocalEngine
from zoe_server.engines.process import StopTimeouts

Ask = Callable[..., protocol.ChatRequest]
Collect = Callable[[Engine, protocol.ChatRequest], Awaitable[list[protocol.ChatEvent]]]
Make = Callable[..., LocalEngine]
READY = '{"event": "ready", "info": {"name": "m", "capabilities": {"tools": true}}}'
STARTED = '{"event": "started", "prompt_tokens": 1, "cached_tokens": 0}'
TEXT = '{"event": "text", "text": "Hi"}'
FINISH = '{"event": "finish", "reason": "stop", "usage": {}, "timings": {}}'
CHILD = Path(__file__).with_name("misbehaving_engine.py")


@pytest.fixture
async def make() -> AsyncGenerator[Make, None]:
    """Make engines whose child does as it is told; none survives the test."""
    made: list[LocalEngine] = []

    def engine(
        *,
        before: str = "",
        loading: tuple[str, ...] = (READY,),
        chat: tuple[str, ...] = (),
        stall_s: float = 30.0,
        stop_timeouts: StopTimeouts | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> LocalEngine:
        def command(config: Mapping[str, Any]) -> list[str]:
            actions = {"before": before, "loading": loading, "chat": chat, "socket_path": config["socket_path"]}
            return [sys.executable, str(CHILD), json.dumps(actions)]

        made.append(LocalEngine(ModelSpec("m", Path("unused")), command, stall_s, stop_timeouts, now_s))
        return made[-1]

    yield engine
    for one in made:
        await one.stop()


def alive(pid: int | None) -> bool:
    assert pid is not None
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_a_well_behaved_child_answers(make: Make, ask: Ask, collect: Collect) -> None:
    engine = make(loading=('{"event": "loading", "progress": 0.5}', READY), chat=(STARTED, TEXT, FINISH))
    await engine.start()
    assert engine.info == ModelInfo(name="m", capabilities=Capabilities(tools=True))
    events = await collect(engine, ask())
    assert [type(event) for event in events] == [protocol.Started, protocol.Text, protocol.Finish]


async def test_progress_is_its_health(make: Make, ask: Ask, collect: Collect) -> None:
    report = 'raw:{"event": "progress", "step": 7, "running": 1, "waiting": 2}'
    engine = make(chat=(report, FINISH))
    await engine.start()
    await collect(engine, ask())
    assert (engine.health.step, engine.health.running, engine.health.waiting) == (7, 1, 2)


@pytest.mark.parametrize(
    ("before", "loading", "reason"),
    [
        ("die:SIGILL", (), "the llama.cpp build crashes on this CPU"),
        ("", ("die:SIGSEGV",), "the llama.cpp build crashes on this CPU"),
        ("", ('{"event": "loading", "phase": "warmup"}', "die:SIGSEGV"), "the llama.cpp build crashes on this CPU"),
        ("", ('{"event": "loading", "phase": "model"}', "die:SIGILL"), "the llama.cpp build crashes on this CPU"),
        ("", ('{"event": "loading", "phase": "model"}', "die:SIGSEGV"), "the file may be damaged"),
        ("", ("die:SIGKILL",), "memory runs out"),
        ("", ('cut:{"event": "rea', "die:SIGKILL"), "memory runs out"),
        ("exit:3", (), "exit code 3: last words"),
        ("", ("exit:0",), "exit code 0: last words"),
        (
            "",
            ('{"event": "fatal", "error": {"class": "EngineUnavailableError", "message": "no such file"}}',),
            "no such",
        ),
        ("", ('{"event": "fatal"}',), "failed without a message"),
        ("", ("raw:nonsense",), "stopped making sense"),
        ("", ("raw:[]",), "stopped making sense"),
    ],
)
async def test_a_child_that_never_gets_ready_is_explained(
    make: Make, before: str, loading: tuple[str, ...], reason: str
) -> None:
    engine = make(before=before, loading=loading)
    with pytest.raises(errors.EngineUnavailableError, match=reason):
        await engine.start()
    assert not alive(engine.pid)


@pytest.mark.parametrize(
    ("loading", "words"),
    [
        (("die:SIGKILL",), "SIGKILL"),
        (("say:ggml: failed to allocate CPU buffer of size 9", "die:SIGABRT"), "SIGABRT: ggml: failed to allocate"),
        (("say:NvMapMemAllocInternalTagged: 1075072515 error 12", "die:SIGSEGV"), "NvMapMemAllocInternalTagged"),
        (("say:CUDA error: out of memory", "exit:1"), "exit code 1: last words: CUDA error"),
        (
            ('{"event": "fatal", "error": {"class": "OutOfMemoryError", "message": "unable to allocate CPU buffer"}}',),
            "unable to allocate",
        ),
    ],
    ids=["killed", "aborted", "jetson", "exited", "told"],
)
async def test_too_little_memory_is_told_from_other_failures(make: Make, loading: tuple[str, ...], words: str) -> None:
    with pytest.raises(errors.OutOfMemoryError, match=f"too little memory.*{words}"):
        await make(loading=loading).start()


async def test_a_child_that_we_had_to_kill_did_not_lack_memory(make: Make) -> None:
    engine = make(loading=("stall",), stall_s=1.0)
    with pytest.raises(errors.EngineUnavailableError) as caught:
        await engine.start()
    assert not isinstance(caught.value, errors.OutOfMemoryError)


async def test_an_engine_that_is_not_well_is_ended_at_once(make: Make, ask: Ask, collect: Collect) -> None:
    engine = make(chat=(STARTED, "stall"))
    await engine.start()
    pid = engine.pid
    assert pid is not None
    told = engine.chat(ask())
    assert isinstance(await anext(told), protocol.Started)
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(30):
        await engine.kill("it stands still")
        assert await engine.wait_closed() == "it stands still"
        failure = await anext(told)
        assert isinstance(failure, protocol.Failure)
        assert isinstance(failure.error, errors.EngineCrashedError)
        assert "it stands still" in failure.error.message
        await engine.stop()
    assert not alive(pid)


@pytest.mark.parametrize(("before", "loading"), [("stall", ()), ("", ("stall",))])
async def test_loading_without_a_report_ends(make: Make, before: str, loading: tuple[str, ...]) -> None:
    engine = make(before=before, loading=loading, stall_s=1.0)
    with pytest.raises(errors.EngineUnavailableError, match="1 s"):
        await engine.start()
    assert not alive(engine.pid)


@pytest.mark.parametrize(
    ("before", "loading"), [("stall", ()), ("", ('{"event": "loading", "phase": "model"}', "stall"))]
)
async def test_a_load_that_is_given_up_ends_its_child(make: Make, before: str, loading: tuple[str, ...]) -> None:
    engine = make(before=before, loading=loading, stop_timeouts=StopTimeouts(leave_s=0.1, terminate_s=0.1))
    starting = asyncio.create_task(engine.start())
    while engine.pid is None if before else engine.loading is None:  # noqa: ASYNC110 -- another task's doing
        await asyncio.sleep(0)
    starting.cancel()
    async with asyncio.timeout(30):
        await asyncio.wait({starting})
    assert starting.cancelled()
    assert not alive(engine.pid)


async def test_a_load_that_computes_without_a_word_goes_on(make: Make) -> None:
    await make(loading=("compute:2.5", READY), stall_s=0.5).start()


LOADING = '{"event": "loading", "phase": "warmup"}'


async def test_a_load_that_computes_without_end_is_given_up(make: Make) -> None:
    engine = make(loading=(LOADING, "compute:3600"), now_s=lambda: 0.0 if engine.loading is None else 1800.0)
    with pytest.raises(errors.EngineUnavailableError, match=r"1800 s.*/admin/models/m/log.*stuck_load_after_s"):
        await engine.start()
    assert not alive(engine.pid)


async def test_a_process_that_computes_and_never_listens_is_given_up(make: Make) -> None:
    moments = itertools.count(step=900.0)
    engine = make(before="compute:3600", stall_s=1e9, now_s=lambda: next(moments))
    with pytest.raises(errors.EngineUnavailableError, match="1800 s"):
        await engine.start()
    assert not alive(engine.pid)


async def test_how_far_a_load_is_can_be_seen_and_is_in_the_log(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local, "_TELL_PROGRESS_S", 0.0)
    caplog.set_level(logging.INFO, local.LOADING_LOG)
    engine = make(loading=('{"event": "loading", "phase": "model", "progress": 0.5}', "stall"), stall_s=1.0)
    seen: list[Loading | None] = []
    monkeypatch.setattr(caplog.handler, "filter", lambda record: seen.append(engine.loading) or record)
    with pytest.raises(errors.EngineUnavailableError):
        await engine.start()
    assert Loading("model", 0.5) in seen
    assert engine.loading is None
    assert "m [##########..........] 50 %" in caplog.text


async def test_a_program_that_does_not_exist_is_explained() -> None:
    engine = LocalEngine(ModelSpec("m", Path("unused")), lambda _: ["/no/such/program"])
    with pytest.raises(errors.EngineUnavailableError, match="cannot be started"):
        await engine.start()


@pytest.mark.parametrize(
    ("name", "reason"), [("missing", "No such file"), ("long" * 30, "path too long")], ids=["missing", "too long"]
)
async def test_a_folder_that_can_have_no_socket_is_explained(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    folder = tmp_path / name
    if name != "missing":
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    engine = make()
    with pytest.raises(errors.EngineUnavailableError, match=reason):
        await engine.start()
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize(
    "action",
    ["die:SIGKILL", "die:SIGSEGV", "exit:1", "raw:nonsense", '{"event": "unknown"}', 'raw:{"id": "r1"}'],
)
async def test_a_crash_fails_every_open_request_once(make: Make, ask: Ask, collect: Collect, action: str) -> None:
    engine = make(chat=(STARTED, TEXT, action))
    await engine.start()
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(collect(engine, ask(request_id=f"q{n}")) for n in range(3)))
        assert await engine.wait_closed()
    for events in answers:
        assert len([event for event in events if isinstance(event, protocol.TERMINAL_EVENTS)]) == 1
        assert isinstance(events[-1], protocol.Failure)
        assert isinstance(events[-1].error, errors.EngineCrashedError)
        assert events[-1].error.retry_after_s
    assert not engine.health.alive


async def test_a_child_that_dies_in_the_middle_of_a_line_is_explained(make: Make, ask: Ask, collect: Collect) -> None:
    engine = make(chat=(STARTED, 'cut:{"id": "r1", "event": "te', "die:SIGKILL"))
    await engine.start()
    async with asyncio.timeout(30):
        events = await collect(engine, ask())
    assert isinstance(events[-1], protocol.Failure)
    assert "it was killed (SIGKILL)" in events[-1].error.message


async def test_a_loop_that_stops_reporting_counts_as_gone(make: Make, ask: Ask, collect: Collect) -> None:
    engine = make(chat=(STARTED, "stall"), stall_s=3.0)
    await engine.start()
    async with asyncio.timeout(30):
        events = await collect(engine, ask())
        assert "no report" in await engine.wait_closed()
    assert isinstance(events[-1], protocol.Failure)
    await engine.stop()
    assert not alive(engine.pid)


async def test_closing_early_sends_a_cancel_and_late_events_have_no_reader(make: Make, ask: Ask) -> None:
    engine = make(chat=(STARTED, TEXT, TEXT, FINISH))
    await engine.start()
    events = engine.chat(ask())
    assert isinstance(await anext(events), protocol.Started)
    await events.aclose()
    assert isinstance([event async for event in engine.chat(ask())][-1], protocol.Finish)


async def test_stopping_leaves_neither_process_nor_socket(make: Make) -> None:
    engine = make()
    await engine.start()
    pid, folder = engine.pid, engine._folder
    assert alive(pid)
    assert folder is not None
    assert folder.stat().st_mode & 0o077 == 0
    await engine.stop()
    assert not alive(pid)
    assert not folder.exists()


@pytest.mark.parametrize("loading", [(READY,), ("stall",)], ids=["ready", "loading"])
async def test_a_process_that_no_signal_ends_is_waited_for_a_bounded_time(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, loading: tuple[str, ...]
) -> None:
    """The edge that is played: signals that never arrive, as with a process that waits for a driver."""
    engine = make(loading=("deaf", *loading), stall_s=1.0, stop_timeouts=StopTimeouts(0.2, 0.2, 0.5))
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", lambda _group, _number: None)
        async with asyncio.timeout(30):
            if loading == (READY,):
                await engine.start()
                await engine.kill("it stands still")
            else:
                with pytest.raises(errors.EngineUnavailableError, match="1 s"):
                    await engine.start()
            await engine.stop()
            assert await engine.wait_closed()
    assert engine.lingers
    assert "not even after SIGKILL" in caplog.text
    assert alive(engine.pid)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        await engine.wait_ended()
    assert not engine.lingers


async def test_who_holds_the_log_of_a_process_that_has_ended_holds_up_nobody(make: Make) -> None:
    engine = make(loading=("heir", READY), stop_timeouts=StopTimeouts(last_words_s=0.2))
    await engine.start()
    async with asyncio.timeout(5):
        await engine.stop()
    assert not engine.lingers
