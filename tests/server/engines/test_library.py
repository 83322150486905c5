"""What llama.cpp here is, asked of children that answer, fail, and hang."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest

from zoe_server.engines import library
from zoe_server.engines.library import LibraryError, ask_library


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="needs the llama.cpp engine")
async def test_the_library_tells_its_version() -> None:
    assert (await ask_library()).version[0].isdigit()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import no_such_library as llama_cpp", "exit code 1: ModuleNotFoundError"),
        ("raise ModuleNotFoundError(\"No module named 'llama_cpp'\")", "not installed"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "crashes on this CPU"),
    ],
)
async def test_why_it_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch, program: str, words: str) -> None:
    monkeypatch.setattr(library, "_ASK", program)
    with pytest.raises(LibraryError, match=words):
        await ask_library()


async def test_a_driver_that_hangs_holds_up_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_ASK", "import sys; sys.stdin.read()")
    monkeypatch.setattr(library, "_WAIT_S", 0.5)
    before = set(psutil.Process().children())
    async with asyncio.timeout(30):
        with pytest.raises(LibraryError, match="a driver may hang"):
            await ask_library()
    assert set(psutil.Process().children()) <= before
