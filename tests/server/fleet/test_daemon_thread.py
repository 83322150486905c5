"""Calls that block: one at a time, in bounded time, and nobody waits for those that hang."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from zoe_server.fleet.daemon_thread import CallQueue, in_daemon_thread


def fail() -> None:
    raise ValueError("no")


async def test_what_a_call_returns_or_raises() -> None:
    assert await in_daemon_thread(lambda: 1, "t") == 1
    with pytest.raises(ValueError, match="no"):
        await in_daemon_thread(fail, "t")
    queue = CallQueue("t")
    with pytest.raises(ValueError, match="no"):
        await queue.call(fail, 10)
    assert await queue.call(lambda: 1, 10) == 1


async def test_calls_are_made_one_after_the_other() -> None:
    queue, released, order = CallQueue("t"), threading.Event(), list[str]()

    def first() -> None:
        released.wait()
        order.append("first")

    calls = [asyncio.create_task(queue.call(call, 10)) for call in (first, lambda: order.append("second"))]
    await asyncio.wait(calls, timeout=0)
    released.set()
    await asyncio.gather(*calls)
    assert order == ["first", "second"]


async def test_who_gives_up_a_call_says_nothing_about_it() -> None:
    queue, released = CallQueue("t"), threading.Event()
    call = asyncio.create_task(queue.call(released.wait, 10))
    await asyncio.wait({call}, timeout=0)
    call.cancel()
    await asyncio.wait({call})
    after = asyncio.create_task(queue.call(lambda: 1, 10))
    await asyncio.wait({after}, timeout=0)
    released.set()
    assert await after == 1


async def test_while_a_call_hangs_nobody_waits_again() -> None:
    queue, released = CallQueue("t"), threading.Event()
    with pytest.raises(TimeoutError):
        await queue.call(released.wait, 0.01)
    with pytest.raises(TimeoutError):
        await queue.call(lambda: 1, 1e9)
    released.set()
    async with queue._turn:  # the call has ended
        pass
    assert await queue.call(lambda: 1, 10) == 1


def test_a_process_ends_though_a_call_hangs() -> None:
    code = (
        "import asyncio, threading\n"
        "from zoe_server.fleet.daemon_thread import CallQueue\n"
        "async def main():\n"
        "    call = asyncio.create_task(CallQueue('t').call(threading.Event().wait, 100))\n"
        "    await asyncio.wait({call}, timeout=0)\n"
        "asyncio.run(main())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stderr == ""
