"""What is kept of an engine's log, and what of it is told in our own."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from zoe_server import errors
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec, bundled_model_path
from zoe_server.engines import engine_log
from zoe_server.engines.engine_log import N_LINES, EngineLog
from zoe_server.engines.local import LocalEngine


@pytest.fixture
def log() -> EngineLog:
    return EngineLog("m", logging.getLogger("engine"))


@pytest.mark.parametrize(
    ("written", "level", "text"),
    [
        (b"<3>it broke\n", logging.ERROR, "it broke"),
        (b"<0>it broke\n", logging.ERROR, "it broke"),
        (b"<4>it hurts\n", logging.WARNING, "it hurts"),
        (b"<6>it is\n", logging.INFO, "it is"),
        (b"<7>\n", logging.DEBUG, ""),
        (b"GGML_ASSERT(x) failed\n", logging.WARNING, "GGML_ASSERT(x) failed"),
        (b"<9>x\n", logging.WARNING, "<9>x"),
        (
            b"a\rb\x1b[31mc\x00\xff\xe2\x80\xa8d",
            logging.WARNING,
            "a\\rb\\x1b[31mc\\x00\N{REPLACEMENT CHARACTER}\\u2028d",
        ),
        ("zwölf \N{SNOWMAN}".encode(), logging.WARNING, "zwölf \N{SNOWMAN}"),
    ],
)
def test_a_line_keeps_its_level_and_can_forge_nothing(log: EngineLog, written: bytes, level: int, text: str) -> None:
    log.take(written)
    assert [(line.level, line.text) for line in log.lines] == [(level, text)]


def test_it_is_bounded(log: EngineLog) -> None:
    for number in range(2 * N_LINES):
        log.take(b"<6>%d " % number + b"x" * 100_000)
    assert len(log.lines) == N_LINES
    assert log.lines[-1].text.startswith(f"{2 * N_LINES - 1} ")
    assert sum(len(line.text) for line in log.lines) <= N_LINES * 2000


def test_the_same_words_are_told_once_a_minute(
    log: EngineLog, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments_s = [1000.0, 1030.0, 1059.0, 1061.0]
    monkeypatch.setattr(engine_log, "_now_s", lambda: moments_s.pop(0))
    caplog.set_level(logging.WARNING)
    for _ in range(4):
        log.take(b"<4>out of cells")
    assert [record.getMessage() for record in caplog.records] == ["engine of m: out of cells"] * 2
    assert len(log.lines) == 4


async def test_llama_cpp_and_python_are_in_it_with_their_levels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    good = LocalEngine(ModelSpec("good", bundled_model_path(), options=LlamaOptions(n_threads=1, n_gpu_layers=0)))
    await good.start()
    await good.stop()
    assert any(line.text.startswith("llama.cpp: ") and line.level == logging.INFO for line in good.log)
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    bad = LocalEngine(ModelSpec("bad", path))
    with pytest.raises(errors.EngineUnavailableError):
        await bad.start()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any(text.startswith("engine of bad: llama.cpp: ") for text in told)
    assert "engine of good" not in caplog.text
